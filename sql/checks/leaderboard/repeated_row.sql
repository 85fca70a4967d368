-- Forbids two rows of a leaderboard for one model, judge, order and protocol: which of them is the model's?
-- severity: error
-- blocking: yes
SELECT
    concat_ws('/', snapshot, model, judge, judge_order, protocol) AS row_id,
    'stands ' || count(*) || ' times' AS detail
FROM leaderboard
GROUP BY snapshot, model, judge, judge_order, protocol
HAVING count(*) > 1
