-- Forbids a number of damages of a file that is not the number of its rows in `dump_damages`: a damage went untold, or
-- the two tables are of two readings.
-- severity: error
-- blocking: yes
-- also reads: dump_damages
WITH listed AS (
    SELECT snapshot, part, min(name) AS name, count(*) AS damages
    FROM dump_damages
    GROUP BY snapshot, part
)
SELECT
    coalesce(mined_files.name, listed.name) AS row_id,
    CASE
        WHEN mined_files.name IS NULL THEN 'was not read, but has '
        ELSE mined_files.damages || ' damages are counted, '
    END || coalesce(listed.damages, 0) || ' are listed in dump_damages' AS detail
FROM mined_files
FULL OUTER JOIN listed ON mined_files.snapshot = listed.snapshot AND mined_files.part = listed.part
WHERE coalesce(mined_files.damages, 0) <> coalesce(listed.damages, 0)
