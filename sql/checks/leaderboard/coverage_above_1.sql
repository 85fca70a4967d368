-- Forbids a coverage outside 0 to 1: more pairs were scored than accepted and asked, so pairs were joined twice.
-- severity: error
-- blocking: yes
SELECT
    concat_ws('/', snapshot, model, judge, judge_order, protocol) AS row_id,
    'the coverage is ' || coverage || ' of ' || pairs || ' pairs' AS detail
FROM leaderboard
WHERE coverage < 0 OR coverage > 1
