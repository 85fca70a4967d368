-- Forbids a count of anything but pages and sections: the two sums (all pages read, all matching sections) would lack
-- it.
-- severity: error
-- blocking: yes
SELECT
    concat_ws('/', unit, reason, page_id, heading_index) AS row_id,
    'counts “' || unit || '”, expected page or section' AS detail
FROM section_drops
WHERE unit NOT IN ('page', 'section')
