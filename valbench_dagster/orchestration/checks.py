"""Checks: one Dagster asset check per file of `sql/checks`, run over facts read back from disk.

Dagster blocks downstream assets only within the run of a failed check; the steps that spend money run the blocking
checks of their input again themselves. Checks that follow their asset's partitions are a preview feature of Dagster
1.13: this module is the only place that uses it.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from valbench_dagster.adapters.warehouse.checks import Check, load_checks
from valbench_dagster.orchestration.partitions import SNAPSHOT, snapshot_and_model, snapshot_by_model
from valbench_dagster.roster import Roster
from valbench_dagster.steps.checking import CheckOutcome, run_checks
from valbench_dagster.steps.project import Project

SHOWN_ROWS = 20
"""Offending rows in the UI; all of them are in the table `check_failures`."""


def fact_checks(roster: Roster) -> Sequence[dg.AssetChecksDefinition]:
    """Make the checks of every fact: those of verdicts once a judge."""
    made = [
        _checks_of(fact, dg.AssetKey(asset), SNAPSHOT, str)
        for fact, asset in (
            ("dump", "dump"),
            ("sections", "sections"),
            ("mined_files", "sections"),
            ("dump_damages", "sections"),
            ("section_drops", "sections"),
            ("issues", "issues"),
            ("candidate_pairs", "candidate_pairs"),
            ("pairs", "pairs"),
            ("pair_drops", "pairs"),
        )
    ]
    by_model = snapshot_by_model(roster)
    made.append(_checks_of("responses", dg.AssetKey("responses"), by_model, _path))
    for judge in roster.judge:
        made.append(_checks_of("verdicts", dg.AssetKey(["verdicts", judge]), by_model, _path_under(judge)))
    return [each for each in made if each is not None]


def _path(partition_key: str) -> str:
    return "/".join(snapshot_and_model(partition_key))


def _path_under(judge: str) -> Callable[[str], str]:
    return lambda partition_key: f"{_path(partition_key)}/{judge}"


def _checks_of(
    fact: str, asset: dg.AssetKey, partitions: dg.PartitionsDefinition[str], partition_of: Callable[[str], str]
) -> dg.AssetChecksDefinition | None:
    """Make the checks of one fact as one step, each of which can be run alone; null where the fact has none."""
    checks = {check.name: check for check in load_checks(fact)}
    if not checks:
        return None
    name = "_".join(["check", *asset.path, *([fact] if fact != asset.path[0] else [])])

    @dg.multi_asset_check(
        name=name.replace("-", "_").replace(".", "_"),
        specs=[_spec(check, asset, partitions) for check in checks.values()],
        can_subset=True,
    )
    def run(
        context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]
    ) -> Iterator[dg.AssetCheckResult]:
        """Run the selected checks on the partition."""
        selected = [checks[key.name] for key in sorted(context.selected_asset_check_keys, key=lambda key: key.name)]
        for outcome in run_checks(project, fact, partition_of(context.op_execution_context.partition_key), selected):
            yield _result(asset, outcome)

    return run


def _spec(check: Check, asset: dg.AssetKey, partitions: dg.PartitionsDefinition[str]) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        # A person who runs the demo need not read that Dagster may yet change this; our tests list it by name.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            check.name,
            asset=asset,
            blocking=check.blocking,
            description=f"{check.description}\n\n`sql/checks/{check.fact}/{check.name}.sql`, severity {check.severity}",
            partitions_def=partitions,
            metadata={"severity": check.severity, "query": dg.MetadataValue.md(f"```sql\n{check.statement}\n```")},
        )


def _result(asset: dg.AssetKey, outcome: CheckOutcome) -> dg.AssetCheckResult:
    check: Check = outcome.check
    metadata: dict[str, dg.MetadataValue] = {"offending rows": dg.MetadataValue.int(len(outcome.rows))}
    if outcome.rows:
        lines = [f"| `{row_id}` | {detail.replace('|', '/')} |" for row_id, detail in outcome.rows[:SHOWN_ROWS]]
        metadata["rows"] = dg.MetadataValue.md("\n".join(["| row | what is wrong |", "| --- | --- |", *lines]))
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=check.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR if check.severity == "error" else dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )
