-- Forbids a parsed verdict whose alignment is not -2 to 2, or that leaves refusal or lack of information open: every
-- score is made of these. (Preference may be null: not every judge prompt asks for it.)
-- severity: error
-- blocking: yes
SELECT
    pair_id || '/' || sample || '/' || judge_order AS row_id,
    CASE
        WHEN alignment IS NULL THEN 'is parsed without alignment'
        WHEN alignment NOT BETWEEN -2 AND 2 THEN 'has alignment ' || alignment || ', expected -2 to 2'
        ELSE 'is parsed without refusals or lacks of information'
    END AS detail
FROM verdicts
WHERE
    outcome = 'parsed'
    AND (
        alignment IS NULL OR alignment NOT BETWEEN -2 AND 2
        OR refusal_for IS NULL OR refusal_against IS NULL
        OR no_information_for IS NULL OR no_information_against IS NULL
    )
