-- The whole leaderboard, in the order in which it is read: the report writes it to files.
SELECT *
FROM leaderboard
ORDER BY snapshot, judge, judge_order, protocol DESC, subset DESC, pac DESC NULLS LAST, model
