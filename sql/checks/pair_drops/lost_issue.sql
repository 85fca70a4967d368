-- Forbids an issue that ended neither as a pair nor as a drop with a reason, and one that ended twice: nothing is lost
-- without a word on the way from sections to pairs.
-- severity: error
-- blocking: yes
-- also reads: issues, pairs
WITH ends AS (
    SELECT snapshot, issue_id FROM pairs
    UNION ALL
    SELECT snapshot, issue_id FROM pair_drops
),
counted AS (
    SELECT snapshot, issue_id, count(*) AS ended
    FROM ends
    GROUP BY snapshot, issue_id
)
SELECT
    coalesce(issues.issue_id, counted.issue_id) AS row_id,
    CASE
        WHEN issues.issue_id IS NULL THEN 'is no issue of ' || counted.snapshot || ', but ended as a pair or a drop'
        ELSE 'ended ' || coalesce(counted.ended, 0) || ' times, expected once'
    END AS detail
FROM issues
FULL OUTER JOIN counted ON issues.snapshot = counted.snapshot AND issues.issue_id = counted.issue_id
WHERE issues.issue_id IS NULL OR counted.ended IS NULL OR counted.ended <> 1
