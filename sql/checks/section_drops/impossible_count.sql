-- Forbids a count below zero, and any other than 1 on a row that names a page: such a row is about one section.
-- severity: error
-- blocking: yes
SELECT
    concat_ws('/', unit, reason, page_id, heading_index) AS row_id,
    'counts ' || counted || CASE WHEN page_id IS NULL THEN ', expected 0 or more' ELSE ', expected 1' END AS detail
FROM section_drops
WHERE counted < 0 OR (page_id IS NOT NULL AND counted <> 1)
