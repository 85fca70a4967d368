"""The shape of every step that asks models: look, ask, read, publish.

Look whether the published facts are already those of this input; ask what has no stored reply; read every item's
answer from the ledger as one row; publish the rows. What differs between steps is a `AskingStep`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from valbench_dagster.adapters.facts import Pointer
from valbench_dagster.identity import identify
from valbench_dagster.llm.calls import Answer, Question, ServedModel
from valbench_dagster.llm.dispatcher import Tally
from valbench_dagster.prompting import Prompt
from valbench_dagster.records import CandidatePair, Issue, Response, Verdict
from valbench_dagster.steps.asking import answered, ask, open_ledger
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.step_report import StepReport, Watch

T = TypeVar("T")
R = TypeVar("R", Issue, CandidatePair, Response, Verdict)

UNFINISHED = ("failed", "rejected")
"""Outcomes that a rerun may better: the call has no reply, and calls without one are asked again."""


@dataclass(frozen=True)
class AskingStep(Generic[T, R]):
    """One step: `items` gives the same stream each time it is called, in the order of the record's key.

    `row` makes the one row of an item; `question` gives null for an item about which there is nothing to ask, whose
    row `unasked` makes. `input` is everything besides served model and prompt that decides the rows.
    """

    record: type[R]
    partition: str
    served: ServedModel
    prompt: Prompt
    input: list[object]
    items: Callable[[], Iterable[T]]
    question: Callable[[T], Question | None]
    row: Callable[[T, Question, Answer], R]
    unasked: Callable[[T], R] | None = None

    @property
    def input_fingerprint(self) -> str:
        """Hash of everything that decides the rows: the data version of the asset."""
        served = self.served
        model = [served.provider, served.api, served.model, served.revision, dict(served.settings)]
        return identify("step", [self.record.TABLE, self.record.VERSION, model, self.prompt.label, self.input])

    def run(self, project: Project, run: str, watch: Watch) -> StepReport:
        """Run the step; makes no call and changes nothing where its facts are published and complete."""
        pointer = project.facts.current(self.record, self.partition)
        if pointer and pointer.input_fingerprint == self.input_fingerprint and pointer.unfinished == 0:
            return StepReport(pointer, False, outcomes(project, self.record, self.partition))
        counts: Counter[str] = Counter()
        with open_ledger(project) as ledger:
            questions = (asked for item in self.items() if (asked := self.question(item)) is not None)
            tally = ask(project, ledger, questions, self.served.endpoint, run, watch)
            pointer = project.facts.publish(
                self.record,
                self.partition,
                self._counted(answered(self.items(), self.question, ledger), counts),
                input_fingerprint=self.input_fingerprint,
                unfinished=lambda: sum(counts[outcome] for outcome in UNFINISHED),
            )
        return StepReport(pointer, True, dict(sorted(counts.items())), tally, self._cost(project, tally))

    def _counted(self, stream: Iterable[tuple[T, Question | None, Answer | None]], counts: Counter[str]) -> Iterator[R]:
        for item, question, answer in stream:
            if question is not None and answer is not None:
                row = self.row(item, question, answer)
            elif self.unasked is not None:
                row = self.unasked(item)
            else:
                raise TypeError(f"{self.record.TABLE}: an item without a question, and no rule for its row: {item!r}")
            counts[row.outcome] += 1
            yield row

    def _cost(self, project: Project, tally: Tally) -> float:
        endpoint = project.roster.endpoint[self.served.endpoint]
        return (tally.input_tokens * endpoint.price_in + tally.output_tokens * endpoint.price_out) / 1_000_000


def outcomes(project: Project, record: type[R], partition: str) -> dict[str, int]:
    """Count the published rows of a partition by outcome."""
    return dict(sorted(Counter(row.outcome for row in project.facts.rows(record, partition)).items()))


def required(pointer: Pointer | None, fact: str, partition: str) -> Pointer:
    """Give the pointer of a step's input; raises `LookupError` with what to materialise where there is none."""
    if pointer is None:
        raise LookupError(f"there are no {fact} of {partition} yet: materialise the asset `{fact}` for it first")
    return pointer
