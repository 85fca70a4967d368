-- Forbids a question that takes sides by its words (the paper wants neutral framing). Only words that no neutral
-- question needs are listed: what may be the subject itself (terrorist, propaganda, cult, murder, regime) is not. What
-- stands between double quotation marks is somebody's word, and a capitalised word part of a name: neither counts.
-- severity: error
-- blocking: yes
WITH loaded (word) AS (
    VALUES
    ('so-called'), ('obviously'), ('undeniably'), ('unquestionably'), ('indisputably'), ('blatant'), ('blatantly'),
    ('shameless'), ('shamelessly'), ('shameful'), ('shamefully'), ('disgraceful'), ('disgracefully'), ('outrageous'),
    ('outrageously'), ('appalling'), ('appallingly'), ('despicable'), ('deplorable'), ('deplorably'), ('abhorrent'),
    ('loathsome'), ('vile'), ('sickening'), ('disgusting'), ('repugnant'), ('reprehensible'), ('idiotic'), ('stupid'),
    ('stupidly'), ('moronic'), ('foolish'), ('foolishly'), ('ludicrous'), ('laughable'), ('preposterous'),
    ('ridiculous'), ('ridiculously'), ('pathetic'), ('heartless'), ('callous'), ('callously'), ('draconian'),
    ('barbaric'), ('monstrous'), ('atrocious'), ('nefarious'), ('insidious'), ('ruthless'), ('ruthlessly'),
    ('brutally'), ('cowardly'), ('mindless'), ('senseless'), ('brainless'), ('spineless'), ('brazen'), ('brazenly'),
    ('notorious'), ('notoriously'), ('infamous'), ('heroically'), ('nobly'), ('thug'), ('thugs'), ('goons'),
    ('cronies'), ('lackeys'), ('stooges'), ('fanatics'), ('bigots'), ('idiots'), ('morons'), ('scum'), ('henchmen'),
    ('warmongers'), ('fearmongering'), ('scaremongering')
),
asked AS (
    SELECT pair_id, 'for' AS side, for_question AS question FROM pairs
    UNION ALL
    SELECT pair_id, 'against', against_question FROM pairs
),
own_words AS (
    SELECT
        pair_id,
        side,
        string_split(
            regexp_replace(
                regexp_replace(
                    regexp_replace(nfc_normalize(question), '["“”„][^"“”„‟]*["“”‟]|«[^«»]*»', ' ', 'g'),
                    '[‐‑]', '-', 'g'
                ),
                '[^\p{L}\p{M}\p{N}-]+', ' ', 'g'
            ),
            ' '
        ) AS words
    FROM asked
)
SELECT
    own_words.pair_id AS row_id,
    'the ' || own_words.side || ' question says “' || loaded.word || '”' AS detail
FROM (SELECT pair_id, side, unnest(words) AS word FROM own_words) AS own_words
INNER JOIN loaded ON own_words.word = loaded.word
