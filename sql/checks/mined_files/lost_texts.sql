-- Forbids a page without text although the producer states a length above 0: its text failed to load when the dump was
-- made.
-- severity: warn
-- blocking: no
SELECT
    name AS row_id,
    lost_texts || ' of ' || pages || ' pages have no text although the dump states a length above 0' AS detail
FROM mined_files
WHERE lost_texts > 0
