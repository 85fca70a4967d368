-- Forbids a pair outside the three splits: a run that asks for one of them would never ask the pair.
-- severity: error
-- blocking: yes
SELECT
    pair_id AS row_id,
    'is in “' || split || '”, expected train, validation or test' AS detail
FROM pairs
WHERE split NOT IN ('train', 'validation', 'test')
