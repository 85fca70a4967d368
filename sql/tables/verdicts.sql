-- One verdict of a judge on the two responses of a model to a pair. Fields follow the side, not the person: where the
-- sides were swapped for the judge, that is undone here. Only rows with outcome `parsed` are scored.
CREATE TABLE verdicts AS
SELECT
    snapshot,
    model,
    judge,
    judge_order,
    pair_id,
    sample,
    subset,
    alignment,
    preference,
    refusal_for,
    refusal_against,
    no_information_for,
    no_information_against,
    central_issue,
    position_for,
    position_against,
    points_of_alignment,
    points_of_opposition,
    text_cut,
    outcome,
    detail,
    raw,
    prompt,
    input_tokens,
    output_tokens,
    cached_tokens,
    reasoning_tokens,
    fingerprint
FROM read_parquet($verdicts, hive_partitioning = false);
