-- Forbids responses of two subsets in one partition: coverage and every number would be of neither.
-- severity: error
-- blocking: yes
SELECT
    snapshot || '/' || model AS row_id,
    'has responses of the subsets ' || string_agg(DISTINCT subset, ', ' ORDER BY subset) AS detail
FROM responses
GROUP BY snapshot, model
HAVING count(DISTINCT subset) > 1
