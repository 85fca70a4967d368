-- One response of a model to one side of one pair, or what became of the call instead.
CREATE TABLE responses AS
SELECT
    snapshot,
    model,
    pair_id,
    side,
    sample,
    text,
    reasoning,
    outcome,
    detail,
    finish_reason,
    served_model,
    prompt,
    input_tokens,
    output_tokens,
    fingerprint
FROM read_parquet($responses, hive_partitioning = false);
