-- Forbids a kind outside the closed list: no reader would know what it means for the pages around it.
-- severity: error
-- blocking: yes
SELECT
    name || '/' || number AS row_id,
    'the kind is “' || kind || '”, expected corrupt, cut_short, garbage, malformed, out_of_order or missing'
    AS detail
FROM dump_damages
WHERE kind NOT IN ('corrupt', 'cut_short', 'garbage', 'malformed', 'out_of_order', 'missing')
