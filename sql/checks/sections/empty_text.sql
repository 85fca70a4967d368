-- Forbids a section without text: there is nothing to annotate, and the call would be paid for.
-- severity: error
-- blocking: yes
SELECT
    section_id AS row_id,
    'the section “' || array_to_string(heading_path, ' > ') || '” of “' || title || '” has no letter or digit' AS detail
FROM sections
WHERE NOT regexp_matches(text, '[\p{L}\p{N}]')
