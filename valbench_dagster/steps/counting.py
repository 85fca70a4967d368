"""Counting: how many questions of a step have a reply in the ledger, and how much the others weigh.

For plans: nothing is sent, no key is needed, nothing is written. Here belongs what is counted of one step, real or
foreseen; which steps there are is `planning.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

import orjson

from valbench_dagster.llm.apis.wire import request_body
from valbench_dagster.llm.calls import Question, Request
from valbench_dagster.llm.estimate import CallSample, CallSamples, Load
from valbench_dagster.llm.ledger import FinishedCall, Ledger, StoredFailure
from valbench_dagster.records import CandidatePair, Issue, Response, Verdict
from valbench_dagster.steps.asking import answered
from valbench_dagster.steps.asking_step import AskingStep
from valbench_dagster.steps.project import Project

AT_ONCE = 10_000
"""Questions that are looked up together."""

T = TypeVar("T")
R = TypeVar("R", Issue, CandidatePair, Response, Verdict)


class PlannedLedger(Ledger, CallSamples, Protocol):
    """What planning needs of a ledger."""


class NoLedger:
    """The ledger of a project that has made no call yet: it holds nothing, and is not made by looking into it."""

    def known(self, fingerprints: Sequence[str]) -> set[str]:  # noqa: ARG002 - as the port has it
        """Give none."""
        return set()

    def replies(self, fingerprints: Sequence[str]) -> dict[str, bytes]:  # noqa: ARG002 - as the port has it
        """Give none."""
        return {}

    def failures(self, fingerprints: Sequence[str]) -> dict[str, StoredFailure]:  # noqa: ARG002 - as the port has it
        """Give none."""
        return {}

    def samples(
        self,
        provider: str,  # noqa: ARG002 - as the port has it
        model: str,  # noqa: ARG002 - as the port has it
        limit: int,  # noqa: ARG002 - as the port has it
        *,
        fact: str | None = None,  # noqa: ARG002 - as the port has it
        asker: str | None = None,  # noqa: ARG002 - as the port has it
    ) -> list[CallSample]:
        """Give none."""
        return []

    async def append(self, call: FinishedCall) -> None:
        """Refuse: what looks into this ledger makes no calls."""
        raise TypeError(f"a call to {call.endpoint} was to be stored where nothing is")


_NONE = Load()


@dataclass(frozen=True, slots=True)
class Counted:
    """The questions of a step: `known` have a reply, `shared` will have one by an earlier step of the plan.

    `failed` of `to_make` were asked before and have no reply. `nothing` counts items about which there is nothing to
    ask. `published` is true where the step's facts are those of this input and complete: it will not ask at all.
    """

    questions: int = 0
    known: int = 0
    shared: int = 0
    failed: int = 0
    nothing: int = 0
    to_make: Load = _NONE
    all: Load = _NONE
    published: bool = False


def count_step(project: Project, step: AskingStep[T, R], ledger: Ledger, seen: set[str]) -> Counted:
    """Count the questions of a step; `seen` gathers the fingerprints that a plan has to ask.

    A question whose first reply is there counts as known, faulty or not: what is asked again is not foreseen.
    """
    pointer = project.facts.current(step.record, step.partition)
    if pointer and pointer.input_fingerprint == step.input_fingerprint and pointer.unfinished == 0:
        return Counted(questions=pointer.rows, known=pointer.rows, published=True)
    return count_questions((step.question(item) for item in step.items()), ledger, seen)


def count_questions(questions: Iterable[Question | None], ledger: Ledger, seen: set[str]) -> Counted:
    """Count questions (null: nothing to ask), as `count_step` does."""
    asked = known = shared = failed = nothing = 0
    to_make, every = _Weight(), _Weight()
    stream = iter(questions)
    while some := list(islice(stream, AT_ONCE)):
        requests = [question.request for question in some if question is not None]
        nothing += len(some) - len(requests)
        asked += len(requests)
        stored = ledger.known(list({request.fingerprint for request in requests}))
        lacking: list[str] = []
        for request in requests:
            body, characters = _weigh(request)
            every.add(body, characters)
            if request.fingerprint in stored:
                known += 1
            elif request.fingerprint in seen:
                shared += 1
            else:
                seen.add(request.fingerprint)
                lacking.append(request.fingerprint)
                to_make.add(body, characters)
        failed += len(ledger.failures(lacking)) if lacking else 0
    return Counted(asked, known, shared, failed, nothing, to_make.load(), every.load())


def settled(project: Project, step: AskingStep[T, R], ledger: Ledger, counted: Counted) -> Iterator[tuple[T, R]]:
    """Give the items of a step that have a reply, each with its row: as published, else as the ledger has it."""
    pointer = project.facts.current(step.record, step.partition)
    if pointer and pointer.input_fingerprint == step.input_fingerprint:
        yield from zip(step.items(), project.facts.rows(step.record, step.partition), strict=True)
    elif counted.known:
        for item, question, answer in answered(step.items(), step.question, ledger):
            if question is not None and answer is not None and answer.reply is not None:
                yield item, step.row(item, question, answer)


def weight(request: Request) -> Load:
    """Give the load of one request."""
    return Load(1, *_weigh(request))


def _weigh(request: Request) -> tuple[int, int]:
    characters = sum(len(message.content) for message in request.messages)
    return len(orjson.dumps(request_body(request))), characters


@dataclass(slots=True)
class _Weight:
    """A load that grows."""

    calls: int = 0
    body_bytes: int = 0
    characters: int = 0

    def add(self, body_bytes: int, characters: int) -> None:
        self.calls += 1
        self.body_bytes += body_bytes
        self.characters += characters

    def load(self) -> Load:
        return Load(self.calls, self.body_bytes, self.characters)
