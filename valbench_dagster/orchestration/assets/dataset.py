"""The group `dataset`: from sections to the accepted pairs of the benchmark."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from valbench_dagster.orchestration.asking_config import AskingConfig
from valbench_dagster.orchestration.metadata import column_schema, materialized
from valbench_dagster.orchestration.partitions import SNAPSHOT, pool_of
from valbench_dagster.orchestration.progress import RunProgress
from valbench_dagster.records import CandidatePair, Issue, Pair
from valbench_dagster.roster import Roster
from valbench_dagster.steps.dataset import publish_candidates, publish_issues, publish_pairs
from valbench_dagster.steps.project import Project


def dataset_assets(roster: Roster) -> Sequence[dg.AssetsDefinition]:
    """Make the assets of the group for a roster's annotator and writer."""
    annotator, writer = (roster.worker[name] for name in (roster.defaults.annotator, roster.defaults.writer))

    @dg.asset(
        group_name="dataset",
        partitions_def=SNAPSHOT,
        deps=["sections"],
        pool=pool_of(annotator.endpoint),
        kinds={"openai", "parquet"},
        description="One row is one annotation of a section: whether it discusses a divergent issue, how widely "
        f"known that is (0 to 5), and why. Made by the worker `{roster.defaults.annotator}`; costs model calls, "
        "only for text that is not in the ledger yet.",
        metadata=column_schema(Issue),
    )
    def issues(
        context: dg.AssetExecutionContext, config: AskingConfig, project: dg.ResourceParam[Project]
    ) -> dg.MaterializeResult[Any]:
        """The annotations of a snapshot."""
        snapshot, caps = context.partition_key, config.caps(project.roster)
        with RunProgress(context) as watch:
            report = publish_issues(project, snapshot, context.run.run_id, watch, caps=caps)
        return materialized(
            project, Issue, snapshot, report, ("section_id", "is_divergent", "scale", "outcome", "rationale")
        )

    @dg.asset(
        group_name="dataset",
        partitions_def=SNAPSHOT,
        deps=["sections", issues],
        pool=pool_of(writer.endpoint),
        kinds={"openai", "parquet"},
        description="One row is one generated pair of questions about one divergent issue, accepted or not. Made "
        f"by the worker `{roster.defaults.writer}`; costs model calls, only for issues that are not in the ledger yet.",
        metadata=column_schema(CandidatePair),
    )
    def candidate_pairs(
        context: dg.AssetExecutionContext, config: AskingConfig, project: dg.ResourceParam[Project]
    ) -> dg.MaterializeResult[Any]:
        """The generated pairs of a snapshot."""
        snapshot, caps = context.partition_key, config.caps(project.roster)
        with RunProgress(context) as watch:
            report = publish_candidates(project, snapshot, context.run.run_id, watch, caps=caps)
        return materialized(
            project, CandidatePair, snapshot, report, ("issue", "for_question", "against_question", "outcome")
        )

    @dg.asset(
        group_name="dataset",
        partitions_def=SNAPSHOT,
        deps=["sections", issues, candidate_pairs],
        kinds={"duckdb", "parquet"},
        description="One row is one accepted pair: the unit of the benchmark, with its split, scale and article. "
        "A candidate that fails one of the checks below is dropped, and counted in `pair_drops` under that check.",
        metadata=column_schema(Pair),
    )
    def pairs(context: dg.AssetExecutionContext, project: dg.ResourceParam[Project]) -> dg.MaterializeResult[Any]:
        """The accepted pairs of a snapshot."""
        snapshot = context.partition_key
        return materialized(
            project, Pair, snapshot, publish_pairs(project, snapshot), ("title", "for_question", "split", "scale")
        )

    return [issues, candidate_pairs, pairs]
