-- Forbids an outcome outside the closed list: a candidate under any other would be neither used nor counted as lost.
-- severity: error
-- blocking: yes
SELECT
    pair_id AS row_id,
    'the outcome is “' || outcome || '”, expected parsed, unparsed, rejected or failed' AS detail
FROM candidate_pairs
WHERE outcome NOT IN ('parsed', 'unparsed', 'rejected', 'failed')
