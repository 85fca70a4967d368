"""Refreshes: which of them an instance knows of, and the request for one. Sensors and schedules share it."""

import dagster as dg

from valbench_dagster.dumps.catalogue import Offer
from valbench_dagster.orchestration.jobs import REFRESH_DATASET

_PARTITION = "dagster/partition"
_SNAPSHOT = "dagster/partition/snapshot"
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def was_refreshed(instance: dg.DagsterInstance, snapshot: str) -> bool:
    """Whether a refresh of the snapshot was ever started, however it ended, or any run is at work on it now.

    A refresh that failed or was cancelled is a person's to start again: nothing here does.
    """
    of_it = {_PARTITION: snapshot}
    refreshes = dg.RunsFilter(job_name=REFRESH_DATASET, tags=of_it)
    return bool(instance.get_runs(refreshes, limit=1)) or is_under_way(instance, snapshot)


def is_under_way(instance: dg.DagsterInstance, snapshot: str) -> bool:
    """Whether a run of that partition is queued or running."""
    return bool(instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY, tags={_PARTITION: snapshot}), limit=1))


def snapshots_under_way(instance: dg.DagsterInstance) -> tuple[frozenset[str], list[str]]:
    """The snapshots that a queued or running run is of, of all jobs; and the ids of such runs that are of none."""
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY))
    named = [(run.run_id, run.tags.get(_SNAPSHOT) or run.tags.get(_PARTITION)) for run in runs]
    return frozenset(key for _, key in named if key), [run_id for run_id, key in named if not key]


def request_refresh(offer: Offer) -> dg.RunRequest:
    """Ask for the refresh of an offer's snapshot, which must be a partition by then.

    The run key is the snapshot's: a sensor uses it once.
    """
    return dg.RunRequest(run_key=offer.snapshot, partition_key=offer.snapshot)
