-- Forbids a parsed verdict on a pair of which a side has no response to judge (neither answered nor truncated): the
-- judge read something else, or the responses were replaced after they were judged.
-- severity: error
-- blocking: yes
-- also reads: responses
WITH judgeable AS (
    SELECT snapshot, model, pair_id, sample, count(DISTINCT side) AS sides
    FROM responses
    WHERE outcome IN ('answered', 'truncated') AND side IN ('for', 'against')
    GROUP BY snapshot, model, pair_id, sample
)
SELECT
    verdicts.pair_id || '/' || verdicts.sample || '/' || verdicts.judge_order AS row_id,
    'judges ' || verdicts.model || ' by ' || coalesce(judgeable.sides, 0) || ' of 2 responses' AS detail
FROM verdicts
LEFT JOIN judgeable
    ON
        verdicts.snapshot = judgeable.snapshot
        AND verdicts.model = judgeable.model
        AND verdicts.pair_id = judgeable.pair_id
        AND verdicts.sample = judgeable.sample
WHERE verdicts.outcome = 'parsed' AND coalesce(judgeable.sides, 0) <> 2
