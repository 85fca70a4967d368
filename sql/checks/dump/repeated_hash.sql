-- Forbids one file under two names: its pages would be read twice, and perhaps those of another never.
-- severity: error
-- blocking: yes
SELECT
    again.name AS row_id,
    'part ' || again.part || ' is byte for byte part ' || first.part || ', ' || first.name
    || ' (SHA-256 ' || left(again.sha256, 16) || '…)' AS detail
FROM dump AS again
INNER JOIN dump AS first
    ON again.snapshot = first.snapshot AND again.sha256 = first.sha256 AND again.part > first.part
