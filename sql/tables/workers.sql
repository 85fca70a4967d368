-- One worker of the roster: a model that annotates sections, writes pairs or judges responses.
CREATE TABLE workers AS
SELECT
    worker,
    endpoint,
    provider,
    served_as,
    revision,
    sampling,
    stand_in
FROM read_parquet($workers, hive_partitioning = false);
