-- One judge of the roster: a worker with a judge prompt. `headline` marks the one whose numbers head the leaderboard.
CREATE TABLE judges AS
SELECT
    judge,
    worker,
    prompt,
    headline
FROM read_parquet($judges, hive_partitioning = false);
