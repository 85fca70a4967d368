-- Forbids an article with pairs in two splits, in one snapshot or over several: what is tested would stand in the
-- training set. The split of the article's first pair (by id) holds; the pairs of another split are named.
-- severity: error
-- blocking: yes
WITH compared AS (
    SELECT
        pair_id,
        wiki,
        page_id,
        split,
        first_value(split) OVER (PARTITION BY wiki, page_id ORDER BY pair_id, snapshot, split) AS first_split
    FROM pairs
)
SELECT
    pair_id AS row_id,
    'is in ' || split || ', but ' || wiki || ' page ' || page_id || ' is in ' || first_split AS detail
FROM compared
WHERE split <> first_split
