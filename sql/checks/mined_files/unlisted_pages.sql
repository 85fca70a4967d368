-- Forbids pages that were read and that the index of their file does not list: index and file are not of one run, or
-- the index is cut short and would not tell of missing pages.
-- severity: warn
-- blocking: no
SELECT
    name AS row_id,
    unlisted_pages || ' of ' || pages || ' pages read are not among the '
    || coalesce(CAST(indexed_pages AS VARCHAR), '?') || ' in its index' AS detail
FROM mined_files
WHERE unlisted_pages > 0
