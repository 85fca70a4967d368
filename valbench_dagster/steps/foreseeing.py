"""Foreseeing: the steps whose input is not published yet, from what there is of it.

What the ledger holds of an earlier step is exact: its replies are read as that step would read them, and the questions
of the next are made of them. Only for the rest a number and a length are assumed, and those assumptions are here. For
plans alone: no step made here is ever run.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from valbench_dagster.llm.calls import Answer, Reply, Request, ServedModel
from valbench_dagster.llm.estimate import CHARACTERS_PER_TOKEN, Load
from valbench_dagster.prompting import Prompt, load_prompt
from valbench_dagster.records import CandidatePair, Issue, Pair, Record, Response, Section, Verdict
from valbench_dagster.stages.acceptance import accept, is_kept
from valbench_dagster.stages.pairs import ask_pair, read_pair
from valbench_dagster.stages.responses import SIDES, SidedPair, ask_response, asked_sides, read_response
from valbench_dagster.stages.subsets import Subset, choose
from valbench_dagster.stages.verdicts import JudgedPair, Order, ask_verdict, judged_pairs, read_verdict
from valbench_dagster.steps.asking_step import UNFINISHED, AskingStep
from valbench_dagster.steps.counting import weight
from valbench_dagster.steps.project import Project

SPLIT_SHARES = {"test": 0.1, "validation": 0.1, "train": 0.8, "all": 1.0}
"""Of all pairs (`identity.split_of`)."""

QUESTION_CHARACTERS = 200
"""Of one question of a pair; the paper's examples and the sample's are of about that length."""

RATIONALE_CHARACTERS = 400
"""Of what an annotator writes of a section, which the writer is shown."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many rows of one table come of a row of another, and where that is known from."""

    value: float
    basis: str


def share(project: Project, snapshot: str, part: type[Record], whole: type[Record]) -> Share:
    """Give the share by the newest other snapshot that has both tables, of the same wiki if there is one; else all."""
    wiki = snapshot.rpartition("-")[0]
    others = set(project.facts.partitions(part)) & set(project.facts.partitions(whole)) - {snapshot}
    for other in sorted(others, key=lambda key: (key.rpartition("-")[0] == wiki, key.rpartition("-")[2]), reverse=True):
        counts = [project.facts.current(record, other) for record in (part, whole)]
        if counts[0] and counts[1] and counts[1].rows:
            value = counts[0].rows / counts[1].rows
            return Share(value, f"{value:.0%} of {whole.TABLE} give {part.TABLE}, as in {other}")
    return Share(1.0, f"all {whole.TABLE} give {part.TABLE}: at most, as no snapshot tells")


def candidates_of(
    project: Project, snapshot: str, annotated: Callable[[], Iterable[tuple[Section, Issue]]]
) -> AskingStep[tuple[Section, Issue], CandidatePair]:
    """Make the step of `candidate_pairs` over issues that are not published."""
    name = project.roster.defaults.writer
    served, prompt = project.roster.served(project.roster.worker[name]), load_prompt("write_pair")
    return AskingStep(
        record=CandidatePair,
        partition=snapshot,
        served=served,
        prompt=prompt,
        input=["foreseen"],
        items=lambda: ((section, issue) for section, issue in annotated() if is_kept(issue)),
        question=lambda item: ask_pair(*item, served, prompt),
        row=lambda item, question, answer: read_pair(*item, question, answer, name, prompt),
    )


def pairs_of(written: Iterable[tuple[tuple[Section, Issue], CandidatePair]], split: str) -> list[Pair]:
    """Give the pairs of a split that candidates would make if they passed every check."""
    found: list[Pair] = []
    for (section, issue), candidate in written:
        accepted, _ = accept([candidate], {issue.issue_id: issue}, {section.section_id: section}, lambda _: {})
        found += [pair for pair in accepted if split in ("all", pair.split)]
    return sorted(found, key=lambda pair: pair.pair_id)


