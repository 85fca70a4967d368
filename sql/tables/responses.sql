-- One response of a model to one side of one pair, or what became of the call instead.
CREATE TABLE responses AS
SELECT
    snapshot,
    model,
    pair_id,
    side,
    sample,
    subset,
    text,
    reasoning,
    citations,
    outcome,
    detail,
    finish_reason,
    served_model,
    prompt,
    input_tokens,
    output_tokens,
    cached_tokens,
    reasoning_tokens,
    fingerprint
FROM read_parquet($responses, hive_partitioning = false);
