"""Evaluation: what a model says and what a judge says of it. The steps of `responses` and `verdicts/<judge>`.

A step can be had without running it (`responses_step`, `verdicts_step`): what it would ask is what a plan counts.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

from valbench_dagster.llm.budget import Caps
from valbench_dagster.prompting import load_prompt
from valbench_dagster.records import Pair, Response, Verdict
from valbench_dagster.stages.responses import SIDES, SidedPair, ask_response, asked_sides, read_response
from valbench_dagster.stages.subsets import Chosen, Subset, choose
from valbench_dagster.stages.verdicts import JudgedPair, ask_verdict, judged_pairs, read_verdict
from valbench_dagster.steps.asking_step import AskingStep, required
from valbench_dagster.steps.checking import require_sound
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.step_report import StepReport, Watch

RESPONDING = 1
JUDGING = 1
"""Each is raised when the same input would give other rows: part of the step's input fingerprint."""


def publish_responses(
    project: Project,
    snapshot: str,
    model: str,
    run: str,
    watch: Watch,
    *,
    subset: Subset | None = None,
    caps: Caps | None = None,
) -> StepReport:
    """Ask a respondent both sides of the pairs of a subset of the roster's split, and publish one response each.

    Asks and publishes `samples` responses a side, as the roster says of the model; `subset` and `caps` null are the
    roster's.
    """
    asked = subset or _subset(project)
    chosen = _chooser(project, snapshot, asked)
    step = _responses(project, snapshot, model, asked, chosen)
    require_sound(project, "pairs", snapshot)
    return replace(step.run(project, run, watch, caps), asked=chosen().told)


def responses_step(
    project: Project, snapshot: str, model: str, subset: Subset | None = None
) -> AskingStep[SidedPair, Response]:
    """Make the step of `publish_responses` without running it; nothing is asked, checked or written."""
    asked = subset or _subset(project)
    return _responses(project, snapshot, model, asked, _chooser(project, snapshot, asked))


def chosen_pairs(project: Project, snapshot: str, subset: Subset | None = None) -> Chosen:
    """Choose what `publish_responses` asks about: one pass over the pairs of the snapshot.

    Raises `ValueError` where the subset is so small that it holds no article.
    """
    asked = subset or _subset(project)
    chosen = choose(project.facts.rows(Pair, snapshot), project.roster.defaults.split, asked)
    if chosen.of_pairs and not chosen.pairs:
        raise ValueError(
            f"the subset {asked.label} takes none of the {chosen.of_articles:,} articles of {snapshot} in the split "
            f"{chosen.split}: choose a larger one, or another seed"
        )
    return chosen


def publish_verdicts(
    project: Project, snapshot: str, model: str, judge: str, run: str, watch: Watch, *, caps: Caps | None = None
) -> StepReport:
    """Have a judge read every pair of responses of a model, in the judge's orders, and publish one verdict each."""
    step = verdicts_step(project, snapshot, model, judge)
    require_sound(project, "responses", f"{snapshot}/{model}")
    return step.run(project, run, watch, caps)


def verdicts_step(project: Project, snapshot: str, model: str, judge: str) -> AskingStep[JudgedPair, Verdict]:
    """Make the step of `publish_verdicts` without running it; nothing is asked, checked or written."""
    partition = f"{snapshot}/{model}"
    pairs = required(project.facts.current(Pair, snapshot), "pairs", snapshot)
    responses = required(project.facts.current(Response, partition), "responses", partition)
    entry = project.roster.judge[judge]
    served = project.roster.served(project.roster.worker[entry.worker])
    prompt = load_prompt(entry.prompt, entry.prompt_version)

    def judged() -> Iterable[JudgedPair]:
        facts = project.facts
        return judged_pairs(facts.rows(Pair, snapshot), facts.rows(Response, partition), entry.orders)

    return AskingStep(
        record=Verdict,
        partition=f"{partition}/{judge}",
        served=served,
        prompt=prompt,
        input=[JUDGING, pairs.content, responses.content, list(entry.orders), judge],
        items=judged,
        question=lambda item: None if item.missing else ask_verdict(item, served, prompt),
        row=lambda item, _, answer: read_verdict(item, answer, judge, prompt),
        made_by=verdicts_step,
        made_of=(snapshot, model, judge),
        expected=lambda: responses.rows // 2 * len(entry.orders),
        unasked=lambda item: read_verdict(item, None, judge, prompt),
    )


def _responses(
    project: Project, snapshot: str, model: str, subset: Subset, chosen: Callable[[], Chosen]
) -> AskingStep[SidedPair, Response]:
    pairs = required(project.facts.current(Pair, snapshot), "pairs", snapshot)
    entry, split = project.roster.respondent(model), project.roster.defaults.split
    served, prompt = project.roster.served(entry), project.roster.respondent_prompt(entry)
    return AskingStep(
        record=Response,
        partition=f"{snapshot}/{model}",
        served=served,
        prompt=prompt,
        input=[RESPONDING, pairs.content, split, subset.label, entry.samples, model],
        items=lambda: asked_sides(project.facts.rows(Pair, snapshot), chosen(), entry.samples),
        question=lambda sided: ask_response(sided, served, prompt),
        row=lambda sided, _, answer: read_response(sided, answer, model, prompt, subset.label),
        made_by=responses_step,
        made_of=(snapshot, model, subset),
        expected=lambda: chosen().pairs * len(SIDES) * entry.samples,
    )


def _subset(project: Project) -> Subset:
    return Subset(project.roster.defaults.subset, project.roster.defaults.subset_seed)


def _chooser(project: Project, snapshot: str, subset: Subset) -> Callable[[], Chosen]:
    """Choose when first asked to, and only then: the fingerprint of a step does without."""
    return cache(lambda: chosen_pairs(project, snapshot, subset))
