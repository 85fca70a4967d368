"""The group `evaluation`: responses of a model, and one asset of verdicts for every judge of the roster."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from valbench_dagster.orchestration.asking_config import AskingConfig, RespondingConfig
from valbench_dagster.orchestration.metadata import column_schema, materialized
from valbench_dagster.orchestration.partitions import pool_of, snapshot_and_model, snapshot_by_model
from valbench_dagster.orchestration.progress import RunProgress
from valbench_dagster.records import Response, Verdict
from valbench_dagster.roster import Roster
from valbench_dagster.steps.evaluation import publish_responses, publish_verdicts
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.scoring import partition_scores


def evaluation_assets(roster: Roster) -> Sequence[dg.AssetsDefinition]:
    """Make the assets of the group for a roster's models and judges."""
    partitions = snapshot_by_model(roster)
    # A step belongs to one pool, a partition to the endpoint of its model: the pool of `responses` is the endpoint
    # that most models share; the engine's own limits hold each endpoint whatever Dagster admits.
    endpoints = [entry.endpoint for entry in roster.model] or list(roster.endpoint)

    @dg.asset(
        group_name="evaluation",
        partitions_def=partitions,
        deps=["pairs"],
        pool=pool_of(max(endpoints, key=endpoints.count)),
        kinds={"openai", "parquet"},
        description="One row is one response of a model to one side of one pair; its outcome says whether it "
        "answered, was cut short, filtered, empty, rejected or failed. Costs model calls: two a pair and sample, only "
        "those not in the ledger yet. `subset` in the config of a run asks about a share of the articles. Stops before "
        "the first call where a blocking check on `pairs` fails.",
        metadata=column_schema(Response),
    )
    def responses(
        context: dg.AssetExecutionContext, config: RespondingConfig, project: dg.ResourceParam[Project]
    ) -> dg.MaterializeResult[Any]:
        """The responses of a model to a snapshot's pairs."""
        snapshot, model = snapshot_and_model(context.partition_key)
        subset, caps = config.chosen(project.roster), config.caps(project.roster)
        with RunProgress(context) as watch:
            report = publish_responses(project, snapshot, model, context.run.run_id, watch, subset=subset, caps=caps)
        return materialized(project, Response, f"{snapshot}/{model}", report, ("pair_id", "side", "outcome", "text"))

    return [responses, *(_verdicts(roster, judge, partitions) for judge in roster.judge)]


def _verdicts(roster: Roster, judge: str, partitions: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    entry = roster.judge[judge]

    @dg.asset(
        key=["verdicts", judge],
        group_name="evaluation",
        partitions_def=partitions,
        deps=["pairs", "responses"],
        pool=pool_of(roster.worker[entry.worker].endpoint),
        kinds={"openai", "parquet"},
        description=f"One row is one verdict of the judge `{judge}` on the two responses to a pair (prompt "
        f"`{entry.prompt}`, worker `{entry.worker}`): alignment -2 to 2, refusals, lack of information, value "
        "preference. Costs model calls: one a pair and order, only those not in the ledger yet.",
        metadata=column_schema(Verdict),
    )
    def verdicts(
        context: dg.AssetExecutionContext, config: AskingConfig, project: dg.ResourceParam[Project]
    ) -> dg.MaterializeResult[Any]:
        """The verdicts of a judge on a model's responses."""
        snapshot, model = snapshot_and_model(context.partition_key)
        with RunProgress(context) as watch:
            report = publish_verdicts(
                project, snapshot, model, judge, context.run.run_id, watch, caps=config.caps(project.roster)
            )
        columns = ("pair_id", "alignment", "refusal_for", "refusal_against", "outcome")
        scores = partition_scores(project, snapshot, model, judge)
        return materialized(project, Verdict, f"{snapshot}/{model}/{judge}", report, columns, scores)

    return verdicts
