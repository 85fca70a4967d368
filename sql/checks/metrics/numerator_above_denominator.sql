-- Forbids a share of more than the whole, or of less than nothing.
-- severity: error
-- blocking: yes
SELECT
    concat_ws('/', snapshot, model, judge, judge_order, protocol, slice_kind, slice, metric) AS row_id,
    'the numerator is ' || numerator || ', the denominator ' || denominator AS detail
FROM metrics
WHERE numerator > denominator * (1 + 1e-12) OR numerator < 0 OR denominator < 0
