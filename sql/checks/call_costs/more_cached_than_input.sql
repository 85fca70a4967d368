-- Forbids more tokens from a cache than tokens of prompts: the server counts otherwise than its API says, and the cost
-- rests on what it counts.
-- severity: warn
-- blocking: no
SELECT
    concat_ws('/', fact, partition_key, endpoint, provider, served_as) AS row_id,
    'counts ' || cached_tokens || ' tokens from a cache among ' || input_tokens || ' of prompts' AS detail
FROM call_costs
WHERE cached_tokens > input_tokens
