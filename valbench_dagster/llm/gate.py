"""The gate of an endpoint: how many calls are in flight, and when none may start.

One per endpoint and run, shared by its workers, so that one 429 is felt once and not by every call on its own. Time
comes from outside. Which fault means what is `retry.py`.
"""

import asyncio
from collections import deque

from valbench_dagster.llm.retry import Clock, RetryRules


class Gate:
    """Lets at most `limit` calls in at once, and none while the endpoint is held.

    `limit` starts at `most`, falls on 429 (`throttled`) and climbs back one step for each `limit` replies.
    """

    def __init__(self, most: int, rules: RetryRules, clock: Clock) -> None:
        if most < 1:
            raise ValueError(f"an endpoint takes at least one call at a time, not {most}")
        self._most = most
        self._rules = rules
        self._clock = clock
        self._limit = most
        self._inside = 0
        self._opens_at = 0.0
        self._cut_at = -float("inf")
        self._replies_since = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """The most calls in flight at present."""
        return self._limit

    async def enter(self) -> None:
        """Wait until a call may start, and count it in."""
        while True:
            held = self._opens_at - self._clock.monotonic()
            if held > 0:
                await self._clock.sleep(held)
            elif self._inside < self._limit:
                self._inside += 1
                return
            else:
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
                await turn

    def leave(self) -> None:
        """Count a call out."""
        self._inside -= 1
        self._wake()

    def hold(self, seconds: float) -> None:
        """Let nothing in for so long; a longer hold that is already on stays."""
        self._opens_at = max(self._opens_at, self._clock.monotonic() + seconds)

    def throttled(self) -> None:
        """Take note of a 429: fewer at once, but once per episode, since all in flight are told the same."""
        now = self._clock.monotonic()
        self._replies_since = 0
        if now - self._cut_at >= self._rules.cut_pause_s:
            self._cut_at = now
            self._limit = max(1, int(self._limit * self._rules.cut))

    def replied(self) -> None:
        """Take note of a reply: after as many as fit in at once, a twentieth of the most is added back."""
        self._replies_since += 1
        if self._limit < self._most and self._replies_since >= self._limit:
            self._replies_since = 0
            self._limit = min(self._most, self._limit + max(1, self._most // 20))
            self._wake()

    def _wake(self) -> None:
        free = self._limit - self._inside
        while self._waiting and free > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
