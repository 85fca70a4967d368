"""Endings: how the calls to each model end, and when they end so badly that going on is pointless.

Here belong the counts over calls that have ended. What one fault means is `retry.py`, an endpoint that does not answer
`breaker.py`.
"""

from collections import Counter

from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.endpoint import TransportFault
from valbench_dagster.llm.ledger import CallKind
from valbench_dagster.llm.retry import RetryRules
from valbench_dagster.llm.stops import failed_in_a_row, refused_from_the_start


class Endings:
    """Counts rejections before a model's first reply, and failures in a row."""

    def __init__(self) -> None:
        self._replied: set[tuple[str, str]] = set()
        self._rejections: Counter[tuple[str, str]] = Counter()
        self._failures: Counter[tuple[str, str]] = Counter()

    def replied(self, request: Request) -> None:
        """Take note of a reply."""
        model = (request.served.endpoint, request.served.model)
        self._replied.add(model)
        if self._failures:
            self._failures.pop(model, None)

    def ended(self, request: Request, kind: CallKind, fault: TransportFault, rules: RetryRules) -> None:
        """Take note of a call that ended without a reply; raises `EndpointRefused` where it is one too many."""
        model = (request.served.endpoint, request.served.model)
        if kind == "rejected":
            self._rejections[model] += 1
            if model not in self._replied and self._rejections[model] >= rules.first_rejections:
                raise refused_from_the_start(*model, self._rejections[model], fault)
        else:
            self._failures[model] += 1
            if self._failures[model] >= rules.failures_in_a_row:
                raise failed_in_a_row(*model, self._failures[model], fault)
