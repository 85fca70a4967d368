-- One place of a dump file that could not be read, and the pages around it; a snapshot whose dump was whole has none.
CREATE TABLE dump_damages AS
SELECT
    snapshot,
    part,
    number,
    name,
    byte_offset,
    kind,
    after_page_id,
    before_page_id,
    missing_pages,
    detail
FROM read_parquet($dump_damages, hive_partitioning = false);
