"""Retrying: which faults are worth another try and after how long, and what stops a run.

Pure rules, with time and chance given from outside, so that tests wait for nothing. The rules look at one fault of one
call; what concerns a whole endpoint at once (holding it, fewer calls in flight) is `gate.py`.
"""

import asyncio
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Literal, Protocol

from valbench_dagster.llm.endpoint import TransportFault

Treatment = Literal["retry", "rejected", "fatal"]
"""`retry`: may pass; `rejected`: this one request is refused, others may not be; `fatal`: no call can succeed."""

_NO_QUOTA = "insufficient_quota"
_FIXES = {
    401: "check the key in the environment variable that key_env of [endpoint.{endpoint}] names",
    402: "the account has no credit left: top it up",
    403: "the key may not use this model or server: check key_env of [endpoint.{endpoint}] and the account's rights",
    404: "check base_url of [endpoint.{endpoint}] (it usually ends in /v1) and the model name {model!r}",
    407: "the proxy wants a login: check proxy of [endpoint.{endpoint}]",
    429: "the account's quota is used up: raise it, or wait as long as the server says",
}


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
    """Limits of retrying, for every endpoint.

    A call is tried `attempts` times at most, with 429 counted apart (`throttled_attempts`: being told to wait says
    nothing against the request), and no try is begun later than `give_up_after_s` after the first. The wait before the
    next try is drawn evenly from 0 to `first_delay_s`, doubled each time up to `longest_delay_s` (full jitter), on top
    of what the server asks for; a server that asks for more than `longest_hold_s` stops the run. `first_rejections` of
    a model without one reply before them stop it too. A 429 lets `cut` of the calls in flight go on being so, at most
    once in `cut_pause_s`.
    """

    attempts: int = 6
    throttled_attempts: int = 40
    give_up_after_s: float = 1800.0
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    longest_hold_s: float = 900.0
    first_rejections: int = 20
    cut: float = 0.8
    cut_pause_s: float = 15.0


class EndpointRefused(Exception):  # noqa: N818 - names what happened
    """An endpoint that makes going on pointless; the message says what it said and what to fix."""

    def __init__(self, endpoint: str, status: int | None, message: str) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.status = status


def treatment(fault: TransportFault) -> Treatment:
    """Say what a fault calls for.

    Retried: no connection, a broken one, a timeout, a body that is no reply, 408, 409, 425, 429, 5xx (a 5xx may be
    about one prompt: llama.cpp gives 500 for output that its grammar cannot hold). Fatal: redirects, 401, 402, 403,
    404, 405, 407, 410, and a 429 that says the quota is used up. Every other status is about the request: rejected.
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


def next_delay(
    fault: TransportFault, *, attempts: int, throttled: int, elapsed: float, rules: RetryRules, rng: Random
) -> float | None:
    """Give the seconds to wait before the next try of a call, null when it has had its last.

    `attempts` and `throttled` count the tries so far that ended in another fault and in 429, `elapsed` is in seconds
    since the first began.
    """
    if attempts >= rules.attempts or throttled >= rules.throttled_attempts:
        return None
    doubled = rules.first_delay_s * 2.0 ** min(attempts + throttled - 1, 60)
    delay = rng.uniform(0.0, min(rules.longest_delay_s, doubled)) + (fault.retry_after or 0.0)
    return delay if elapsed + delay <= rules.give_up_after_s else None


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read how long a server asks to be left alone: `retry-after-ms`, else `Retry-After` in seconds or as a date.

    Names are lower case. Seconds, never negative (a date that is past is 0); null where neither can be read.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            seconds = float(value) / unit
            return seconds if math.isfinite(seconds) else None
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):  # no date, or one beyond all calendars
        return None
    return max(0.0, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())


def refused(endpoint: str, model: str, fault: TransportFault) -> EndpointRefused:
    """Make the error for a fatal fault: endpoint, status, the server's message, what to fix."""
    fix = _FIXES.get(fault.status or 0, "check base_url of [endpoint.{endpoint}]")
    return EndpointRefused(
        endpoint,
        fault.status,
        f"endpoint {endpoint} refused a call to {model} ({fault}). To fix in the roster: "
        f"{fix.format(endpoint=endpoint, model=model)}; then run again, replies so far are kept.",
    )


def refused_from_the_start(endpoint: str, model: str, count: int, last: TransportFault) -> EndpointRefused:
    """Make the error for a model whose first replies are all rejections."""
    return EndpointRefused(
        endpoint,
        last.status,
        f"endpoint {endpoint} rejected the first {count} requests to {model}, the last with {last}. "
        f"Most often a setting in the roster that the model refuses (temperature, max_tokens, json_schema): leave it "
        f"out of the entry of {model}, then run again.",
    )


def held_too_long(endpoint: str, fault: TransportFault, rules: RetryRules) -> EndpointRefused:
    """Make the error for a server that asks for a longer pause than a run should wait."""
    return EndpointRefused(
        endpoint,
        fault.status,
        f"endpoint {endpoint} asks to be left alone for {fault.retry_after or 0.0:.0f} s, more than the "
        f"{rules.longest_hold_s:.0f} s a run waits ({fault}). Run again then: replies so far are kept.",
    )
