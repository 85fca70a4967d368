-- One annotation of a section: divergent or not, how widely known, and what became of the call.
CREATE TABLE issues AS
SELECT
    snapshot,
    issue_id,
    section_id,
    page_id,
    heading_index,
    is_divergent,
    rationale,
    scale,
    scale_rationale,
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
FROM read_parquet($issues, hive_partitioning = false);
