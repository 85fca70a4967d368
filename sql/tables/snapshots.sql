-- One snapshot: a dump of one wiki, and the files it was read from.
--
-- `date` is that of the snapshot key, ISO 8601. A snapshot keeps its layout for ever. `verified` is true where the hash
-- of every file was compared with one that the producer published.
CREATE TABLE snapshots AS
SELECT
    snapshot,
    wiki,
    substr(right(snapshot, 8), 1, 4) || '-' || substr(right(snapshot, 8), 5, 2) || '-' || right(snapshot, 2) AS date,
    layout,
    count(*) AS files,
    CAST(sum(bytes) AS BIGINT) AS bytes,
    bool_and(verified) AS verified
FROM read_parquet($dump, hive_partitioning = false)
GROUP BY snapshot, wiki, layout;
