-- Forbids two sections of one snapshot with one id: issues and pairs name their section by it.
-- severity: error
-- blocking: yes
SELECT
    section_id AS row_id,
    count(*) || ' sections of ' || snapshot || ' have this id: '
    || string_agg('page ' || page_id || ' heading ' || heading_index, ', ' ORDER BY page_id, heading_index) AS detail
FROM sections
GROUP BY snapshot, section_id
HAVING count(*) > 1
