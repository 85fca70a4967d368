-- Forbids any damage: whoever reads numbers of this snapshot must see that its dump was not whole. It does not block,
-- since these rows exist only where the operator chose to keep what is sound of a damaged dump.
-- severity: warn
-- blocking: no
SELECT
    name || '/' || number AS row_id,
    kind || ' at or after byte ' || byte_offset || ', after ' || coalesce('page ' || after_page_id, 'no page')
    || ' and before ' || coalesce('page ' || before_page_id, 'no page') || ', '
    || coalesce(CAST(missing_pages AS VARCHAR), 'an unknown number of') || ' pages lost: ' || detail AS detail
FROM dump_damages
