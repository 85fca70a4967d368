-- Forbids a page with a kept section whose text has another SHA-1 than the dump states for it: it was altered on its
-- way from the producer's database to here, by the producer, the decoder or our reading.
-- severity: warn
-- blocking: no
SELECT
    name AS row_id,
    sha1_differing || ' of ' || sha1_compared || ' texts compared have another SHA-1 than the dump states' AS detail
FROM mined_files
WHERE sha1_differing > 0
