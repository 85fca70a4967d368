"""Schedules: what starts runs at fixed hours, for those who run no sensors. They ship stopped."""

from collections.abc import Iterator

import dagster as dg

from valbench_dagster.orchestration.instance import register_snapshot
from valbench_dagster.orchestration.jobs import REFRESH_DATASET
from valbench_dagster.orchestration.refreshes import request_refresh, was_refreshed
from valbench_dagster.steps.fetching import look_for_dumps
from valbench_dagster.steps.project import Project


# Daily, since the day of the month on which a dump completes varies; at an odd minute, when others do not ask too.
@dg.schedule(
    name="daily_refresh",
    job_name=REFRESH_DATASET,
    cron_schedule="23 5 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Does at 5:23 UTC what the sensor `new_dumps` does all day, for those who run no sensors: fetches and "
    "refreshes the newest complete dump of each wiki in VALBENCH_WIKIS, once. Both may be on: a snapshot whose refresh "
    "was started is not started again. Ships stopped: see `new_dumps` for what it costs.",
)
def daily_refresh(
    context: dg.ScheduleEvaluationContext, project: dg.ResourceParam[Project]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request one refresh of what is due."""
    look = look_for_dumps(project, {})
    for trouble in look.troubles:
        context.log.warning(trouble)
    due = [offer for offer in look.due if not was_refreshed(context.instance, offer.snapshot)]
    if not due:
        yield dg.SkipReason("\n".join(look.troubles) or "no newer complete dump")
    for offer in due:
        register_snapshot(context.instance, offer.snapshot)  # what a schedule gives cannot hold it, unlike a sensor
        yield request_refresh(offer)
