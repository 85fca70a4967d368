"""The budget of a run: caps in money, tokens and calls, at which it stops cleanly.

Here belongs whether one more call may be made. The most that one can cost is `reserve.py`, what all calls of a step are
likely to cost `estimate.py`, and what was spent before is the ledger's to say.

The promise: where a model's settings hold a limit of output tokens and no prompt has more tokens than
`reserve.input_tokens_at_most` says, a run never spends more than its caps; calls it never makes more of in any case. It
rests on setting aside, before a call is made, the most that it can cost. Only what replies tell can be counted: what a
server charges for a call that it never answered is not seen.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.ledger import FinishedCall
from valbench_dagster.llm.reserve import Reserved, Reserves

__all__ = ["Budget", "BudgetReached", "Caps", "Reserved", "Spent"]


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


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A call that waits for room."""

    need: Reserved
    admitted: asyncio.Future[None]


class Budget:
    """Admits calls while they fit under the caps, in the order in which they ask. For one event loop."""

    def __init__(self, caps: Caps, spent: Spent | None = None) -> None:
        """Begin with what the run has spent before (a run that was resumed)."""
        before = spent or Spent()
        self._caps = caps
        self._cost, self._calls = before.cost, before.calls
        self._input_tokens, self._output_tokens = before.input_tokens, before.output_tokens
        self._uncounted = 0
        self._held_cost, self._held_tokens, self._in_flight = 0.0, 0, 0
        self._reserves = Reserves()
        self._waiting: deque[_Waiting] = deque()
        self._reached: BudgetReached | None = None
        self._refused = Reserved(0.0, 0)

    @property
    def spent(self) -> Spent:
        """What was spent so far, earlier spending of the run included.

        A reply whose tokens the server does not count stands in it with what was set aside for it.
        """
        return Spent(self._cost, self._input_tokens, self._output_tokens, self._calls)

    async def admit(self, request: Request, body: bytes) -> Reserved:
        """Set aside what a call may cost, waiting for others to end where that makes room.

        Raises `BudgetReached` where it does not fit and no call in flight could make room: for this call, for all that
        wait behind it and for all that ask later. Its message is kept up to date while the calls in flight end.
        """
        need = self._most_of(request, body)
        if self._has_room(need):
            self._take(need)
            return need
        waiting = _Waiting(need, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._let_in()
        try:
            await waiting.admitted
        except asyncio.CancelledError:
            self._withdraw(waiting)
            raise
        except BudgetReached as reached:
            raise reached.with_traceback(None) from None
        return need

    def admit_now(self, request: Request, body: bytes) -> Reserved | None:
        """Set aside what a call may cost as `admit` does; null where it would have to wait."""
        need = self._most_of(request, body)
        if self._has_room(need):
            self._take(need)
            return need
        if self._passed(need, held=False):
            raise self._turn_away(need)
        return None

    def settle(self, reserved: Reserved, call: FinishedCall | None) -> None:
        """Count what a call cost in place of what was set aside; null where it never ended.

        Of a reply whose tokens the server does not count, what was set aside stays spent.
        """
        self._in_flight -= 1
        self._held_tokens -= reserved.tokens
        # Sums of floats drift; where no call is in flight, nothing is held.
        self._held_cost = self._held_cost - reserved.cost if self._in_flight else 0.0
        if call is not None:
            self._calls += 1
            if call.kind == "reply":
                self._count(reserved, call)
        if self._waiting:
            self._let_in()
        if self._reached is not None:
            self._reached.args = (self._sentence(self._refused),)

    def _most_of(self, request: Request, body: bytes) -> Reserved:
        if self._reached is not None:
            # One error for all: each who raises it would else add its own stack.
            raise self._reached.with_traceback(None)
        return self._reserves.most_of(request, body)

    def _has_room(self, need: Reserved) -> bool:
        """Whether a call fits and nobody asked before it."""
        return not self._waiting and not self._passed(need, held=True)

    def _count(self, reserved: Reserved, call: FinishedCall) -> None:
        read, written = call.input_tokens, call.output_tokens
        if read is None or written is None:
            self._uncounted += 1
            self._cost += reserved.cost
        else:
            self._cost += call.cost or 0.0
        self._input_tokens += reserved.input_tokens if read is None else read
        self._output_tokens += reserved.tokens - reserved.input_tokens if written is None else written
        self._reserves.learn(call)

    def _passed(self, need: Reserved, *, held: bool) -> list[str]:
        """Name the caps that a call would pass, beside what is spent and, if `held`, what is set aside for others."""
        caps, passed = self._caps, []
        cost, tokens, calls = self._cost, self._input_tokens + self._output_tokens, self._calls
        if held:
            cost, tokens, calls = cost + self._held_cost, tokens + self._held_tokens, calls + self._in_flight
        if caps.cost is not None and cost + need.cost > caps.cost:
            passed.append("max_cost")
        if caps.tokens is not None and tokens + need.tokens > caps.tokens:
            passed.append("max_tokens")
        if caps.calls is not None and calls + 1 > caps.calls:
            passed.append("max_calls")
        return passed

    def _take(self, need: Reserved) -> None:
        self._held_cost += need.cost
        self._held_tokens += need.tokens
        self._in_flight += 1

    def _let_in(self) -> None:
        """Admit those at the head that fit; turn all away once the first would not fit even if all others ended."""
        while self._waiting:
            first = self._waiting[0]
            if first.admitted.done():
                self._waiting.popleft()  # cancelled, and not yet told so
            elif not self._passed(first.need, held=True):
                self._waiting.popleft()
                self._take(first.need)
                first.admitted.set_result(None)
            elif self._passed(first.need, held=False):
                self._turn_away(first.need)
            else:
                return

    def _turn_away(self, need: Reserved) -> BudgetReached:
        self._refused = need
        reached = self._reached = BudgetReached(self._sentence(need))
        for waiting in self._waiting:
            if not waiting.admitted.done():
                waiting.admitted.set_exception(reached)
        self._waiting.clear()
        return reached

    def _withdraw(self, waiting: _Waiting) -> None:
        """Take out a call that is not to be made any more; give back its room where it had just been let in."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            self._let_in()
        elif not waiting.admitted.cancelled() and waiting.admitted.exception() is None:
            self.settle(waiting.need, None)

    def _sentence(self, need: Reserved) -> str:
        """Say which cap is reached, what is spent of it, and how to go on."""
        caps = self._caps
        tokens = self._input_tokens + self._output_tokens
        amounts = {
            "max_cost": f"{self._cost:.6g} of max_cost {caps.cost} is spent; the next call may cost {need.cost:.6g}",
            "max_tokens": f"{tokens} of max_tokens {caps.tokens} are used; the next call may take {need.tokens}",
            "max_calls": f"all {caps.calls} of max_calls are made",
        }
        passed = self._passed(need, held=False)
        said = f"the budget of this run is reached: {_calls(self._calls)} made; "
        said += "; ".join(amounts[name] for name in passed)
        if self._uncounted:
            said += f" (the server did not count the tokens of {_calls(self._uncounted)}: taken at what they can be)"
        alone = (Budget(caps)._passed(need, held=False)) if passed else []
        if alone:
            return (
                f"{said}. The next call alone is more than {' and '.join(alone)} allows: raise it in [defaults] of the "
                "roster or for this run, or lower the model's limit of output tokens"
            )
        return (
            f"{said}. Every reply so far is kept: run again to go on, or raise {' and '.join(passed)} in [defaults] of "
            "the roster or for this run"
        )


def _calls(number: int) -> str:
    return f"{number} call{'s' * (number != 1)}"
