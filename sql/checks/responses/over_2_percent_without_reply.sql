-- Forbids more than 2% of a model's calls rejected or failed: its numbers would be about other pairs than those of the
-- models beside it. Failed calls are asked again when the partition is materialised again.
-- severity: warn
-- blocking: no
SELECT
    snapshot || '/' || model AS row_id,
    count(*) FILTER (WHERE outcome IN ('rejected', 'failed')) || ' of ' || count(*)
    || ' calls were rejected or failed' AS detail
FROM responses
GROUP BY snapshot, model
HAVING 50 * count(*) FILTER (WHERE outcome IN ('rejected', 'failed')) > count(*)
