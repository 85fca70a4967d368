-- One count of pages or matching sections under the one reason that became of them, or one dropped or cut section
-- (then `page_id` is not null).
CREATE TABLE section_drops AS
SELECT
    snapshot,
    unit,
    reason,
    counted,
    page_id,
    revision_id,
    title,
    heading_index,
    heading,
    detail
FROM read_parquet($section_drops, hive_partitioning = false);
