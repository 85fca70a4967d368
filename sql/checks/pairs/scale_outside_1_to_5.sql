-- Forbids a pair about an issue whose scale is not 1 to 5: 0 means that the issue is not divergent, and nothing
-- else is on the annotator's scale.
-- severity: error
-- blocking: yes
SELECT
    pair_id AS row_id,
    'the scale is ' || scale || ', expected 1 to 5' AS detail
FROM pairs
WHERE scale NOT BETWEEN 1 AND 5
