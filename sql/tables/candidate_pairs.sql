-- One generated pair of questions about one issue, accepted or not, and what became of the call.
CREATE TABLE candidate_pairs AS
SELECT
    snapshot,
    pair_id,
    issue_id,
    section_id,
    page_id,
    heading_index,
    issue,
    for_description,
    for_question,
    against_description,
    against_question,
    text_cut,
    outcome,
    detail,
    raw,
    worker,
    prompt,
    fingerprint,
    input_tokens,
    output_tokens,
    cached_tokens,
    reasoning_tokens
FROM read_parquet($candidate_pairs, hive_partitioning = false);
