-- Forbids an outcome outside the closed list: an issue under any other would be neither used nor counted as lost.
-- severity: error
-- blocking: yes
SELECT
    issue_id AS row_id,
    'the outcome is “' || outcome || '”, expected parsed, unparsed, rejected or failed' AS detail
FROM issues
WHERE outcome NOT IN ('parsed', 'unparsed', 'rejected', 'failed')
