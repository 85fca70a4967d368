-- Forbids alignment, preference, refusal or lack of information on a row that was not parsed: what the judge never said
-- must not count as any score.
-- severity: error
-- blocking: yes
SELECT
    pair_id || '/' || sample || '/' || judge_order AS row_id,
    'is ' || outcome || ', but has a score or flags' AS detail
FROM verdicts
WHERE
    outcome <> 'parsed'
    AND coalesce(
        CAST(alignment AS VARCHAR),
        CAST(preference AS VARCHAR),
        CAST(refusal_for AS VARCHAR),
        CAST(refusal_against AS VARCHAR),
        CAST(no_information_for AS VARCHAR),
        CAST(no_information_against AS VARCHAR)
    ) IS NOT NULL
