-- Forbids more than 2% of a judge's calls without a usable reply (unparsed, rejected or failed): the pairs that a judge
-- cannot read are no random part of all. Pairs without responses were never asked and do not count.
-- severity: warn
-- blocking: no
SELECT
    snapshot || '/' || model || '/' || judge AS row_id,
    count(*) FILTER (WHERE outcome <> 'parsed') || ' of ' || count(*) || ' calls have no usable reply' AS detail
FROM verdicts
WHERE outcome <> 'no_response'
GROUP BY snapshot, model, judge
HAVING 50 * count(*) FILTER (WHERE outcome <> 'parsed') > count(*)