def responses_of(
    project: Project, snapshot: str, model: str, pairs: list[Pair], subset: Subset
) -> AskingStep[SidedPair, Response]:
    """Make the step of `responses` over pairs that are not published."""
    entry = project.roster.respondent(model)
    served, prompt = project.roster.served(entry), project.roster.respondent_prompt(entry)
    chosen = choose(pairs, project.roster.defaults.split, subset)
    return AskingStep(
        record=Response,
        partition=f"{snapshot}/{model}",
        served=served,
        prompt=prompt,
        input=["foreseen"],
        items=lambda: asked_sides(pairs, chosen, entry.samples),
        question=lambda sided: ask_response(sided, served, prompt),
        row=lambda sided, _, answer: read_response(sided, answer, model, prompt, subset.label),
    )


def verdicts_of(
    project: Project, partition: str, judge: str, answered: Callable[[], Iterable[tuple[SidedPair, Response]]]
) -> AskingStep[JudgedPair, Verdict]:
    """Make the step of `verdicts` over responses that are not published, or not all of them."""
    entry = project.roster.judge[judge]
    served = project.roster.served(project.roster.worker[entry.worker])
    prompt = load_prompt(entry.prompt, entry.prompt_version)
    return AskingStep(
        record=Verdict,
        partition=partition,
        served=served,
        prompt=prompt,
        input=["foreseen"],
        items=lambda: _judged(answered(), entry.orders),
        question=lambda item: None if item.missing else ask_verdict(item, served, prompt),
        row=lambda item, _, answer: read_verdict(item, answer, judge, prompt),
    )


def _judged(answered: Iterable[tuple[SidedPair, Response]], orders: Iterable[Order]) -> Iterator[JudgedPair]:
    """Give what a judge reads of those pairs whose responses to both sides are there for good, sample by sample."""
    for _, group in groupby(answered, key=lambda each: each[0].pair.pair_id):
        several = [(sided.pair, row) for sided, row in group if row.outcome not in UNFINISHED]
        sides = {(row.sample, row.side) for _, row in several}
        whole = [row for _, row in several if {(row.sample, side) for side in SIDES} <= sides]
        if whole:
            yield from judged_pairs([several[0][0]], whole, orders)


def mean(load: Load) -> Load | None:
    """Give the load of a call like those of a load; null where there is none."""
    return load.times(1 / load.calls) if load.calls else None


def typical_candidate(issues: Load) -> Load:
    """Give the load of writing a pair, by that of annotating its section."""
    one = mean(issues) or Load(1)
    return Load(1, one.body_bytes + RATIONALE_CHARACTERS, one.characters + RATIONALE_CHARACTERS)


def typical_response(served: ServedModel, prompt: Prompt) -> Load:
    """Give the load of one side's question to a respondent."""
    return weight(ask_response(SidedPair(_typical_pair(), "for"), served, prompt).request)


def typical_verdict(served: ServedModel, prompt: Prompt, pair: Pair | None, text_tokens: float) -> Load:
    """Give the load of judging two responses of a length to a pair (null: one of usual length)."""
    shown = pair or _typical_pair()
    reply = Reply("x" * round(text_tokens * CHARACTERS_PER_TOKEN), None, "stop", None, None, None, None)
    answer = Answer("reply", Request(served, ()), reply, None)
    said = [read_response(SidedPair(shown, side), answer, "", prompt) for side in SIDES]
    return weight(ask_verdict(JudgedPair(shown, said[1], said[0], "as_asked"), served, prompt).request)


def _typical_pair() -> Pair:
    """Make a pair with questions of usual length; its words mean nothing."""
    question = "x" * QUESTION_CHARACTERS
    return Pair(
        snapshot="",
        pair_id="",
        issue_id="",
        section_id="",
        wiki="",
        page_id=0,
        revision_id=0,
        title="",
        heading_path=(),
        url="",
        split="test",
        category=None,
        scale=1,
        rationale="",
        issue=question,
        for_description="",
        for_question=question,
        against_description="",
        against_question=question,
        writer="",
    )
