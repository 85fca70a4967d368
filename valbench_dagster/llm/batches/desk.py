"""The desk of a batch run: which questions wait for which request, and where each request is.

A request is due (to be put into a file), or in an open batch, ours or another process's. Here belongs that state and
how it follows from the ledger and the log of batches; nothing is sent or stored here.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping

from valbench_dagster.llm.batches.log import OpenBatch, holders
from valbench_dagster.llm.calls import Outcome, Question, Request
from valbench_dagster.llm.ledger import FinishedCall, Ledger
from valbench_dagster.llm.settle import CHUNK, in_chunks, missing, remainder
from valbench_dagster.llm.tally import Counts


class Desk:
    """The questions of a run that are not settled yet.

    `waiting` has the questions by the fingerprint of the request whose reply they need next; `open` the open batches
    by our key, but for those this run is done with; `due` the requests that are in none of them.
    """

    def __init__(self, ledger: Ledger, counts: Counts) -> None:
        self.waiting: dict[str, list[Question]] = {}
        self.open: dict[str, OpenBatch] = {}
        self.counts = counts
        self._ledger = ledger
        self._due: deque[str] = deque()
        self._holder: dict[str, str] = {}
        self._ours: Counter[str] = Counter()
        self._done_with: set[str] = set()
        self._reasked: set[str] = set()

    def ask(self, questions: list[Question]) -> list[Request]:
        """Take questions in; those that the ledger answers are done at once.

        Gives the requests that were not waited for before and are in open batches already.
        """
        self.counts.questions += len(questions)
        done = self.counts.done
        held = self._place(questions, reasking=False)
        self.counts.from_ledger += self.counts.done - done
        return held

    def request(self, fingerprint: str) -> Request | None:
        """Give a request that is waited for; null for any other."""
        questions = self.waiting.get(fingerprint)
        return questions[0].request if questions else None

    def count(self, call: FinishedCall) -> None:
        """Count a request that has ended."""
        self.counts.add(call)
        self.counts.reasks += call.fingerprint in self._reasked

    def next_due(self) -> str | None:
        """Take the next request that is to be put into a file; null if there is none."""
        while self._due:
            fingerprint = self._due.popleft()
            if fingerprint in self.waiting and fingerprint not in self._holder:
                return fingerprint
        return None

    def put_back(self, fingerprint: str) -> None:
        """Make a request the next one due."""
        self._due.appendleft(fingerprint)

    def holder(self, fingerprint: str) -> str | None:
        """Give our key of the open batch that a request is in."""
        return self._holder.get(fingerprint)

    def ours(self, key: str) -> int:
        """Count the requests of an open batch that are waited for here."""
        return self._ours[key]

    def followed(self) -> list[OpenBatch]:
        """Give the open batches that something here waits for."""
        return [batch for key, batch in self.open.items() if self._ours[key]]

    def whole(self, batch: OpenBatch) -> bool:
        """Say whether every request of a batch is waited for here."""
        return self._ours[batch.key] == len(batch.fingerprints)

    def see(self, batches: Mapping[str, OpenBatch]) -> None:
        """Take note of the log: requests whose batch is open no more are looked up in the ledger, else due again."""
        before = self._holder
        self.open = {key: batch for key, batch in batches.items() if key not in self._done_with}
        self._holder = holders(self.open.values())
        self._ours = Counter(key for fingerprint, key in self._holder.items() if fingerprint in self.waiting)
        self.look_up(fingerprint for fingerprint in before if fingerprint not in self._holder)

    def update(self, batch: OpenBatch) -> None:
        """Take note of what happened to one open batch."""
        self.open[batch.key] = batch

    def done_with(self, batch: OpenBatch) -> None:
        """Leave a batch: those of its requests that are still waited for are due again, before all others."""
        self._done_with.add(batch.key)
        del self.open[batch.key], self._ours[batch.key]
        for fingerprint in reversed(batch.fingerprints):
            if self._holder.get(fingerprint) == batch.key:
                del self._holder[fingerprint]
                if fingerprint in self.waiting:
                    self._due.appendleft(fingerprint)

    def look_up(self, fingerprints: Iterable[str]) -> None:
        """Settle by the ledger what waits for these requests, as far as it can; faulty replies are asked again."""
        questions = [question for fingerprint in fingerprints for question in self._take(fingerprint)]
        for some in in_chunks(questions, CHUNK):
            self._place(some, reasking=True)

    def end(self, fingerprint: str, outcome: Outcome) -> None:
        """End all that waits for a request without a reply."""
        for _ in self._take(fingerprint):
            self.counts.end(outcome)

    def _place(self, questions: list[Question], *, reasking: bool) -> list[Request]:
        held: list[Request] = []
        for question, state in zip(questions, missing(questions, self._ledger), strict=True):
            if not isinstance(state, Request):
                self.counts.end(state)
                continue
            fingerprint = state.fingerprint
            if reasking and fingerprint != question.request.fingerprint:
                self._reasked.add(fingerprint)
            rest = remainder(question, state)
            if fingerprint in self.waiting:
                self.waiting[fingerprint].append(rest)
                continue
            self.waiting[fingerprint] = [rest]
            if (key := self._holder.get(fingerprint)) is not None:
                self._ours[key] += 1
                held.append(state)
            else:
                self._due.append(fingerprint)
        return held

    def _take(self, fingerprint: str) -> list[Question]:
        questions = self.waiting.pop(fingerprint, [])
        key = self._holder.get(fingerprint)
        if questions and key is not None:
            self._ours[key] -= 1
        return questions
