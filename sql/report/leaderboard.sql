-- One line of the leaderboard: a model, as one judge sees it in one order, under one scoring rule, on all pairs asked.
--
-- PAC, VPREF, REF and NINF run from 0 to 100, coverage from 0 to 1; `pairs` counts scored pairs. `faithful` marks the
-- judge prompt together with the scoring rule it was made for. `headline` marks the one line a model that heads the
-- leaderboard: of the roster's first judge, as asked, under its faithful rule (`v3` where it has none). `subset` says
-- what of the split was asked (`all`, else fraction and seed): only lines of one subset are of the same pairs. `cost` is
-- what was paid for the model's responses and this judge's verdicts on them, in the currency of the roster's prices, by
-- all runs so far and for either order; replies shared with others were paid for elsewhere, and it is null where the
-- ledger knows of no call. `stand_in` is true where the model, the judge or the writer of any pair of the snapshot is a
-- stand-in: such a number says nothing of any real model.
CREATE TABLE leaderboard AS
WITH wide AS (
    SELECT
        snapshot,
        model,
        judge,
        judge_order,
        protocol,
        subset,
        max(CASE WHEN metric = 'pac' THEN value END) AS pac,
        max(CASE WHEN metric = 'vpref' THEN value END) AS vpref,
        max(CASE WHEN metric = 'ref' THEN value END) AS ref,
        max(CASE WHEN metric = 'ninf' THEN value END) AS ninf,
        max(CASE WHEN metric = 'pac_without_refusal_and_no_information' THEN value END)
            AS pac_without_refusal_and_no_information,
        max(CASE WHEN metric = 'coverage' THEN value END) AS coverage,
        max(CASE WHEN metric = 'pac' THEN pairs END) AS pairs
    FROM metrics
    WHERE slice_kind = 'all'
    GROUP BY snapshot, model, judge, judge_order, protocol, subset
),

paid AS (
    SELECT
        split_part(partition_key, '/', 1) AS snapshot,
        split_part(partition_key, '/', 2) AS model,
        CASE WHEN fact = 'verdicts' THEN split_part(partition_key, '/', 3) END AS judge,
        sum(cost) AS cost
    FROM call_costs
    WHERE fact IN ('responses', 'verdicts')
    GROUP BY 1, 2, 3
),

stand_in_writers AS (
    SELECT DISTINCT pairs.snapshot
    FROM pairs
    INNER JOIN workers
        ON pairs.writer = workers.worker
    WHERE workers.stand_in
)

SELECT
    wide.snapshot,
    wide.model,
    wide.judge,
    wide.judge_order,
    wide.protocol,
    wide.subset,
    wide.pac,
    wide.vpref,
    wide.ref,
    wide.ninf,
    wide.pac_without_refusal_and_no_information,
    wide.coverage,
    wide.pairs,
    CASE
        WHEN paid_model.cost IS NOT NULL OR paid_judge.cost IS NOT NULL
            THEN coalesce(paid_model.cost, 0) + coalesce(paid_judge.cost, 0)
    END AS cost,
    coalesce(own_rule.protocol = wide.protocol, false) AS faithful,
    coalesce(models.stand_in, false) OR coalesce(workers.stand_in, false) OR stand_in_writers.snapshot IS NOT NULL
        AS stand_in,
    coalesce(judges.headline, false)
    AND wide.judge_order = 'as_asked'
    AND wide.protocol = coalesce(own_rule.protocol, 'v3') AS headline
FROM wide
LEFT JOIN models
    ON wide.model = models.model
LEFT JOIN judges
    ON wide.judge = judges.judge
LEFT JOIN workers
    ON judges.worker = workers.worker
LEFT JOIN protocols AS own_rule
    ON split_part(judges.prompt, '/', 1) = own_rule.judge_prompt
LEFT JOIN stand_in_writers
    ON wide.snapshot = stand_in_writers.snapshot
LEFT JOIN paid AS paid_model
    ON wide.snapshot = paid_model.snapshot AND wide.model = paid_model.model AND paid_model.judge IS NULL
LEFT JOIN paid AS paid_judge
    ON wide.snapshot = paid_judge.snapshot AND wide.model = paid_judge.model AND wide.judge = paid_judge.judge
ORDER BY
    wide.snapshot, wide.judge, wide.judge_order, wide.protocol, wide.subset DESC, wide.pac DESC NULLS LAST, wide.model;
