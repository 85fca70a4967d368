-- Forbids sides and outcomes outside their closed lists: no score or count would hold such a response.
-- severity: error
-- blocking: yes
SELECT
    pair_id || '/' || side || '/' || sample AS row_id,
    'the side is “' || side || '”, the outcome “' || outcome || '”' AS detail
FROM responses
WHERE
    side NOT IN ('for', 'against')
    OR outcome NOT IN ('answered', 'truncated', 'filtered', 'empty', 'rejected', 'failed')
