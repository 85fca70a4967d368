"""The group `report`: what a reader who never opens the UI is given."""

from typing import Any

import dagster as dg

from valbench_dagster.orchestration.assets.warehouse import AUTOMATIC, node
from valbench_dagster.orchestration.metadata import headline_table
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.reporting import publish_report


@dg.asset(
    group_name="report",
    deps=[node("leaderboard")],
    kinds={"markdown"},
    automation_condition=AUTOMATIC,
    description="The leaderboard of every snapshot as Markdown and CSV, under `reports/` in the home of the "
    "project: one row a model, judge, order and scoring rule.",
)
def report(project: dg.ResourceParam[Project]) -> dg.MaterializeResult[Any]:
    """Write the leaderboards."""
    shown = [file for file in publish_report(project) if file.suffix == ".md"]
    metadata: dict[str, Any] = {"leaderboard": headline_table(project)}
    for file in shown:
        metadata[f"all of {file.parent.name}"] = dg.MetadataValue.md(file.read_text(encoding="utf-8"))
        metadata[f"file of {file.parent.name}"] = dg.MetadataValue.path(str(file))
    return dg.MaterializeResult(metadata=metadata)
