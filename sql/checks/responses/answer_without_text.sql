-- Forbids a response that counts as answered or truncated and holds no text: a judge would be sent nothing.
-- severity: error
-- blocking: yes
SELECT
    pair_id || '/' || side || '/' || sample AS row_id,
    'is ' || outcome || ', without text' AS detail
FROM responses
WHERE outcome IN ('answered', 'truncated') AND (text IS NULL OR NOT regexp_matches(text, '[^\s\p{Z}]'))
