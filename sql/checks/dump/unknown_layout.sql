-- Forbids a layout outside the closed list: page counts are compared between snapshots of one layout only.
-- severity: error
-- blocking: yes
SELECT
    name AS row_id,
    'the layout is “' || layout || '”, expected folder, classic or exports' AS detail
FROM dump
WHERE layout NOT IN ('folder', 'classic', 'exports')
