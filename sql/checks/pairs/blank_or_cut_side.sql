-- Forbids a side that is blank or breaks off. A question must end in a mark that ends a sentence (Thai and Lao, which
-- have none, excepted); neither question nor description may end in an ellipsis, a comma or a conjunction, or hold a
-- bracket or a double quotation mark without its counterpart (marks after a digit may also be inches).
-- severity: error
-- blocking: yes
WITH fields AS (
    SELECT pair_id, 'the for question' AS field, TRUE AS is_question, for_question AS content FROM pairs
    UNION ALL
    SELECT pair_id, 'the against question', TRUE, against_question FROM pairs
    UNION ALL
    SELECT pair_id, 'the for description', FALSE, for_description FROM pairs
    UNION ALL
    SELECT pair_id, 'the against description', FALSE, against_description FROM pairs
),
measured AS (
    SELECT
        pair_id,
        field,
        is_question,
        content,
        -- what stands before closing quotation marks and brackets
        regexp_replace(nfc_normalize(content), '[\s\p{Z}"''”’“»«)\]）」』】*_]+$', '') AS bare,
        len(regexp_extract_all(content, '[(\[{（「『【《]')) AS openings,
        len(regexp_extract_all(content, '[)\]}）」』】》]')) AS closings,
        len(regexp_extract_all(content, '["“”„‟]')) AS quotes,
        len(regexp_extract_all(content, '\p{N}["”]')) AS quotes_or_inches,
        len(regexp_extract_all(content, '[«»]')) AS angles
    FROM fields
),
judged AS (
    SELECT
        pair_id,
        field,
        CASE
            WHEN NOT regexp_matches(content, '[\p{L}\p{N}]') THEN 'is blank'
            WHEN regexp_matches(bare, '(\.\.|…)[\s.?!]*$') THEN 'ends in an ellipsis'
            WHEN regexp_matches(bare, '([,:、，–—-]|[^\p{Greek}];)[\s.?!]*$') THEN 'ends in a comma, colon or dash'
            WHEN regexp_matches(bare, '[\s\p{Z}](and|or|but|nor|because|although|whereas|unless|than|the|an)[.?!]*$')
                THEN 'ends in a conjunction or an article'
            WHEN
                is_question
                AND NOT regexp_matches(bare, '([.?!。．｡？！؟۔।॥։።፧។။།\p{Thai}\p{Lao}]|\p{Greek};)$')
                THEN 'does not end a sentence'
            WHEN openings <> closings THEN 'has a bracket without its counterpart'
            WHEN (quotes % 2 = 1 AND (quotes - quotes_or_inches) % 2 = 1) OR angles % 2 = 1
                THEN 'has a quotation mark without its counterpart'
        END AS fault,
        content
    FROM measured
)
SELECT
    pair_id AS row_id,
    field || ' ' || fault || ': “' || right(content, 40) || '”' AS detail
FROM judged
WHERE fault IS NOT NULL
