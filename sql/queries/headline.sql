-- One row a snapshot, model, judge and order, with both scoring rules side by side: what the terminal prints.
SELECT *
FROM headline
ORDER BY snapshot, judge, judge_order, pac_v3 DESC NULLS LAST, model
