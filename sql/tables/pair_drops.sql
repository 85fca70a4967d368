-- One section whose issue gave no accepted pair, and the one reason why.
CREATE TABLE pair_drops AS
SELECT
    snapshot,
    section_id,
    page_id,
    heading_index,
    issue_id,
    pair_id,
    reason,
    detail
FROM read_parquet($pair_drops, hive_partitioning = false);
