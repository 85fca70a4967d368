-- Forbids counts of one file that contradict each other: below zero, a part above its whole, an index that is there for
-- some counts and not for others, a first page without a last, either where none was read, or both in the wrong order.
-- Every other check of this table would judge by them. (Pages without a revision are counted, and give no first page.)
-- severity: error
-- blocking: yes
WITH told AS (
    SELECT
        name,
        concat_ws(
            '; ',
            CASE
                WHEN
                    least(xml_bytes, pages, sha1_compared, sha1_differing, lost_texts, damages) < 0
                    OR least(indexed_pages, missing_pages, unlisted_pages) < 0
                    THEN 'a count is below 0'
            END,
            CASE WHEN lost_texts > pages THEN lost_texts || ' lost texts of ' || pages || ' pages' END,
            CASE WHEN sha1_compared > pages THEN sha1_compared || ' compared texts of ' || pages || ' pages' END,
            CASE
                WHEN sha1_differing > sha1_compared
                    THEN sha1_differing || ' differing of ' || sha1_compared || ' compared texts'
            END,
            CASE
                WHEN missing_pages > indexed_pages
                    THEN missing_pages || ' missing of ' || indexed_pages || ' pages in the index'
            END,
            CASE WHEN unlisted_pages > pages THEN unlisted_pages || ' unlisted of ' || pages || ' pages' END,
            CASE
                WHEN
                    (indexed_pages IS NULL) <> (missing_pages IS NULL)
                    OR (indexed_pages IS NULL) <> (unlisted_pages IS NULL)
                    THEN
                        'pages in the index ' || coalesce(CAST(indexed_pages AS VARCHAR), 'null')
                        || ', missing ' || coalesce(CAST(missing_pages AS VARCHAR), 'null')
                        || ', unlisted ' || coalesce(CAST(unlisted_pages AS VARCHAR), 'null')
            END,
            CASE
                WHEN
                    (first_page_id IS NULL) <> (last_page_id IS NULL)
                    OR (pages = 0 AND first_page_id IS NOT NULL)
                    OR first_page_id > last_page_id
                    THEN
                        pages || ' pages from page ' || coalesce(CAST(first_page_id AS VARCHAR), 'null')
                        || ' to page ' || coalesce(CAST(last_page_id AS VARCHAR), 'null')
            END
        ) AS problems
    FROM mined_files
)
SELECT
    name AS row_id,
    problems AS detail
FROM told
WHERE problems <> ''
