"""The group `warehouse`: one node per file of `sql/`, built whole in one step."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import dagster as dg

from valbench_dagster.adapters.warehouse.sql_files import SqlFile, load_sql_files
from valbench_dagster.orchestration.database import WarehouseDatabase
from valbench_dagster.orchestration.metadata import headline_table, sql_columns
from valbench_dagster.roster import Roster
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.warehouse import build_warehouse

AUTOMATIC = dg.AutomationCondition.eager().without(~dg.AutomationCondition.any_deps_missing())
"""Once after a backfill, not once a partition; and not held up by models that were never asked."""

FACT_ASSETS = {
    "snapshots": ["dump"],
    "sections": ["sections"],
    "section_drops": ["sections"],
    "mined_files": ["sections"],
    "dump_damages": ["sections"],
    "issues": ["issues"],
    "candidate_pairs": ["candidate_pairs"],
    "pairs": ["pairs"],
    "pair_drops": ["pairs"],
    "responses": ["responses"],
    "check_failures": ["dump", "sections", "issues", "candidate_pairs", "pairs", "responses"],
}
"""Which assets publish the facts of a table; those of the judges are added to this by the roster."""


def node(name: str) -> dg.AssetKey:
    """Give the asset key of a table or view of the warehouse."""
    return dg.AssetKey(["warehouse", name])


def warehouse_asset(roster: Roster) -> dg.AssetsDefinition:
    """Make the multi-asset of all files of `sql/`, linked as their queries read each other."""
    files = {file.name: file for file in load_sql_files()}

    @dg.multi_asset(
        name="warehouse",
        specs=[_spec(file, files, roster) for file in files.values()],
        can_subset=False,
    )
    def warehouse(
        context: dg.AssetExecutionContext,
        project: dg.ResourceParam[Project],
        database: WarehouseDatabase,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        """Build the warehouse aside and swap it in."""
        report = build_warehouse(project, database.open)
        context.log.info(f"built {len(report.tables)} tables and views of {report.path}")
        shown = {name: {"leaderboard": headline_table(project)} for name in ("leaderboard", "headline")}
        for table in report.tables:
            yield dg.MaterializeResult(
                asset_key=node(table.name),
                metadata={
                    "dagster/row_count": table.rows,
                    "dagster/column_schema": sql_columns(table),
                    **shown.get(table.name, {}),
                    "file": dg.MetadataValue.path(str(report.path)),
                },
                data_version=dg.DataVersion(report.input_fingerprint),
            )

    return warehouse


def _spec(file: SqlFile, files: dict[str, SqlFile], roster: Roster) -> dg.AssetSpec:
    facts: list[dg.AssetKey] = [dg.AssetKey(name) for name in FACT_ASSETS.get(file.name, [])]
    if file.name in ("verdicts", "check_failures"):
        facts += [dg.AssetKey(["verdicts", judge]) for judge in roster.judge]
    return dg.AssetSpec(
        key=node(file.name),
        group_name="warehouse",
        deps=[*facts, *(node(name) for name in sorted(file.reads) if name in files)],
        description=f"{file.description}\n\n`sql/{PurePath(file.folder).name}/{file.name}.sql`",
        kinds={"duckdb", "sql"},
        automation_condition=AUTOMATIC,
    )
