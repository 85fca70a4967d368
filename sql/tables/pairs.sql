-- One accepted pair: the unit of the benchmark. Its article, `page_id`, is the cluster of all statistics.
CREATE TABLE pairs AS
SELECT
    snapshot,
    pair_id,
    issue_id,
    section_id,
    wiki,
    page_id,
    revision_id,
    title,
    heading_path,
    url,
    split,
    category,
    scale,
    rationale,
    issue,
    for_description,
    for_question,
    against_description,
    against_question,
    writer
FROM read_parquet($pairs, hive_partitioning = false);
