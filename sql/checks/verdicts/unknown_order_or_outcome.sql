-- Forbids orders and outcomes outside their closed lists: no score or count would hold such a verdict.
-- severity: error
-- blocking: yes
SELECT
    pair_id || '/' || sample || '/' || judge_order AS row_id,
    'the order is “' || judge_order || '”, the outcome “' || outcome || '”' AS detail
FROM verdicts
WHERE
    judge_order NOT IN ('as_asked', 'swapped')
    OR outcome NOT IN ('parsed', 'unparsed', 'rejected', 'failed', 'no_response')
