"""What a batch run has set aside of its budget: from before a request goes into a file until it has ended.

A file holds many requests, and none of them ends before it is sent: to wait for room while filling it would be to wait
for ever. So nothing waits here: what does not fit now is told, and the file is sent as it is.
"""

from collections.abc import Container

from valbench_dagster.llm.budget import Budget, BudgetReached, Reserved
from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.ledger import FinishedCall


class BatchReserves:
    """The reservations of one run, by fingerprint; without a budget everything fits."""

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget
        self._held: dict[str, Reserved] = {}
        self.reached: BudgetReached | None = None

    def admit(self, request: Request, body: bytes) -> bool:
        """Set aside what a request may cost, unless that is done; false where it does not fit now, or never will.

        `reached` is set in the latter case.
        """
        if self._budget is None or request.fingerprint in self._held:
            return True
        if self.reached is not None:
            return False
        try:
            reserved = self._budget.admit_now(request, body)
        except BudgetReached as reached:
            self.reached = reached
            return False
        if reserved is not None:
            self._held[request.fingerprint] = reserved
        return reserved is not None

    def settle(self, call: FinishedCall) -> None:
        """Count what a request cost."""
        reserved = self._held.pop(call.fingerprint, None)
        if self._budget is not None and reserved is not None:
            self._budget.settle(reserved, call)

    def release(self, keep: Container[str] = ()) -> None:
        """Give back what is set aside for requests that nobody waits for any more."""
        for fingerprint in [fingerprint for fingerprint in self._held if fingerprint not in keep]:
            reserved = self._held.pop(fingerprint)
            if self._budget is not None:
                self._budget.settle(reserved, None)
