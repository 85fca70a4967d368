-- Forbids a question that does not open with `Explain why` and a blank: the set phrase asks for the reasons behind a
-- position and keeps both questions of a pair in one form. Blank questions are another check's.
-- severity: error
-- blocking: yes
WITH asked AS (
    SELECT pair_id, 'for' AS side, for_question AS question FROM pairs
    UNION ALL
    SELECT pair_id, 'against', against_question FROM pairs
)
SELECT
    pair_id AS row_id,
    'the ' || side || ' question opens with “' || substr(question, 1, 30) || '”, expected “Explain why ”' AS detail
FROM asked
WHERE
    regexp_matches(question, '[\p{L}\p{N}]')
    AND NOT regexp_matches(question, '^Explain why[\s\p{Z}]+[^\s\p{Z}]')
