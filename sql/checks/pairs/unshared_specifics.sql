-- Forbids a pair whose questions name different specifics, or none: they would be about two issues. A specific is a
-- word with a capital letter or a digit, after the set phrase; words that open a sentence and capitalised function
-- words do not count, and case and accents make no difference. Characters of scripts without case (Chinese, Arabic)
-- count together as one specific, shared when two neighbouring characters are. At least one must be shared, and at
-- least half of all that either question names. (Where nouns are capitalised, as in German, all of them count.)
-- severity: error
-- blocking: yes
WITH function_words AS (
    SELECT
        string_split(
            'a an and are as at but by explain for from he how i if in is it its many most of on one or she some so '
            || 'such that the their there these they this those to we what when which while who why with you your',
            ' '
        ) AS words
),
asked AS (
    SELECT
        pair_id,
        -- a capital after the end of a sentence says nothing; an abbreviation (St., U.S., No.) ends none
        list_transform(
            [for_question, against_question],
            lambda question: regexp_replace(
                regexp_replace(nfc_normalize(question), '^Explain why', ''),
                '([\p{Ll}\p{N}]{3,}[.?!…]+["''”’)\]]*[\s\p{Z}]+["''“‘(\[]*)[\p{Lu}\p{Lt}][\p{L}\p{M}]*', '\1', 'g'
            )
        ) AS questions
    FROM pairs
),
named AS (
    SELECT
        asked.pair_id,
        list_transform(
            asked.questions,
            lambda question: list_distinct(list_transform(
                list_filter(
                    regexp_extract_all(question, '[\p{L}\p{M}\p{N}]+'),
                    lambda word: regexp_matches(word, '[\p{Lu}\p{Lt}\p{N}]')
                        AND NOT list_contains(function_words.words, lower(word))
                ),
                lambda word: strip_accents(lower(word))
            ))
        ) AS names,
        list_transform(
            asked.questions,
            lambda question: flatten(list_transform(
                regexp_extract_all(question, '[\p{Lo}\p{Georgian}][\p{Lo}\p{Lm}\p{M}\p{Georgian}]*'),
                lambda run: list_transform(
                    range(1, greatest(length(run), 2)), lambda place: substr(run, place, 2)
                )
            ))
        ) AS caseless
    FROM asked
    CROSS JOIN function_words
),
compared AS (
    SELECT
        pair_id,
        list_sort(list_filter(names[1], lambda name: list_contains(names[2], name))) AS shared,
        list_sort(list_filter(names[1], lambda name: NOT list_contains(names[2], name))) AS only_for,
        list_sort(list_filter(names[2], lambda name: NOT list_contains(names[1], name))) AS only_against,
        CAST(len(caseless[1]) + len(caseless[2]) > 0 AS INTEGER) AS caseless_named,
        CAST(list_has_any(caseless[1], caseless[2]) AS INTEGER) AS caseless_shared
    FROM named
),
counted AS (
    SELECT
        *,
        len(shared) + caseless_shared AS shared_count,
        len(shared) + len(only_for) + len(only_against) + caseless_named AS named_count
    FROM compared
)
SELECT
    pair_id AS row_id,
    CASE
        WHEN named_count = 0 THEN 'neither question names a specific'
        ELSE
            shared_count || ' of ' || named_count || ' specifics are shared; only for: '
            || coalesce(nullif(array_to_string(only_for, ', '), ''), 'none') || '; only against: '
            || coalesce(nullif(array_to_string(only_against, ', '), ''), 'none')
    END AS detail
FROM counted
WHERE shared_count = 0 OR 2 * shared_count < named_count
