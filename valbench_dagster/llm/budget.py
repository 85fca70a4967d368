"""The budget of a run: caps in money, tokens and calls, at which it stops cleanly.

Here belongs whether one more call may be made. What calls are likely to cost is `estimate.py`; what was spent before
is the ledger's to say.
"""

from dataclasses import dataclass

from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.ledger import FinishedCall


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that a run may spend; null: no cap. Money is in the currency of the roster's prices."""

    cost: float | None = None
    tokens: int | None = None
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent: by calls that ended, with a reply or without."""

    cost: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0


class BudgetReached(Exception):  # noqa: N818 - names the state the run stops in
    """The next call does not fit under a cap; the message says which, what was done, and how to go on."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """What is set aside for a call in flight: the most it can cost."""

    cost: float
    tokens: int


class Budget:
    """Admits calls while they fit under the caps."""

    def __init__(self, caps: Caps, spent: Spent | None = None) -> None:
        """Begin with what the run has spent before (a run that was resumed)."""
        self._caps = caps
        self._spent = spent or Spent()

    async def admit(self, request: Request, body: bytes) -> Reserved:
        """Set aside what a call may cost, waiting for others to end where that makes room.

        Raises `BudgetReached` where it does not fit and no call in flight could make room.
        """
        raise NotImplementedError

    def settle(self, reserved: Reserved, call: FinishedCall | None) -> None:
        """Count what a call cost in place of what was set aside; null where it never ended."""
        raise NotImplementedError
