-- Forbids a parsed annotation that lacks its answer, rationale or scale, or whose scale is not 0 to 5, and an answer or
-- scale on a row that was not parsed.
-- severity: error
-- blocking: yes
SELECT
    issue_id AS row_id,
    outcome || ' with divergent ' || coalesce(CAST(is_divergent AS VARCHAR), 'null') || ', scale '
    || coalesce(CAST(scale AS VARCHAR), 'null')
    || CASE WHEN rationale IS NULL THEN ', no rationale' ELSE '' END AS detail
FROM issues
WHERE
    (
        outcome = 'parsed'
        AND (is_divergent IS NULL OR rationale IS NULL OR scale IS NULL OR scale NOT BETWEEN 0 AND 5)
    )
    OR (outcome <> 'parsed' AND (is_divergent IS NOT NULL OR scale IS NOT NULL))
