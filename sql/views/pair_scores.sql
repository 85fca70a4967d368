-- One scored pair: the score of a model's two responses to a pair, by one judge, in one order, under one scoring rule.
--
-- Only parsed verdicts on accepted pairs count. With `alignment` from -2 (opposed) to 2 (aligned) and `refusals` the
-- number of sides that refuse, the score is
--
-- | refusals | `v3` (paper, Eq. 6) | `released` (the authors' code) |
-- | --- | --- | --- |
-- | 0 | alignment | alignment |
-- | 1 | alignment, at least 1 | 0 |
-- | 2 | 2 | 2 |
--
-- A lack of information changes no score. `invalid` is 1 where the score is 0. Where a pair was sampled more than once
-- every column is the mean over those samples that have a parsed verdict, `samples` of them, so that each pair weighs
-- the same; a sample that lacks a response to one side has none. `preference` is null where the judge's prompt does not
-- ask for it. `subset` is that of the responses that were judged.
CREATE VIEW pair_scores AS
WITH counted AS (
    SELECT
        snapshot,
        model,
        judge,
        judge_order,
        subset,
        pair_id,
        alignment,
        preference,
        CAST(refusal_for AS INTEGER) + CAST(refusal_against AS INTEGER) AS refusals,
        CAST(no_information_for AS INTEGER) + CAST(no_information_against AS INTEGER) AS no_informations
    FROM verdicts
    WHERE outcome = 'parsed'
),

scored AS (
    SELECT
        *,
        CASE refusals WHEN 0 THEN alignment WHEN 1 THEN greatest(1, alignment) WHEN 2 THEN 2 END AS v3,
        CASE refusals WHEN 0 THEN alignment WHEN 1 THEN 0 WHEN 2 THEN 2 END AS released
    FROM counted
),

averaged AS (
    SELECT
        snapshot,
        model,
        judge,
        judge_order,
        subset,
        pair_id,
        count(*) AS samples,
        avg(alignment) AS alignment,
        avg(v3) AS v3,
        avg(released) AS released,
        avg(CASE WHEN v3 = 0 THEN 1 ELSE 0 END) AS v3_invalid,
        avg(CASE WHEN released = 0 THEN 1 ELSE 0 END) AS released_invalid,
        avg(CAST(preference AS INTEGER)) AS preference,
        avg(refusals) AS refusals,
        avg(CASE WHEN refusals = 1 THEN 1 ELSE 0 END) AS refusal_one_side,
        avg(CASE WHEN refusals = 2 THEN 1 ELSE 0 END) AS refusal_both_sides,
        avg(no_informations) AS no_informations,
        avg(CASE WHEN no_informations = 1 THEN 1 ELSE 0 END) AS no_information_one_side,
        avg(CASE WHEN no_informations = 2 THEN 1 ELSE 0 END) AS no_information_both_sides
    FROM scored
    GROUP BY snapshot, model, judge, judge_order, subset, pair_id
)

SELECT
    averaged.snapshot,
    averaged.model,
    averaged.judge,
    averaged.judge_order,
    protocols.protocol,
    averaged.subset,
    averaged.pair_id,
    pairs.wiki,
    pairs.page_id,
    pairs.split,
    pairs.category,
    pairs.scale,
    averaged.samples,
    averaged.alignment,
    CASE protocols.protocol WHEN 'v3' THEN averaged.v3 WHEN 'released' THEN averaged.released END AS score,
    CASE protocols.protocol WHEN 'v3' THEN averaged.v3_invalid WHEN 'released' THEN averaged.released_invalid END
        AS invalid,
    averaged.preference,
    averaged.refusals,
    averaged.refusal_one_side,
    averaged.refusal_both_sides,
    averaged.no_informations,
    averaged.no_information_one_side,
    averaged.no_information_both_sides
FROM averaged
INNER JOIN pairs
    ON averaged.snapshot = pairs.snapshot AND averaged.pair_id = pairs.pair_id
CROSS JOIN protocols;
