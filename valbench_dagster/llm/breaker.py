"""The breaker of an endpoint: whether a fault is one call's or the endpoint's, and whether the endpoint is down.

Here belongs what an endpoint that stops answering does to all calls: their tries are not counted, one at a time goes
out to see whether it is back, and in the end the run stops with everything stored. What a fault means for its own call
is `retry.py`, who waits at the door `gate.py`.
"""

import math
from dataclasses import dataclass
from typing import Literal

from valbench_dagster.llm.endpoint import TransportFault
from valbench_dagster.llm.retry import RetryRules, is_about_the_request

FAULTS_THAT_TRIP = 10
"""Faults of an endpoint without an answer between them after which only probes go out; fewer where fewer calls fit."""

Blame = Literal["call", "endpoint"]

Verdict = Literal["wait", "give_up", "not_there", "down"]
"""`wait`: try again; `give_up`: this one call fails, nothing else does; `not_there`: nothing listens, from the start;
`down`: the endpoint has been failing too long."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How things stood when a try went out: how many answers there had been, and whether it is a probe."""

    answers: int
    probe: bool = False


class Breaker:
    """Watches the answers and faults of one endpoint. An answer is any word of the server that it is at work."""

    def __init__(self, concurrency: int, rules: RetryRules) -> None:
        self._trips_at = min(FAULTS_THAT_TRIP, concurrency)
        self._rules = rules
        self._answers = 0
        self._unreachable = 0
        self._faults = 0
        self._since = 0.0
        self._only_slow = True
        self._requests: set[str] = set()
        self._said = ""
        self._probing = False
        self._pause = rules.first_probe_s
        self._next_probe_at = 0.0

    @property
    def failing(self) -> str | None:
        """The last fault while only probes go out, else null."""
        return self._said if self._faults >= self._trips_at else None

    def shut_for(self, now: float) -> float:
        """Give the seconds until a try may go out: 0 if now, infinity while a probe is out."""
        if self._faults < self._trips_at:
            return 0.0
        return math.inf if self._probing else max(0.0, self._next_probe_at - now)

    def begin(self) -> Mark:
        """Take note of a try that goes out."""
        probe = self._faults >= self._trips_at
        self._probing = self._probing or probe
        return Mark(self._answers, probe)

    def end(self, mark: Mark, now: float) -> None:
        """Take note that a try has ended, in whatever way."""
        if mark.probe:
            self._probing = False
            self._next_probe_at = now + self._pause

    def answered(self) -> bool:
        """Take note of an answer: all is well. Tells whether only probes went out before."""
        self._answers += 1
        if not self._faults:
            return False
        was_failing = self._faults >= self._trips_at
        self._faults = 0
        self._only_slow = True
        self._requests.clear()
        self._pause = self._rules.first_probe_s
        return was_failing

    def faulted(self, mark: Mark, fingerprint: str, fault: TransportFault, now: float) -> Blame:
        """Take note of a fault without an answer of the server, and say whose it is.

        The call's if it is clearly about the request or the endpoint gave an answer to another call while this try was
        out; else the endpoint's.
        """
        if is_about_the_request(fault) or self._answers > mark.answers:
            return "call"
        if not self._faults:
            self._since = now
        self._faults += 1
        self._said = str(fault)
        self._only_slow = self._only_slow and fault.kind == "timeout"
        self._unreachable += fault.kind == "unreachable"
        # Few are enough to tell one request from many.
        if len(self._requests) < FAULTS_THAT_TRIP:
            self._requests.add(fingerprint)
        if mark.probe:
            self._pause = min(self._rules.longest_probe_s, self._pause * 2.0)
        elif self._faults == self._trips_at:
            self._next_probe_at = now + self._pause
        return "endpoint"

    def failing_for(self, now: float) -> float:
        """Give the seconds since the first fault that no answer followed, 0 where there is none."""
        return now - self._since if self._faults else 0.0

    def verdict(self, now: float) -> Verdict:
        """Say what a call is to do whose fault was the endpoint's.

        One request that fails for ever is its own affair, and two that time out may just be long; two that find no
        connection are not.
        """
        if not self._answers and self._unreachable >= self._rules.first_unreachable:
            return "not_there"
        if self.failing_for(now) < self._rules.down_after_s:
            return "wait"
        if len(self._requests) == 1:
            return "give_up"
        enough = max(2, self._trips_at) if self._only_slow else 2
        return "down" if len(self._requests) >= enough else "wait"
