-- Forbids an annotation that contradicts itself: divergent on scale 0 (which means not divergent), or not divergent on
-- a higher one. Both are dropped from the benchmark; many of them say that the annotator does not follow its prompt.
-- severity: warn
-- blocking: no
SELECT
    issue_id AS row_id,
    CASE WHEN is_divergent THEN 'divergent on scale ' ELSE 'not divergent on scale ' END || scale AS detail
FROM issues
WHERE is_divergent <> (scale > 0)
