"""The door: everything that Dagster loads, listed in the order data flows."""

import dagster as dg

from valbench_dagster.orchestration.assets.dataset import dataset_assets
from valbench_dagster.orchestration.assets.evaluation import evaluation_assets
from valbench_dagster.orchestration.assets.report import report
from valbench_dagster.orchestration.assets.source import dump, sections
from valbench_dagster.orchestration.assets.warehouse import warehouse_asset
from valbench_dagster.orchestration.checks import fact_checks
from valbench_dagster.orchestration.database import WarehouseDatabase
from valbench_dagster.orchestration.jobs import all_jobs
from valbench_dagster.orchestration.schedules import daily_refresh
from valbench_dagster.orchestration.sensors import automation, local_dumps, new_dumps
from valbench_dagster.steps.project import Project, open_project


def make_definitions(project: Project) -> dg.Definitions:
    """Make the definitions of a project: its roster decides partitions, judges and pools."""
    roster = project.roster
    return dg.Definitions(
        assets=[dump, sections, *dataset_assets(roster), *evaluation_assets(roster), warehouse_asset(roster), report],
        asset_checks=fact_checks(roster),
        jobs=all_jobs(roster),
        schedules=[daily_refresh],
        sensors=[new_dumps(project.settings.dump_poll_s), local_dumps, automation],
        resources={"project": project, "database": WarehouseDatabase(database=str(project.settings.warehouse))},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Load the definitions of the project that the environment names."""
    return make_definitions(open_project())
