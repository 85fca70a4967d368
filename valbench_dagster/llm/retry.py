"""Retrying: which faults are worth another try, and after how long.

Pure rules, with time and chance given from outside, so that tests wait for nothing. The rules look at one fault of one
call; what concerns a whole endpoint at once is `gate.py` (holding it, fewer calls in flight) and `breaker.py` (is it
down?), the words of what stops a run are `stops.py`.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Literal, Protocol

from valbench_dagster.llm.endpoint import RateHints, TransportFault

Treatment = Literal["retry", "rejected", "fatal"]
"""`retry`: may pass; `rejected`: this one request is refused, others may not be; `fatal`: no call can succeed."""

_NO_QUOTA = "insufficient_quota"


class Clock(Protocol):
    """Time as the engine sees it."""

    def now(self) -> datetime:
        """The time of day, with its zone."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Give the time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give seconds since an unknown start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without holding up other calls."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Limits of retrying, for one endpoint.

    A call is tried `attempts` times at most. Being told to wait says nothing against the request and is counted apart
    (`throttled_attempts`); the tries of an endpoint that may be down are not counted (`breaker.py`). No try is begun
    later than `give_up_after_s` after the first. The wait before the next try is drawn evenly from 0 to
    `first_delay_s`, doubled each time up to `longest_delay_s` (full jitter), on top of what the server asks for; a
    server that asks for more than `longest_hold_s` stops the run.

    Overload (429, 503, 529) lets `cut` of the calls in flight go on being so, at most once in `cut_pause_s`; after a
    hold the first calls are spread over up to `ease_s`.

    `first_rejections` of a model without one reply before them stop the run, and so do `failures_in_a_row`,
    `first_unreachable` tries to reach an endpoint that never answered, and `down_after_s` without an answer from one
    that fails; meanwhile it is probed after `first_probe_s`, doubled each time up to `longest_probe_s`.
    """

    attempts: int = 6
    throttled_attempts: int = 40
    give_up_after_s: float = 1800.0
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    longest_hold_s: float = 900.0
    cut: float = 0.8
    cut_pause_s: float = 15.0
    ease_s: float = 1.0
    first_rejections: int = 20
    failures_in_a_row: int = 1000
    first_unreachable: int = 3
    down_after_s: float = 300.0
    first_probe_s: float = 1.0
    longest_probe_s: float = 15.0


def treatment(fault: TransportFault) -> Treatment:
    """Say what a fault calls for.

    Retried: no connection, a broken one, a timeout, a body that is no reply, 408, 409, 425, 429, 5xx (a 5xx may be
    about one prompt: llama.cpp gives 500 for output that its grammar cannot hold), a reply that names another model.
    Fatal: redirects, 401, 402, 403, 404, 405, 407, 410, and a 429 that says the quota is used up. Every other status is
    about the request: rejected.
    """
    status = fault.status
    if fault.kind != "status" or status is None:
        return "retry"
    if status == 429 and _NO_QUOTA in fault.message:
        return "fatal"
    if status in (408, 409, 425, 429) or status >= 500:
        return "retry"
    if status < 400 or status in (401, 402, 403, 404, 405, 407, 410):
        return "fatal"
    return "rejected"


def is_overload(fault: TransportFault) -> bool:
    """Tell whether the server has more calls in hand than it can take."""
    return fault.status in (429, 503, 529)


def is_told_to_wait(fault: TransportFault) -> bool:
    """Tell whether the server asks to come back later, which says nothing against the request.

    A 503 without a time to wait is none: gateways give it for one prompt that a server cannot stand.
    """
    return fault.status in (429, 529) or (fault.status == 503 and fault.retry_after is not None)


def is_about_the_request(fault: TransportFault) -> bool:
    """Tell whether a fault is clearly about one request: any answer of the server's own that is no error page.

    llama.cpp gives 500 with a message for one prompt while it serves all others; a gateway's 500 is a page.
    """
    if fault.kind in ("broken", "another_model"):
        return True
    message = fault.message.lstrip().lower()
    return fault.status == 500 and not message.startswith("<") and message not in ("", "no message")


def used_up_s(hints: RateHints | None) -> float | None:
    """Give the seconds until what a server says is used up is full again, null where nothing is."""
    if hints is None:
        return None
    resets = (
        reset
        for left, reset in (
            (hints.requests_left, hints.requests_reset_s),
            (hints.tokens_left, hints.tokens_reset_s),
        )
        if left is not None and left <= 0 and reset is not None
    )
    return max(resets, default=None)


def wait_asked(fault: TransportFault) -> float | None:
    """Give the seconds a server asks to be left alone, null if it does not ask.

    A 429 that names no time asks to wait for whatever it says is used up.
    """
    if fault.retry_after is None and fault.status == 429:
        return used_up_s(fault.hints)
    return fault.retry_after


def next_delay(
    fault: TransportFault, *, attempts: int, throttled: int, elapsed: float, rules: RetryRules, rng: Random
) -> float | None:
    """Give the seconds to wait before the next try of a call, null when it has had its last.

    `attempts` and `throttled` count the tries so far that ended in another fault and in being told to wait, `elapsed`
    is in seconds since the first began.
    """
    if attempts >= rules.attempts or throttled >= rules.throttled_attempts:
        return None
    doubled = rules.first_delay_s * 2.0 ** min(attempts + throttled - 1, 60)
    delay = rng.uniform(0.0, min(rules.longest_delay_s, doubled)) + (wait_asked(fault) or 0.0)
    return delay if elapsed + delay <= rules.give_up_after_s else None


def delay_while_failing(
    fault: TransportFault, *, tries: int, elapsed: float, rules: RetryRules, rng: Random
) -> float | None:
    """Give the seconds to wait before a call is tried again whose fault was the endpoint's, null if it has waited long.

    `tries` counts those so far. The wait is never longer than the pause between two probes, so that a call is at hand
    when the endpoint is to be probed; the time the endpoint may be down comes on top of what a call may take.
    """
    doubled = rules.first_delay_s * 2.0 ** min(tries - 1, 60)
    delay = rng.uniform(0.0, min(rules.longest_probe_s, doubled)) + (wait_asked(fault) or 0.0)
    return delay if elapsed + delay <= rules.give_up_after_s + rules.down_after_s else None
