-- Forbids asking the same two questions again, for the same sides, in one snapshot: the pair would weigh twice.
-- Questions are compared without case, blanks and punctuation. The pair with the first id stays, the later are named.
-- severity: error
-- blocking: yes
WITH folded AS (
    SELECT
        pair_id,
        first_value(pair_id) OVER (
            PARTITION BY
                snapshot,
                regexp_replace(lower(nfc_normalize(for_question)), '[^\p{L}\p{M}\p{N}]+', '', 'g'),
                regexp_replace(lower(nfc_normalize(against_question)), '[^\p{L}\p{M}\p{N}]+', '', 'g')
            ORDER BY pair_id
        ) AS first_id
    FROM pairs
)
SELECT
    pair_id AS row_id,
    'asks the same two questions as pair ' || first_id AS detail
FROM folded
WHERE pair_id <> first_id
