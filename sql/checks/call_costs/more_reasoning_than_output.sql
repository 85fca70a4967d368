-- Forbids more tokens of reasoning than tokens of replies: the server does not count its reasoning among what it writes,
-- as its API says it does, so that the cost lacks it.
-- severity: warn
-- blocking: no
SELECT
    concat_ws('/', fact, partition_key, endpoint, provider, served_as) AS row_id,
    'counts ' || reasoning_tokens || ' tokens of reasoning among ' || output_tokens || ' of replies' AS detail
FROM call_costs
WHERE reasoning_tokens > output_tokens
