"""What is counted while questions are asked, and what is said of it: during a run and at its end."""

from collections import Counter
from dataclasses import dataclass, field

from valbench_dagster.llm.calls import Outcome


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: questions done, pulled so far, and ended without a usable reply; tokens of its replies."""

    done: int
    total: int
    failed: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run did.

    By question: `questions` in all, `from_ledger` settled before the run, and those that ended `unparsed`, `rejected`
    or `failed`. By call of this run: `asked` (ended with a reply or not), of these `reasks` for a faulty reply, and
    the tokens of the replies as the server counts them.
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
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    def progress(self) -> Progress:
        """Say how far the run is."""
        failed = self.done - self.outcomes["reply"]
        return Progress(self.done, self.questions, failed, self.input_tokens, self.output_tokens)

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
        )
