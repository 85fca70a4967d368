-- Forbids a file whose first page does not come after the last page of every file before it: files of two runs lie
-- together, or stand in another order than their pages, and pages would be read twice.
-- severity: error
-- blocking: yes
SELECT
    later.name AS row_id,
    'begins with page ' || later.first_page_id || '; ' || former.name || ', which is read before it, ends with page '
    || former.last_page_id AS detail
FROM mined_files AS later
INNER JOIN mined_files AS former
    ON
        later.snapshot = former.snapshot
        AND later.part > former.part
        AND later.first_page_id <= former.last_page_id
