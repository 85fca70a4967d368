"""Evaluation: what a model says and what a judge says of it. The steps of `responses` and `verdicts/<judge>`."""

from collections.abc import Iterable

from valbench_dagster.prompting import load_prompt
from valbench_dagster.records import Pair, Response, Verdict
from valbench_dagster.stages.responses import ask_response, asked_sides, read_response
from valbench_dagster.stages.verdicts import JudgedPair, ask_verdict, judged_pairs, read_verdict
from valbench_dagster.steps.asking_step import AskingStep, required
from valbench_dagster.steps.checking import require_sound
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.step_report import StepReport, Watch

RESPONDING = 1
JUDGING = 1
"""Each is raised when the same input would give other rows: part of the step's input fingerprint."""


def publish_responses(project: Project, snapshot: str, model: str, run: str, watch: Watch) -> StepReport:
    """Ask a respondent both sides of every pair of the roster's split, and publish one response a side."""
    pairs = required(project.facts.current(Pair, snapshot), "pairs", snapshot)
    require_sound(project, "pairs", snapshot)
    entry, split = project.roster.respondent(model), project.roster.defaults.split
    served, prompt = project.roster.served(entry), project.roster.respondent_prompt(entry)
    return AskingStep(
        record=Response,
        partition=f"{snapshot}/{model}",
        served=served,
        prompt=prompt,
        input=[RESPONDING, pairs.content, split, model],
        items=lambda: asked_sides(project.facts.rows(Pair, snapshot), split),
        question=lambda sided: ask_response(sided, served, prompt),
        row=lambda sided, _, answer: read_response(sided, answer, model, prompt),
    ).run(project, run, watch)


def publish_verdicts(project: Project, snapshot: str, model: str, judge: str, run: str, watch: Watch) -> StepReport:
    """Have a judge read every pair of responses of a model, in the judge's orders, and publish one verdict each."""
    partition = f"{snapshot}/{model}"
    pairs = required(project.facts.current(Pair, snapshot), "pairs", snapshot)
    responses = required(project.facts.current(Response, partition), "responses", partition)
    require_sound(project, "responses", partition)
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
        unasked=lambda item: read_verdict(item, None, judge, prompt),
    ).run(project, run, watch)
