-- Forbids files of two layouts in one snapshot: they hold other revisions of the same pages, and every page of the one
-- stands in the other too.
-- severity: error
-- blocking: yes
WITH counted AS (
    SELECT snapshot, layout, count(*) AS files
    FROM dump
    GROUP BY snapshot, layout
)
SELECT
    snapshot AS row_id,
    'has ' || string_agg(files || ' of layout ' || layout, ', ' ORDER BY layout)
    || '; expected files of one layout' AS detail
FROM counted
GROUP BY snapshot
HAVING count(*) > 1
