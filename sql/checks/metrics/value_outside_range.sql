-- Forbids a metric outside its range: coverage is 0 to 1, every other metric a rate of 0 to 100.
-- severity: error
-- blocking: yes
SELECT
    concat_ws('/', snapshot, model, judge, judge_order, protocol, slice_kind, slice, metric) AS row_id,
    'the value is ' || value || ', expected 0 to ' || CASE WHEN metric = 'coverage' THEN '1' ELSE '100' END AS detail
FROM metrics
WHERE
    value < 0
    OR value > CASE WHEN metric = 'coverage' THEN 1 ELSE 100 END + 1e-9 -- means of samples may round up
    OR isnan(CAST(value AS DOUBLE))
