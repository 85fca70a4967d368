-- Forbids a pair whose two questions are the same question: equal but for case, blanks and punctuation. A pair
-- measures whether a model holds one position when it is asked for two.
-- severity: error
-- blocking: yes
SELECT
    pair_id AS row_id,
    'both sides ask “' || substr(for_question, 1, 80) || '”' AS detail
FROM pairs
WHERE
    regexp_replace(lower(nfc_normalize(for_question)), '[^\p{L}\p{M}\p{N}]+', '', 'g')
    = regexp_replace(lower(nfc_normalize(against_question)), '[^\p{L}\p{M}\p{N}]+', '', 'g')
