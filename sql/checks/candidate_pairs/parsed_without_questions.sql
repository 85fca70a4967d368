-- Forbids a candidate that counts as parsed and lacks one of its five texts.
-- severity: error
-- blocking: yes
SELECT
    pair_id AS row_id,
    'lacks ' || concat_ws(
        ', ',
        CASE WHEN issue IS NULL THEN 'issue' END,
        CASE WHEN for_description IS NULL THEN 'for_description' END,
        CASE WHEN for_question IS NULL THEN 'for_question' END,
        CASE WHEN against_description IS NULL THEN 'against_description' END,
        CASE WHEN against_question IS NULL THEN 'against_question' END
    ) AS detail
FROM candidate_pairs
WHERE
    outcome = 'parsed'
    AND (
        issue IS NULL OR for_description IS NULL OR for_question IS NULL OR against_description IS NULL
        OR against_question IS NULL
    )
