-- Forbids pages that the index of a file lists and that were not read, unless rows of `dump_damages` say that so many
-- were lost: articles would be absent from the benchmark without a word.
-- severity: error
-- blocking: yes
-- also reads: dump_damages
WITH explained AS (
    SELECT snapshot, part, sum(missing_pages) AS pages
    FROM dump_damages
    GROUP BY snapshot, part
)
SELECT
    mined_files.name AS row_id,
    mined_files.missing_pages || ' of ' || coalesce(CAST(mined_files.indexed_pages AS VARCHAR), '?')
    || ' pages in its index were not read; damages explain ' || coalesce(explained.pages, 0) AS detail
FROM mined_files
LEFT JOIN explained ON mined_files.snapshot = explained.snapshot AND mined_files.part = explained.part
WHERE mined_files.missing_pages > coalesce(explained.pages, 0)
