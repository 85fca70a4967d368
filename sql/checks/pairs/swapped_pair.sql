-- Forbids a pair that asks another pair's questions with the sides exchanged, in one snapshot: it would weigh twice.
-- Questions are compared without case, blanks and punctuation. The pair with the first id stays, the later are named.
-- severity: error
-- blocking: yes
WITH folded AS (
    SELECT
        snapshot,
        pair_id,
        regexp_replace(lower(nfc_normalize(for_question)), '[^\p{L}\p{M}\p{N}]+', '', 'g') AS for_folded,
        regexp_replace(lower(nfc_normalize(against_question)), '[^\p{L}\p{M}\p{N}]+', '', 'g') AS against_folded
    FROM pairs
)
SELECT
    later.pair_id AS row_id,
    'asks the questions of pair ' || min(earlier.pair_id) || ' with the sides exchanged' AS detail
FROM folded AS later
INNER JOIN folded AS earlier
    ON
        later.snapshot = earlier.snapshot
        AND later.for_folded = earlier.against_folded
        AND later.against_folded = earlier.for_folded
        AND later.pair_id > earlier.pair_id
GROUP BY later.pair_id
