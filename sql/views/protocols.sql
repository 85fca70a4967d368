-- One scoring rule: how refusals change the alignment that a judge gave a pair (see `pair_scores`).
--
-- `v3` is the rule of the paper (Eq. 6) and the default, `released` that of the authors' code. `judge_prompt` names the
-- judge prompt that the rule was made for: only the two together reproduce published numbers.
CREATE VIEW protocols AS
SELECT 'v3' AS protocol, 'judge_v3' AS judge_prompt
UNION ALL
SELECT 'released' AS protocol, 'judge_released' AS judge_prompt;
