"""The shape of every step that asks models: look, ask, read, publish.

Look whether the published facts are already those of this input; ask what has no stored reply; read every item's
answer from the ledger as one row; publish the rows. What differs between steps is a `AskingStep`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from valbench_dagster.adapters.facts import Pointer
from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.identity import identify
from valbench_dagster.llm.budget import Caps
from valbench_dagster.llm.calls import Answer, Question, ServedModel
from valbench_dagster.llm.tally import Tally
from valbench_dagster.prompting import Prompt
from valbench_dagster.records import CandidatePair, Issue, Response, Verdict
from valbench_dagster.roster import Roster
from valbench_dagster.steps.asking import Asking, Part, answered, ask_part, open_ledger
from valbench_dagster.steps.asking_processes import ask_in_processes
from valbench_dagster.steps.interrupts import run_interruptibly
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
    row `unasked` makes. `input` is everything besides served model and prompt that decides the rows. `made_by`, a
    function of a module, makes the same step of a project and `made_of`, in this process or another; null: this
    process alone asks. `expected` is the
    number of questions, or the most there can be, where it can be told without making them.
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
    made_by: "Callable[..., AskingStep[Any, Any]] | None" = None
    made_of: tuple[Any, ...] = ()
    expected: Callable[[], int] | None = None

    @property
    def input_fingerprint(self) -> str:
        """Hash of everything that decides the rows: the data version of the asset."""
        served = self.served
        model = [served.provider, served.api, served.model, served.revision, dict(served.settings)]
        return identify("step", [self.record.TABLE, self.record.VERSION, model, self.prompt.label, self.input])

    @property
    def name(self) -> str:
        """Fact table and partition: what the ledger names with each call of the step."""
        return f"{self.record.TABLE}/{self.partition}"

    def questions(self) -> Iterator[Question]:
        """Make every question of the step, in the order of its items."""
        return (asked for item in self.items() if (asked := self.question(item)) is not None)

    def run(self, project: Project, run: str, watch: Watch, caps: Caps | None = None) -> StepReport:
        """Run the step; makes no call and changes nothing where its facts are published and complete.

        `caps` bound what the whole run spends, this step and others; null: the roster's.
        """
        pointer = project.facts.current(self.record, self.partition)
        if pointer and pointer.input_fingerprint == self.input_fingerprint and pointer.unfinished == 0:
            with open_ledger(project) as ledger:
                paid = self._paid(ledger)
            return StepReport(pointer, False, outcomes(project, self.record, self.partition), cost_so_far=paid)
        counts: Counter[str] = Counter()
        with open_ledger(project) as ledger:
            asking = Asking(
                endpoint=self.served.endpoint,
                run=run,
                step=self.name,
                caps=caps or roster_caps(project.roster),
                spent=ledger.spent(run),
                watch=watch,
                expected=None if self.expected is None else self.expected(),
            )
            tally = self._ask(project, ledger, asking)
            pointer = project.facts.publish(
                self.record,
                self.partition,
                self._counted(answered(self.items(), self.question, ledger), counts),
                input_fingerprint=self.input_fingerprint,
                unfinished=lambda: sum(counts[outcome] for outcome in UNFINISHED),
            )
            paid = self._paid(ledger)
        return StepReport(pointer, True, dict(sorted(counts.items())), tally, tally.cost, cost_so_far=paid)

    def _paid(self, ledger: SqlLedger) -> float:
        return sum(cost.cost for cost in ledger.costs() if cost.step == self.name)

    def _ask(self, project: Project, ledger: SqlLedger, asking: Asking) -> Tally:
        """Ask what is missing, from as many processes as the endpoint's entry wants."""
        endpoint = project.roster.endpoint[asking.endpoint]
        # Batches are not ours to speed up: one process sends them.
        if endpoint.processes > 1 and not endpoint.batch and self.made_by is not None:
            made = (step_questions, (self.made_by, *self.made_of))
            return ask_in_processes(project.settings, *made, asking, endpoint.processes)
        return run_interruptibly(ask_part(project, ledger, self.questions(), asking, Part()))

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


def step_questions(
    project: Project, made_by: Callable[..., AskingStep[Any, Any]], *made_of: object
) -> Iterator[Question]:
    """Make a step's questions in another process than the step's own."""
    return made_by(project, *made_of).questions()


def roster_caps(roster: Roster) -> Caps:
    """Give the most that a run may spend by the roster's defaults."""
    return Caps(roster.defaults.max_cost, roster.defaults.max_tokens, roster.defaults.max_calls)


def outcomes(project: Project, record: type[R], partition: str) -> dict[str, int]:
    """Count the published rows of a partition by outcome."""
    return dict(sorted(Counter(row.outcome for row in project.facts.rows(record, partition)).items()))


def required(pointer: Pointer | None, fact: str, partition: str) -> Pointer:
    """Give the pointer of a step's input; raises `LookupError` with what to materialise where there is none."""
    if pointer is None:
        raise LookupError(f"there are no {fact} of {partition} yet: materialise the asset `{fact}` for it first")
    return pointer
