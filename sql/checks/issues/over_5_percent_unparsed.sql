-- Forbids more than 5% of the annotations without a usable reply (unparsed, rejected or failed): the issues that are
-- left would be those that the annotator finds easy.
-- severity: warn
-- blocking: no
SELECT
    snapshot AS row_id,
    count(*) FILTER (WHERE outcome <> 'parsed') || ' of ' || count(*) || ' annotations have no usable reply' AS detail
FROM issues
GROUP BY snapshot
HAVING 20 * count(*) FILTER (WHERE outcome <> 'parsed') > count(*)
