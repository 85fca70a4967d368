-- Forbids more than one pair of a section in one snapshot: a section is annotated and written about once, and its
-- issue must not weigh twice. The pair with the first id stays, the later ones are named.
-- severity: error
-- blocking: yes
WITH numbered AS (
    SELECT
        pair_id,
        section_id,
        first_value(pair_id) OVER (PARTITION BY snapshot, section_id ORDER BY pair_id) AS first_id
    FROM pairs
)
SELECT
    pair_id AS row_id,
    'section ' || section_id || ' has pair ' || first_id || ' already' AS detail
FROM numbered
WHERE pair_id <> first_id
