-- Forbids a snapshot with under 98% of the pages of the one before it of the same wiki and layout: a wiki grows, so
-- files or pages are missing from the dump. Layouts are not compared with each other: one holds all namespaces, the
-- other some. A first snapshot has nothing to be compared with.
-- severity: warn
-- blocking: no
-- also reads: dump
-- also reads earlier: dump, mined_files
WITH counted AS (
    SELECT mined_files.snapshot, dump.layout, sum(mined_files.pages) AS pages
    FROM mined_files
    INNER JOIN dump ON mined_files.snapshot = dump.snapshot AND mined_files.part = dump.part
    GROUP BY mined_files.snapshot, dump.layout
),
counted_earlier AS (
    SELECT earlier_mined_files.snapshot, earlier_dump.layout, sum(earlier_mined_files.pages) AS pages
    FROM earlier_mined_files
    INNER JOIN earlier_dump
        ON earlier_mined_files.snapshot = earlier_dump.snapshot AND earlier_mined_files.part = earlier_dump.part
    GROUP BY earlier_mined_files.snapshot, earlier_dump.layout
),
-- Keys of one wiki differ in their date alone, so that the last by date is the last as text.
latest AS (
    SELECT layout, max(snapshot) AS snapshot
    FROM counted_earlier
    GROUP BY layout
)
SELECT
    counted.snapshot AS row_id,
    counted.pages || ' pages in ' || counted.snapshot || ', ' || counted_earlier.pages || ' in '
    || counted_earlier.snapshot || ' (both of layout ' || counted.layout || '): under 98%' AS detail
FROM counted
INNER JOIN latest ON counted.layout = latest.layout
INNER JOIN counted_earlier
    ON latest.layout = counted_earlier.layout AND latest.snapshot = counted_earlier.snapshot
WHERE 100 * counted.pages < 98 * counted_earlier.pages
