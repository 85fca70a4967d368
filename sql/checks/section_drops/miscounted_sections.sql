-- Forbids counts of kept and of cut sections that are not the numbers of such rows in `sections`: something was dropped
-- without a reason, or counted without being kept.
-- severity: error
-- blocking: yes
-- also reads: sections
WITH counted AS (
    SELECT reason, sum(counted) AS sections
    FROM section_drops
    WHERE unit = 'section' AND reason IN ('kept', 'cut')
    GROUP BY reason
),
stored AS (
    SELECT CASE WHEN cut THEN 'cut' ELSE 'kept' END AS reason, count(*) AS sections
    FROM sections
    GROUP BY ALL
)
SELECT
    'section/' || coalesce(counted.reason, stored.reason) AS row_id,
    coalesce(counted.sections, 0) || ' sections are counted, '
    || coalesce(stored.sections, 0) || ' are stored' AS detail
FROM counted
FULL OUTER JOIN stored ON counted.reason = stored.reason
WHERE coalesce(counted.sections, 0) <> coalesce(stored.sections, 0)
