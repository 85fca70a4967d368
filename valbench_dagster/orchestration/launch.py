"""Launching without the UI: runs of the jobs in this process, recorded in the same instance as all others."""

from typing import Any

import dagster as dg

from valbench_dagster.orchestration.asking_config import AskingConfig, RespondingConfig
from valbench_dagster.orchestration.jobs import EVALUATE_MODEL, REBUILD_WAREHOUSE, REFRESH_DATASET
from valbench_dagster.orchestration.partitions import multi_key


class RunFailedError(Exception):
    """A run failed; the message holds the step's own, and where to read more."""


def refresh_dataset(
    definitions: dg.Definitions, instance: dg.DagsterInstance, snapshot: str, config: AskingConfig | None = None
) -> None:
    """Run everything from dump to pairs for a snapshot, within the caps of `config`; raises `RunFailedError`."""
    _run(definitions, instance, REFRESH_DATASET, snapshot, config)


def evaluate_model(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    snapshot: str,
    model: str,
    config: RespondingConfig | None = None,
) -> None:
    """Run responses and the default judges' verdicts for a snapshot and model; raises `RunFailedError`.

    The caps of `config` hold for both, its subset for the responses, of which the verdicts are; null is the roster's.
    """
    _run(definitions, instance, EVALUATE_MODEL, multi_key(snapshot, model), config)


def rebuild_warehouse(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Rebuild warehouse and report; raises `RunFailedError`."""
    _run(definitions, instance, REBUILD_WAREHOUSE, None)


# The event log has it all; what went wrong is told once, by `RunFailedError`.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _run(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    partition_key: str | None,
    config: AskingConfig | None = None,
) -> None:
    resolved = definitions.resolve_job_def(job)
    run_config = QUIET if config is None else {**QUIET, "ops": _for_ops(resolved, config)}
    result = resolved.execute_in_process(
        instance=instance, partition_key=partition_key, run_config=run_config, raise_on_error=False
    )
    if result.success:
        return
    failures = [event for event in result.all_events if event.is_step_failure]
    lines = [f"run {result.run_id} of {job} failed" + (f" for {partition_key}" if partition_key else "")]
    for event in failures:
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
            lines.append(
                f"  {event.step_key}: interrupted; what was replied is kept: run it again, it goes on from there"
            )
        else:
            lines.append(f"  {event.step_key}: {error.message.strip() if error else event.message}")
    blocked = [check for check in result.get_asset_check_evaluations() if not check.passed and check.blocking]
    lines += [f"  check {check.check_name} on {check.asset_key.to_user_string()} failed" for check in blocked]
    raise RunFailedError("\n".join(lines))


def _for_ops(job: dg.JobDefinition, config: AskingConfig) -> dict[str, Any]:
    """Give each step of a job what it takes of a config: all of it, the caps alone, or nothing."""
    given = {name: value for name, value in config.model_dump().items() if value is not None}
    taken: dict[str, Any] = {}
    for node in job.nodes:
        schema = node.definition.config_schema
        options = None if schema is None else schema.as_field().config_type
        known = options.fields if isinstance(options, dg.Shape) else {}
        if mine := {name: value for name, value in given.items() if name in known}:
            taken[node.name] = {"config": mine}
    return taken
