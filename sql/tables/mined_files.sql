-- One file of a dump as it was read: how much of it, whether it was whole, and how it agrees with its index.
--
-- Snapshots that were mined by a version without these counts have no rows here until they are mined again.
CREATE TABLE mined_files AS
SELECT
    snapshot,
    part,
    name,
    xml_bytes,
    pages,
    first_page_id,
    last_page_id,
    closed,
    indexed_pages,
    missing_pages,
    unlisted_pages,
    sha1_compared,
    sha1_differing,
    lost_texts,
    damages
FROM read_parquet($mined_files, hive_partitioning = false);
