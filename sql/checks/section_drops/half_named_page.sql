-- Forbids a row that names a page without its revision, title or heading, or these without the page, and a row of unit
-- `page` that names one: pages are counted, not listed; a reader must be able to look a dropped section up.
-- severity: error
-- blocking: no
SELECT
    concat_ws('/', unit, reason, page_id, heading_index) AS row_id,
    CASE
        WHEN unit = 'page' THEN 'counts pages, but names page ' || coalesce(CAST(page_id AS VARCHAR), title, '?')
        ELSE
            'names ' || concat_ws(
                ', ',
                CASE WHEN page_id IS NOT NULL THEN 'page' END,
                CASE WHEN revision_id IS NOT NULL THEN 'revision' END,
                CASE WHEN title IS NOT NULL THEN 'title' END,
                CASE WHEN heading_index IS NOT NULL THEN 'place of the heading' END,
                CASE WHEN heading IS NOT NULL THEN 'heading' END
            ) || ' and not the rest'
    END AS detail
FROM section_drops
WHERE
    (page_id IS NULL) <> (revision_id IS NULL)
    OR (page_id IS NULL) <> (title IS NULL)
    OR (page_id IS NULL) <> (heading_index IS NULL)
    OR (page_id IS NULL) <> (heading IS NULL)
    OR (unit = 'page' AND page_id IS NOT NULL)
