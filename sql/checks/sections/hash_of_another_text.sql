-- Forbids a text hash that is not the text's: ids hang on it, and so does what a refresh asks and pays for again.
-- severity: error
-- blocking: yes
SELECT
    section_id AS row_id,
    'the text hash is ' || text_hash || ', but the text has ' || substr(sha256(text), 1, 32) AS detail
FROM sections
WHERE text_hash <> substr(sha256(text), 1, 32)
