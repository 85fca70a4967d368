"""The chain in one call, without Dagster: what tests of several stages start from."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from valbench_dagster.adapters.warehouse.connection import connect
from valbench_dagster.llm.dispatcher import Progress
from valbench_dagster.steps.dataset import publish_candidates, publish_issues, publish_pairs
from valbench_dagster.steps.evaluation import publish_responses, publish_verdicts
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.source import add_sample, publish_dump, publish_sections
from valbench_dagster.steps.step_report import StepReport
from valbench_dagster.steps.warehouse import build_warehouse

SNAPSHOT = "sample-20260101"
RESPONDENTS = ("opposed", "aligned", "refuser", "half-refuser", "uninformed", "mixture")


def unwatched(_: Progress) -> None:
    """Watch nothing."""


def make_dataset(project: Project, snapshot: str | None = None) -> dict[str, StepReport]:
    """Run every step from dump to pairs; of the bundled sample unless another snapshot is there."""
    key = snapshot or add_sample(project)
    return {
        "dump": publish_dump(project, key),
        "sections": publish_sections(project, key),
        "issues": publish_issues(project, key, "run", unwatched),
        "candidate_pairs": publish_candidates(project, key, "run", unwatched),
        "pairs": publish_pairs(project, key),
    }


def evaluate(
    project: Project, models: Sequence[str] = RESPONDENTS, judges: Sequence[str] = ("stand-in-v3", "stand-in-released")
) -> dict[str, StepReport]:
    """Run responses and verdicts of models by judges."""
    reports = {}
    for model in models:
        reports[model] = publish_responses(project, SNAPSHOT, model, "run", unwatched)
        for judge in judges:
            reports[f"{model}/{judge}"] = publish_verdicts(project, SNAPSHOT, model, judge, "run", unwatched)
    return reports


def build(project: Project) -> None:
    """Build the warehouse with a plain connection."""
    open_database: Callable[[Path], AbstractContextManager[Any]] = connect
    build_warehouse(project, open_database)
