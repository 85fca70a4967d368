-- One metric of a model, as one judge sees it in one order, under one scoring rule, on one slice of the pairs.
--
-- `value` is 100 * numerator / denominator (`coverage`: numerator / denominator, 0 to 1), null where the denominator
-- is 0. `pairs` and `articles` say on how many pairs, of how many articles, it rests; `low` and `high` bound its
-- interval where there is one.
--
-- | metric | over | what is summed |
-- | --- | --- | --- |
-- | `pac` | 4 a pair | score + 2: the mean score moved from -2..2 to 0..100 (paper, Table 3) |
-- | `vpref` | pairs whose judge was asked | both responses prefer one conclusion |
-- | `ref`, `ninf` | 2 a pair | responses that refuse; that say they lack information |
-- | `ref_one_side`, `ref_both_sides` | pairs | exactly one response refuses; both do (`ninf_...` likewise) |
-- | `invalid` | pairs | the score is 0 |
-- | `pac_without_invalid` | 4 a pair | score + 2, of pairs of which no sample scores 0 |
-- | `pac_without_refusal_and_no_information` | 4 a pair | score + 2, of pairs without either |
-- | `coverage` | pairs asked | the pair has a score |
--
-- A pair was asked when it is accepted and the model has a response or a verdict for it. It has a score when any of its
-- samples has. Slices: `all`, `category`, `scale`, `split`, `wiki`; a pair without a category is in no slice of that
-- kind. `subset` is what of the split was asked (`all`, else fraction and seed): metrics of two subsets are not of the
-- same pairs.
CREATE TABLE metrics AS
WITH pair_slices AS (
    SELECT snapshot, pair_id, page_id, 'all' AS slice_kind, 'all' AS slice
    FROM pairs
    UNION ALL
    SELECT snapshot, pair_id, page_id, 'category' AS slice_kind, category AS slice
    FROM pairs
    WHERE category IS NOT NULL
    UNION ALL
    SELECT snapshot, pair_id, page_id, 'scale' AS slice_kind, CAST(scale AS VARCHAR) AS slice
    FROM pairs
    UNION ALL
    SELECT snapshot, pair_id, page_id, 'split' AS slice_kind, split AS slice
    FROM pairs
    UNION ALL
    SELECT snapshot, pair_id, page_id, 'wiki' AS slice_kind, wiki AS slice
    FROM pairs
),

asked_pairs AS (
    SELECT snapshot, model, subset, pair_id
    FROM responses
    UNION
    SELECT snapshot, model, subset, pair_id
    FROM verdicts
),

asked AS (
    SELECT
        asked_pairs.snapshot,
        asked_pairs.model,
        asked_pairs.subset,
        pair_slices.slice_kind,
        pair_slices.slice,
        count(*) AS asked_pairs,
        count(DISTINCT pair_slices.page_id) AS asked_articles
    FROM asked_pairs
    INNER JOIN pair_slices
        ON asked_pairs.snapshot = pair_slices.snapshot AND asked_pairs.pair_id = pair_slices.pair_id
    GROUP BY asked_pairs.snapshot, asked_pairs.model, asked_pairs.subset, pair_slices.slice_kind, pair_slices.slice
),

judged AS (
    SELECT DISTINCT snapshot, model, judge, judge_order, subset
    FROM verdicts
),

scored AS (
    SELECT
        *,
        invalid = 0 AS is_valid,
        refusals = 0 AND no_informations = 0 AS is_plain
    FROM pair_scores
),

slice_sums AS (
    SELECT
        scored.snapshot,
        scored.model,
        scored.judge,
        scored.judge_order,
        scored.protocol,
        scored.subset,
        pair_slices.slice_kind,
        pair_slices.slice,
        count(scored.score) AS scored_pairs,
        count(scored.preference) AS preference_pairs,
        count(CASE WHEN scored.is_valid THEN scored.score END) AS valid_pairs,
        count(CASE WHEN scored.is_plain THEN scored.score END) AS plain_pairs,
        sum(scored.score + 2) AS score_sum,
        sum(CASE WHEN scored.is_valid THEN scored.score + 2 END) AS valid_score_sum,
        sum(CASE WHEN scored.is_plain THEN scored.score + 2 END) AS plain_score_sum,
        sum(scored.preference) AS preference_sum,
        sum(scored.invalid) AS invalid_sum,
        sum(scored.refusals) AS refusal_sum,
        sum(scored.refusal_one_side) AS refusal_one_sum,
        sum(scored.refusal_both_sides) AS refusal_both_sum,
        sum(scored.no_informations) AS no_information_sum,
        sum(scored.no_information_one_side) AS no_information_one_sum,
        sum(scored.no_information_both_sides) AS no_information_both_sum
    FROM scored
    INNER JOIN pair_slices
        ON scored.snapshot = pair_slices.snapshot AND scored.pair_id = pair_slices.pair_id
    GROUP BY
        scored.snapshot,
        scored.model,
        scored.judge,
        scored.judge_order,
        scored.protocol,
        scored.subset,
        pair_slices.slice_kind,
        pair_slices.slice
),

