"""Sensors: what starts runs by itself.

The warehouse follows its facts and is on from the start: it costs nothing. The sensors on the dump server and on the
folder of dumps ship stopped: a refresh costs model calls, so a person switches them on (Automation in the UI).
"""

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from valbench_dagster.dumps.files import discover, state_of
from valbench_dagster.orchestration.jobs import REFRESH_DATASET
from valbench_dagster.orchestration.partitions import SNAPSHOT
from valbench_dagster.orchestration.refreshes import is_under_way, request_refresh, was_refreshed
from valbench_dagster.steps.fetching import look_for_dumps
from valbench_dagster.steps.project import Project

_SEEN = TypeAdapter(dict[str, str])
_EXAMPLE = '{"enwiki": "20261101"}'
"""The cursor: by wiki the newest date that needs no second look."""


def new_dumps(poll_s: int) -> dg.SensorDefinition:
    """Make the sensor on the source of dumps, which looks every `poll_s` seconds."""

    @dg.sensor(
        name="new_dumps",
        job_name=REFRESH_DATASET,
        minimum_interval_seconds=poll_s,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Asks the dump server for the newest complete dump of each wiki in VALBENCH_WIKIS; one that is "
        "newer than all that was refreshed is fetched and its dataset refreshed, once. Ships stopped: a refresh of "
        "enwiki loads about 25 GB (46 GB in the layout of exports) and costs the annotation and writing calls of text "
        "that is not in the ledger yet. To switch it on, set VALBENCH_CONTACT to your e-mail or page address, then "
        "Automation > new_dumps. A look that finds nothing new is two small requests a wiki.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]
    ) -> dg.SensorResult | dg.SkipReason:
        """Request one refresh of what is due."""
        try:
            seen = _SEEN.validate_json(context.cursor or "{}")
        except ValidationError:
            return dg.SkipReason(f"the cursor is {context.cursor!r}, expected such as {_EXAMPLE}: reset it to nothing")
        look = look_for_dumps(project, seen)
        for trouble in look.troubles:
            context.log.warning(trouble)
        due = [offer for offer in look.due if not was_refreshed(context.instance, offer.snapshot)]
        new = [offer.snapshot for offer in due if not _is_known(context.instance, offer.snapshot)]
        return dg.SensorResult(
            run_requests=[request_refresh(offer) for offer in due],
            skip_reason=None if due else "\n".join(look.troubles) or "no newer complete dump",
            dynamic_partitions_requests=[SNAPSHOT.build_add_request(new)] if new else [],
            cursor=_SEEN.dump_json(seen | {offer.wiki: offer.date for offer in look.due}).decode(),
        )

    return sensor


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
            if not _is_taken_care_of(context.instance, project, snapshot)
        ],
        dynamic_partitions_requests=[SNAPSHOT.build_add_request(new)] if new else [],
    )


def _is_known(instance: dg.DagsterInstance, snapshot: str) -> bool:
    return instance.has_dynamic_partition(SNAPSHOT.name or "", snapshot)


def _is_taken_care_of(instance: dg.DagsterInstance, project: Project, snapshot: str) -> bool:
    """Whether a run is at work on the snapshot, or its files were fetched, so never change, and were refreshed."""
    if is_under_way(instance, snapshot):
        return True
    return state_of(project.settings.dumps / snapshot) == "fetched" and was_refreshed(instance, snapshot)


automation = dg.AutomationConditionSensorDefinition(
    "warehouse_follows_facts",
    target=dg.AssetSelection.groups("warehouse", "report"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Rebuilds warehouse and report once after new facts are published; after a backfill, once for all of "
    "its partitions. Costs no calls.",
)
