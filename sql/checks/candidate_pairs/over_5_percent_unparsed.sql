-- Forbids more than 5% of the candidates without a usable reply (unparsed, rejected or failed): the pairs that are left
-- would be those that the writer finds easy.
-- severity: warn
-- blocking: no
SELECT
    snapshot AS row_id,
    count(*) FILTER (WHERE outcome <> 'parsed') || ' of ' || count(*) || ' candidates have no usable reply' AS detail
FROM candidate_pairs
GROUP BY snapshot
HAVING 20 * count(*) FILTER (WHERE outcome <> 'parsed') > count(*)