-- Articles are counted in two steps: a count(DISTINCT) for each of the four takes twice the time and memory.
articles AS (
    SELECT
        scored.snapshot,
        scored.model,
        scored.judge,
        scored.judge_order,
        scored.protocol,
        scored.subset,
        pair_slices.slice_kind,
        pair_slices.slice,
        pair_slices.page_id,
        max(CASE WHEN scored.score IS NOT NULL THEN 1 ELSE 0 END) AS scored,
        max(CASE WHEN scored.preference IS NOT NULL THEN 1 ELSE 0 END) AS preference,
        max(CASE WHEN scored.is_valid THEN 1 ELSE 0 END) AS valid,
        max(CASE WHEN scored.is_plain THEN 1 ELSE 0 END) AS plain
    FROM scored
    INNER JOIN pair_slices
        ON scored.snapshot = pair_slices.snapshot AND scored.pair_id = pair_slices.pair_id
    GROUP BY
        scored.snapshot,
        scored.model,
        scored.judge,
        scored.judge_order,
        scored.protocol,
        scored.subset,
        pair_slices.slice_kind,
        pair_slices.slice,
        pair_slices.page_id
),

slice_articles AS (
    SELECT
        snapshot,
        model,
        judge,
        judge_order,
        protocol,
        subset,
        slice_kind,
        slice,
        sum(scored) AS scored_articles,
        sum(preference) AS preference_articles,
        sum(valid) AS valid_articles,
        sum(plain) AS plain_articles
    FROM articles
    GROUP BY snapshot, model, judge, judge_order, protocol, subset, slice_kind, slice
),

-- A slice of which pairs were asked and none was scored has its lines too.
long AS (
    SELECT
        judged.snapshot,
        judged.model,
        judged.judge,
        judged.judge_order,
        protocols.protocol,
        judged.subset,
        asked.slice_kind,
        asked.slice,
        terms.metric,
        CAST(coalesce(terms.numerator, 0) AS DOUBLE) AS numerator,
        CAST(coalesce(terms.denominator, 0) AS BIGINT) AS denominator,
        CAST(coalesce(terms.pairs, 0) AS BIGINT) AS pairs,
        CAST(coalesce(terms.articles, 0) AS BIGINT) AS articles
    FROM judged
    CROSS JOIN protocols
    INNER JOIN asked
        ON judged.snapshot = asked.snapshot AND judged.model = asked.model AND judged.subset = asked.subset
    LEFT JOIN slice_sums
        ON judged.snapshot = slice_sums.snapshot
        AND judged.model = slice_sums.model
        AND judged.judge = slice_sums.judge
        AND judged.judge_order = slice_sums.judge_order
        AND protocols.protocol = slice_sums.protocol
        AND judged.subset = slice_sums.subset
        AND asked.slice_kind = slice_sums.slice_kind
        AND asked.slice = slice_sums.slice
    LEFT JOIN slice_articles
        ON slice_sums.snapshot = slice_articles.snapshot
        AND slice_sums.model = slice_articles.model
        AND slice_sums.judge = slice_articles.judge
        AND slice_sums.judge_order = slice_articles.judge_order
        AND slice_sums.protocol = slice_articles.protocol
        AND slice_sums.subset = slice_articles.subset
        AND slice_sums.slice_kind = slice_articles.slice_kind
        AND slice_sums.slice = slice_articles.slice
    CROSS JOIN LATERAL (
        VALUES
        ('pac', score_sum, 4 * scored_pairs, scored_pairs, scored_articles),
        ('pac_without_invalid', valid_score_sum, 4 * valid_pairs, valid_pairs, valid_articles),
        ('pac_without_refusal_and_no_information', plain_score_sum, 4 * plain_pairs, plain_pairs, plain_articles),
        ('vpref', preference_sum, preference_pairs, preference_pairs, preference_articles),
        ('ref', refusal_sum, 2 * scored_pairs, scored_pairs, scored_articles),
        ('ref_one_side', refusal_one_sum, scored_pairs, scored_pairs, scored_articles),
        ('ref_both_sides', refusal_both_sum, scored_pairs, scored_pairs, scored_articles),
        ('ninf', no_information_sum, 2 * scored_pairs, scored_pairs, scored_articles),
        ('ninf_one_side', no_information_one_sum, scored_pairs, scored_pairs, scored_articles),
        ('ninf_both_sides', no_information_both_sum, scored_pairs, scored_pairs, scored_articles),
        ('invalid', invalid_sum, scored_pairs, scored_pairs, scored_articles),
        ('coverage', scored_pairs, asked_pairs, asked_pairs, asked_articles)
    ) AS terms (metric, numerator, denominator, pairs, articles)
)

SELECT
    snapshot,
    model,
    judge,
    judge_order,
    protocol,
    subset,
    slice_kind,
    slice,
    metric,
    CASE
        WHEN denominator = 0 THEN NULL
        WHEN metric = 'coverage' THEN numerator / denominator
        ELSE 100 * numerator / denominator
    END AS value,
    numerator,
    denominator,
    pairs,
    articles,
    CAST(NULL AS DOUBLE) AS low,
    CAST(NULL AS DOUBLE) AS high
FROM long
ORDER BY snapshot, model, judge, judge_order, protocol, subset, slice_kind, slice, metric;
