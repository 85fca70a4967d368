-- Forbids a link that does not name the revision which the text was taken from: the article moves on, and nobody could
-- read what the pair was made of.
-- severity: error
-- blocking: yes
SELECT
    section_id AS row_id,
    'the link ' || url || ' does not name revision ' || revision_id AS detail
FROM sections
WHERE
    NOT regexp_matches(url, '^https?://[^/]+/')
    OR NOT list_contains(regexp_extract_all(url, '[0-9]+'), CAST(revision_id AS VARCHAR))
