-- One sum of the ledger: calls made for one partition of a fact to one model, and what they cost, as of this build.
--
-- `cost` is in the currency of the roster's prices. Calls whose purpose the ledger does not know are under `other`.
CREATE TABLE call_costs AS
SELECT
    fact,
    partition_key,
    endpoint,
    provider,
    served_as,
    replies,
    rejected,
    failed,
    input_tokens,
    cached_tokens,
    output_tokens,
    reasoning_tokens,
    cost
FROM read_parquet($call_costs, hive_partitioning = false);
