-- One model, as one judge sees it in one order: PAC under both scoring rules side by side, and what qualifies it.
--
-- VPREF, REF, NINF, coverage, pairs and cost are the same under both rules; PAC without refusal and no-information is that of
-- `v3`. `of_headline_judge` marks the lines of the roster's first judge, as asked, which are to be read first. The other
-- columns are explained with `leaderboard`.
CREATE VIEW headline AS
SELECT
    snapshot,
    model,
    judge,
    judge_order,
    subset,
    max(CASE WHEN protocol = 'v3' THEN pac END) AS pac_v3,
    max(CASE WHEN protocol = 'released' THEN pac END) AS pac_released,
    max(CASE WHEN protocol = 'v3' THEN vpref END) AS vpref,
    max(CASE WHEN protocol = 'v3' THEN ref END) AS ref,
    max(CASE WHEN protocol = 'v3' THEN ninf END) AS ninf,
    max(CASE WHEN protocol = 'v3' THEN pac_without_refusal_and_no_information END)
        AS pac_without_refusal_and_no_information,
    max(CASE WHEN protocol = 'v3' THEN coverage END) AS coverage,
    max(CASE WHEN protocol = 'v3' THEN pairs END) AS pairs,
    max(cost) AS cost,
    bool_or(stand_in) AS stand_in,
    bool_or(headline) AS of_headline_judge
FROM leaderboard
GROUP BY snapshot, model, judge, judge_order, subset
ORDER BY snapshot, judge, judge_order, subset DESC, pac_v3 DESC NULLS LAST, model;
