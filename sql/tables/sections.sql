-- One kept section of a snapshot: a heading that matches a pattern, with everything under it as plain text.
CREATE TABLE sections AS
SELECT
    snapshot,
    section_id,
    wiki,
    page_id,
    heading_index,
    revision_id,
    revision_time,
    title,
    heading_path,
    level,
    pattern,
    text,
    text_hash,
    ordinal,
    cut,
    url
FROM read_parquet($sections, hive_partitioning = false);
