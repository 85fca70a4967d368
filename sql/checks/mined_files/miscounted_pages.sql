-- Forbids a sum of pages over the files that is not the sum of pages over the reasons in `section_drops`: a page was
-- read and became of nothing, or was counted without being read.
-- severity: error
-- blocking: yes
-- also reads: section_drops
WITH pages_read AS (
    SELECT snapshot, sum(pages) AS pages
    FROM mined_files
    GROUP BY snapshot
),
pages_counted AS (
    SELECT snapshot, sum(counted) AS pages
    FROM section_drops
    WHERE unit = 'page'
    GROUP BY snapshot
)
SELECT
    coalesce(pages_read.snapshot, pages_counted.snapshot) AS row_id,
    coalesce(pages_read.pages, 0) || ' pages are read from files, '
    || coalesce(pages_counted.pages, 0) || ' are counted under a reason' AS detail
FROM pages_read
FULL OUTER JOIN pages_counted ON pages_read.snapshot = pages_counted.snapshot
WHERE coalesce(pages_read.pages, 0) <> coalesce(pages_counted.pages, 0)
