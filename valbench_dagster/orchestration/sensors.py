"""Sensors: what starts runs by itself.

The warehouse follows its facts and is on from the start: it costs nothing. The sensor on the folder of dumps ships
stopped: a refresh costs model calls, so a person switches it on (Automation > local_dumps in the UI).
"""

import dagster as dg

from valbench_dagster.dumps.files import discover
from valbench_dagster.orchestration.jobs import REFRESH_DATASET
from valbench_dagster.orchestration.partitions import SNAPSHOT
from valbench_dagster.steps.project import Project


@dg.sensor(
    name="local_dumps",
    job_name=REFRESH_DATASET,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Looks into the folder of dumps and refreshes the dataset of every snapshot that is complete there "
    "and new or changed. Ships stopped: a refresh costs model calls.",
)
def local_dumps(
    context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]
) -> dg.SensorResult | dg.SkipReason:
    """Register new snapshots and request one refresh for each state of a snapshot's files."""
    found = discover(project.settings.dumps)
    if not found:
        return dg.SkipReason(f"no complete snapshot in {project.settings.dumps}")
    known = set(context.instance.get_dynamic_partitions(SNAPSHOT.name or ""))
    new = sorted(found.keys() - known)
    return dg.SensorResult(
        # A run key is used once: the same files never start a second refresh.
        run_requests=[
            dg.RunRequest(run_key=f"{snapshot}:{fingerprint}", partition_key=snapshot)
            for snapshot, fingerprint in sorted(found.items())
        ],
        dynamic_partitions_requests=[SNAPSHOT.build_add_request(new)] if new else [],
    )


automation = dg.AutomationConditionSensorDefinition(
    "warehouse_follows_facts",
    target=dg.AssetSelection.groups("warehouse", "report"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Rebuilds warehouse and report once after new facts are published; after a backfill, once for all of "
    "its partitions. Costs no calls.",
)
