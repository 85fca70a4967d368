"""What is counted while questions are asked, and what is said of it: during a run and at its end."""

from collections import Counter
from dataclasses import dataclass, field

from valbench_dagster.llm.calls import Outcome
from valbench_dagster.llm.ledger import FinishedCall


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    By question: `done`, `total` (in all where the caller said so, else those pulled so far), `failed` (ended without a
    usable reply). By call of this run: `asked` (ended with a reply or not), tokens and `cost` of their replies (by the
    roster's prices; `cached_tokens` are among the input's, `reasoning_tokens` among the output's).

    At this moment: `in_flight` calls of at most `limit`; `held_s` seconds for which a server wants to be left alone, 0
    if it does not; `waiting` says what nothing goes on for, null while it does.
    """

    done: int
    total: int
    failed: int
    input_tokens: int
    output_tokens: int
    asked: int = 0
    in_flight: int = 0
    limit: int = 0
    held_s: float = 0.0
    cost: float = 0.0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    waiting: str | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run did.

    By question: `questions` in all, `from_ledger` settled before the run, and those that ended `unparsed`, `rejected`
    or `failed`. By call of this run: `asked` (ended with a reply or not), of these `reasks` for a faulty reply, tokens
    of the replies as the server counts them, and what they cost by the roster's prices.
    """

    questions: int
    from_ledger: int
    asked: int
    reasks: int
    unparsed: int
    rejected: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: float = 0.0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(slots=True)
class Counts:
    """The running counts of one run: `outcomes` by question, the rest as in `Tally` and `Progress`."""

    questions: int = 0
    from_ledger: int = 0
    asked: int = 0
    reasks: int = 0
    done: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    def end(self, outcome: Outcome) -> None:
        """Count a question that is settled."""
        self.done += 1
        self.outcomes[outcome] += 1

    def add(self, call: FinishedCall) -> None:
        """Count a call that is stored."""
        self.asked += 1
        self.input_tokens += call.input_tokens or 0
        self.output_tokens += call.output_tokens or 0
        self.cached_tokens += call.cached_tokens or 0
        self.reasoning_tokens += call.reasoning_tokens or 0
        self.cost += call.cost or 0.0

    def progress(
        self,
        *,
        expected: int | None = None,
        in_flight: int = 0,
        limit: int = 0,
        held_s: float = 0.0,
        waiting: str | None = None,
    ) -> Progress:
        """Say how far the run is; `expected` questions in all, null where that is not known, the rest of the moment."""
        return Progress(
            done=self.done,
            total=self.questions if expected is None else max(expected, self.questions),
            failed=self.done - self.outcomes["reply"],
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            asked=self.asked,
            in_flight=in_flight,
            limit=limit,
            held_s=held_s,
            cost=self.cost,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
            waiting=waiting,
        )

    def tally(self) -> Tally:
        """Say what the run did."""
        return Tally(
            questions=self.questions,
            from_ledger=self.from_ledger,
            asked=self.asked,
            reasks=self.reasks,
            unparsed=self.outcomes["unparsed"],
            rejected=self.outcomes["rejected"],
            failed=self.outcomes["failed"],
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=self.cost,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
        )
