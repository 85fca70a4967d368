-- Forbids a section whose dump names another wiki than the snapshot's key does: the files were added under the wrong
-- key, or the dump is an excerpt with somebody else's siteinfo. Its links would lead to that other wiki.
-- severity: warn
-- blocking: no
SELECT
    section_id AS row_id,
    'the dump says ' || wiki || ', the snapshot is ' || snapshot AS detail
FROM sections
WHERE NOT starts_with(snapshot, wiki || '-')
