-- Forbids a pair with a response to one side only: every sample of a pair has one row for each side, whatever became of
-- the calls, since consistency is a property of the two together.
-- severity: error
-- blocking: yes
SELECT
    pair_id || '/' || sample AS row_id,
    model || ' on ' || snapshot || ' has ' || string_agg(side, ', ' ORDER BY side)
    || ', expected against, for' AS detail
FROM responses
GROUP BY snapshot, model, pair_id, sample
HAVING
    count(*) <> 2
    OR count(*) FILTER (WHERE side = 'for') <> 1
    OR count(*) FILTER (WHERE side = 'against') <> 1
