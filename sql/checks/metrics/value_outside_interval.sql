-- Forbids an interval that does not hold its own value, has none, or has its ends exchanged.
-- severity: error
-- blocking: yes
SELECT
    concat_ws('/', snapshot, model, judge, judge_order, protocol, slice_kind, slice, metric) AS row_id,
    'the value is ' || coalesce(CAST(value AS VARCHAR), 'null') || ', its interval '
    || coalesce(CAST(low AS VARCHAR), 'null') || ' to ' || coalesce(CAST(high AS VARCHAR), 'null') AS detail
FROM metrics
WHERE
    low > high
    OR value < low - 1e-9
    OR value > high + 1e-9
    OR (value IS NULL AND (low IS NOT NULL OR high IS NOT NULL))
