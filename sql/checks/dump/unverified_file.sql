-- Forbids a file from a dump server whose hash was not compared with the one published there: nobody knows whether it
-- arrived whole. Files given by hand (layout `folder`) come without a published hash and are not asked for one.
-- severity: error
-- blocking: yes
SELECT
    name AS row_id,
    'came from the layout ' || layout || ' and its ' || bytes || ' bytes were compared with no published hash' AS detail
FROM dump
WHERE layout <> 'folder' AND NOT verified
