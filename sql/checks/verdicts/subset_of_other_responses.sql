-- Forbids verdicts on another subset than the responses are of now: the model was asked again since, and these are
-- numbers of before. Materialise the verdicts of the partition again.
-- severity: error
-- blocking: yes
-- also reads: responses
WITH asked AS (
    SELECT DISTINCT snapshot, model, subset
    FROM responses
),
judged AS (
    SELECT DISTINCT snapshot, model, judge, subset
    FROM verdicts
)
SELECT
    judged.snapshot || '/' || judged.model || '/' || judged.judge AS row_id,
    'judges the subset ' || judged.subset || ', the responses are of ' || asked.subset AS detail
FROM judged
INNER JOIN asked
    ON judged.snapshot = asked.snapshot AND judged.model = asked.model
WHERE judged.subset <> asked.subset
