-- One row that a check found offending when it last ran.
CREATE TABLE check_failures AS
SELECT
    snapshot,
    fact,
    check_name,
    row_id,
    detail
FROM read_parquet($check_failures, hive_partitioning = false);
