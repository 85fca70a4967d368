-- Forbids a file of the dump of which nothing says how it was read, and a file that was read and is none of the dump's.
-- Sections that were mined by a version without these counts are told here: mine them again, it costs no calls.
-- severity: error
-- blocking: yes
-- also reads: dump
SELECT
    coalesce(dump.name, mined_files.name) AS row_id,
    'part ' || coalesce(dump.part, mined_files.part) || ' is ' || coalesce(dump.name, 'no file') || ' in the dump, '
    || coalesce(mined_files.name, 'no file') || ' among the files read: materialise sections again' AS detail
FROM dump
FULL OUTER JOIN mined_files ON dump.snapshot = mined_files.snapshot AND dump.part = mined_files.part
WHERE dump.name IS NULL OR mined_files.name IS NULL OR dump.name <> mined_files.name
