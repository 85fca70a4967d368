-- Forbids two pairs of one snapshot with one id: responses and verdicts name their pair by it. Neither of them stays,
-- since nothing tells which one the id is of.
-- severity: error
-- blocking: yes
SELECT
    pair_id AS row_id,
    count(*) || ' pairs of ' || snapshot || ' have this id' AS detail
FROM pairs
GROUP BY snapshot, pair_id
HAVING count(*) > 1
