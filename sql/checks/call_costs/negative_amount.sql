-- Forbids fewer calls, tokens or money than none: a sum that holds such an amount says less than was spent.
-- severity: error
-- blocking: yes
SELECT
    concat_ws('/', fact, partition_key, endpoint, provider, served_as) AS row_id,
    'has ' || concat_ws(
        ', ',
        CASE WHEN least(replies, rejected, failed) < 0 THEN 'a negative number of calls' END,
        CASE
            WHEN least(input_tokens, cached_tokens, output_tokens, reasoning_tokens) < 0
                THEN 'a negative number of tokens'
        END,
        CASE WHEN cost < 0 OR isnan(cost) THEN 'a cost of ' || cost END
    ) AS detail
FROM call_costs
WHERE
    least(replies, rejected, failed, input_tokens, cached_tokens, output_tokens, reasoning_tokens) < 0
    OR cost < 0
    OR isnan(cost)
