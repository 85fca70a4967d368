-- One row a snapshot, model, judge, order and subset, with both scoring rules side by side: what the terminal prints.
SELECT *
FROM headline
ORDER BY snapshot, judge, judge_order, subset DESC, pac_v3 DESC NULLS LAST, model
