"""The group `source`: dump files and the sections mined from them."""

from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from valbench_dagster.orchestration.metadata import column_schema, materialized
from valbench_dagster.orchestration.partitions import SNAPSHOT
from valbench_dagster.orchestration.progress import FetchRunProgress, MineRunProgress
from valbench_dagster.records import DumpFile, Section
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.source import publish_dump, publish_sections


@dg.asset(
    group_name="source",
    partitions_def=SNAPSHOT,
    kinds={"wikipedia"},
    description="One row is one file of the snapshot's dump: name, size, hash. The files themselves lie in the folder "
    "of dumps: put there by hand (`valbench snapshot add KEY FILE...`), else fetched by this step from the dump "
    "server, going on where an attempt before was broken off.",
    metadata=column_schema(DumpFile),
)
def dump(context: dg.AssetExecutionContext, project: dg.ResourceParam[Project]) -> dg.MaterializeResult[Any]:
    """The files of a snapshot."""
    snapshot, watch = context.partition_key, FetchRunProgress(context)
    try:
        report = publish_dump(project, snapshot, progress=watch)
    finally:
        watch.close()
    return materialized(project, DumpFile, snapshot, report, ("name", "bytes", "layout", "verified"))


class OnDamage(Enum):
    """What to do about a dump file that is damaged."""

    fail = "fail"
    keep = "keep"


class SectionsConfig(dg.Config):
    """Options of a run that mines."""

    damaged: OnDamage = Field(
        default=OnDamage.fail,
        description="`fail`: stop at the first damage, earlier facts stay. `keep`: keep what is sound of a file; what "
        "is not is a row of `dump_damages` and a warning.",
    )


@dg.asset(
    group_name="source",
    partitions_def=SNAPSHOT,
    deps=[dump],
    kinds={"python", "parquet"},
    description="One row is one controversial section: a heading that matches one of the paper's 38 patterns, "
    "with everything under it as plain text, linked to its revision. What became of every other page and section "
    "is counted beside it, in `section_drops`, under one reason each.",
    metadata=column_schema(Section),
)
def sections(
    context: dg.AssetExecutionContext, config: SectionsConfig, project: dg.ResourceParam[Project]
) -> dg.MaterializeResult[Any]:
    """The kept sections of a snapshot."""
    snapshot, watch = context.partition_key, MineRunProgress(context)
    try:
        report = publish_sections(project, snapshot, on_damage=config.damaged.value, progress=watch)
    finally:
        watch.close()
    return materialized(project, Section, snapshot, report, ("title", "heading_path", "pattern", "url"))
