-- Forbids a file that does not end with the closing `</mediawiki>`: a file cut between two compressed streams decodes
-- without an error, and only this tells it.
--
-- Where the operator chose to keep what is sound of a damaged dump, a row of `dump_damages` says that the end of the
-- file could not be read: one after which no whole page follows. Such a file passes here and is told by `damaged_dump`.
-- A damage in the middle explains no missing end; nor do pages out of order, nor pages that only the index misses.
-- severity: error
-- blocking: yes
-- also reads: dump_damages
SELECT
    name AS row_id,
    'expected </mediawiki> at the end, found none after ' || pages || ' pages and ' || xml_bytes || ' bytes of XML; '
    || coalesce('the last whole page is ' || last_page_id, 'no page is whole') AS detail
FROM mined_files
WHERE
    NOT closed
    AND NOT EXISTS (
        SELECT 1
        FROM dump_damages
        WHERE
            dump_damages.snapshot = mined_files.snapshot
            AND dump_damages.part = mined_files.part
            AND dump_damages.before_page_id IS NULL
            AND dump_damages.kind NOT IN ('out_of_order', 'missing')
    )
