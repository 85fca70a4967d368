"""The gate of an endpoint: how many calls are in flight, and when none may start.

One per endpoint and run, shared by its workers, so that one 429 is felt once and not by every call on its own. Calls
go in as they came. Time comes from outside. Which fault means what is `retry.py`; the gate also heeds the pace the
roster sets (`pace.py`) and whether the endpoint fails (`breaker.py`).
"""

import asyncio
import math

from valbench_dagster.llm.breaker import Breaker, Mark
from valbench_dagster.llm.endpoint import EndpointSettings
from valbench_dagster.llm.pace import Pace
from valbench_dagster.llm.retry import Clock, RetryRules


class Gate:
    """Lets at most `limit` calls in at once, and none while the endpoint is held.

    `limit` starts at the endpoint's concurrency, falls on overload (`overloaded`) and climbs back one step for each
    `limit` replies. Only the first in line looks at time and room; all others wait behind it.
    """

    def __init__(self, settings: EndpointSettings, rules: RetryRules, clock: Clock) -> None:
        if settings.concurrency < 1:
            raise ValueError(f"an endpoint takes at least one call at a time, not {settings.concurrency}")
        self.breaker = Breaker(settings.concurrency, rules)
        self.pace = Pace(settings, clock.monotonic())
        self._most = settings.concurrency
        self._rules = rules
        self._clock = clock
        self._limit = settings.concurrency
        self._inside = 0
        self._opens_at = self._next_at = self._eased_at = -math.inf
        self._cut_at = -math.inf
        self._replies_since = 0
        self._line = asyncio.Lock()
        self._in_line = 0
        self._news: asyncio.Future[None] | None = None

    @property
    def limit(self) -> int:
        """The most calls in flight at present."""
        return self._limit

    @property
    def inside(self) -> int:
        """The calls in flight."""
        return self._inside

    @property
    def held_s(self) -> float:
        """The seconds for which nothing is let in because the server asked for it, 0 if it did not."""
        return max(0.0, self._opens_at - self._clock.monotonic())

    @property
    def waiting(self) -> str | None:
        """What all calls wait for, null if they do not."""
        if (fault := self.breaker.failing) is not None:
            return f"endpoint is failing: {fault}"
        held = self.held_s
        return f"held by the server for {held:.0f} s" if held > 0 else None

    async def enter(self, tokens: float = 0.0) -> Mark:
        """Wait until a call of about so many tokens may start, and count it in; it must `leave` by the mark it gets."""
        now = self._clock.monotonic()
        if self._in_line or self._shut_for(tokens, now) > 0:
            now = await self._stand_in_line(tokens)
        self._inside += 1
        if self._eased_at > now:
            self._next_at = max(now, self._next_at) + (self._eased_at - self._opens_at) / self._limit
        if self.pace.bounded:
            self.pace.take(tokens, now)
        return self.breaker.begin()

    def leave(self, mark: Mark) -> None:
        """Count a call out."""
        self._inside -= 1
        if mark.probe:
            self.breaker.end(mark, self._clock.monotonic())
        self._tell()

    def answered(self) -> None:
        """Take note of an answer; that of an endpoint which was failing opens the gate, gently as after a hold."""
        if self.breaker.answered():
            self._open_at(self._clock.monotonic(), self._rules.ease_s)

    def hold(self, seconds: float) -> None:
        """Let nothing in for so long; a longer hold that is already on stays.

        Afterwards the first calls, as many as fit in at once, are spread over as long again, `ease_s` at most.
        """
        if seconds > 0:
            self._open_at(self._clock.monotonic() + seconds, min(seconds, self._rules.ease_s))

    def overloaded(self) -> None:
        """Take note of overload: fewer at once, but once per episode, since all in flight are told the same."""
        now = self._clock.monotonic()
        self._replies_since = 0
        if now - self._cut_at >= self._rules.cut_pause_s:
            self._cut_at = now
            self._limit = max(1, int(self._limit * self._rules.cut))

    def replied(self) -> None:
        """Take note of a reply: after as many as fit in at once, a twentieth of the most is added back."""
        if self._limit < self._most:
            self._replies_since += 1
            if self._replies_since >= self._limit:
                self._replies_since = 0
                self._limit = min(self._most, self._limit + max(1, self._most // 20))
                self._tell()

    def _open_at(self, moment: float, eased_over: float) -> None:
        if moment > self._opens_at:
            self._opens_at = self._next_at = moment
            self._eased_at = moment + eased_over

    def _shut_for(self, tokens: float, now: float) -> float:
        """Give the seconds until a call may start: 0 if now, infinity if something has to happen first."""
        if self._inside >= self._limit:
            return math.inf
        wait = max(0.0, self._opens_at - now, self._next_at - now, self.breaker.shut_for(now))
        return max(wait, self.pace.shut_for(tokens, now)) if self.pace.bounded else wait

    async def _stand_in_line(self, tokens: float) -> float:
        """Wait for one's turn; give the time it has become."""
        self._in_line += 1
        try:
            async with self._line:
                while (wait := self._shut_for(tokens, now := self._clock.monotonic())) > 0:
                    await self._news_within(wait)
                return now
        finally:
            self._in_line -= 1

    async def _news_within(self, seconds: float) -> None:
        """Wait until something has happened at the gate, but no longer than so many seconds."""
        news = self._news = asyncio.get_running_loop().create_future()
        try:
            if math.isinf(seconds):
                await news
                return
            sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
            try:
                await asyncio.wait((news, sleeping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
        finally:
            self._news = None

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
