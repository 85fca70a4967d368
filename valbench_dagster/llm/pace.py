"""The pace of an endpoint: how many requests and tokens a minute go out, where the roster bounds them.

Here belong the two buckets and the estimate of a call's tokens. Who waits, and what else may hold a call back, is
`gate.py`. Time comes from outside, as seconds that only grow.
"""

from valbench_dagster.llm.calls import Reply, Request
from valbench_dagster.llm.endpoint import EndpointSettings
from valbench_dagster.llm.reserve import output_limit

BYTES_PER_TOKEN = 4.0
"""Of a request's body, for an estimate that the reply's own count corrects: English has about as many."""

UNKNOWN_OUTPUT = 500
"""Tokens of a reply before the first has come, where no setting bounds it."""

_AS_GOOD_AS_FULL_S = 1e-6
"""A shortfall that is made up in less is none: what floats round away would else be waited for without end."""


class Bucket:
    """What may go out, refilled steadily; it holds one second's worth, and one unit at least.

    An amount passes when the bucket holds it, or is full where it can never hold so much: then it falls below zero, and
    what follows waits the longer. So over any time no more passes than was in it, plus what flowed in meanwhile, plus
    what one amount is larger than the bucket.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        if per_minute <= 0:
            raise ValueError(f"a pace is more than nothing a minute, not {per_minute}; null: no bound")
        self._per_second = per_minute / 60.0
        self._size = max(1.0, self._per_second)
        self._level = self._size
        self._at = now

    def shut_for(self, amount: float, now: float) -> float:
        """Give the seconds until so much may pass, 0 if now."""
        self._refill(now)
        lacking = (min(amount, self._size) - self._level) / self._per_second
        return lacking if lacking > _AS_GOOD_AS_FULL_S else 0.0

    def take(self, amount: float, now: float) -> None:
        """Let so much pass."""
        self._refill(now)
        self._level -= amount

    def correct(self, more: float) -> None:
        """Take what an estimate was too low by; less than nothing gives back."""
        self._level = min(self._size, self._level - more)

    def _refill(self, now: float) -> None:
        self._level = min(self._size, self._level + (now - self._at) * self._per_second)
        self._at = now


class Pace:
    """The requests and tokens a minute of one endpoint; with no bound on either it never waits."""

    def __init__(self, settings: EndpointSettings, now: float) -> None:
        requests, tokens = settings.requests_per_minute, settings.tokens_per_minute
        self._requests = None if requests is None else Bucket(requests, now)
        self._tokens = None if tokens is None else Bucket(tokens, now)
        self.bounded = self._requests is not None or self._tokens is not None
        self._replies = self._output = 0

    def estimate(self, request: Request, body: bytes) -> float:
        """Give the tokens that a call is likely to take, 0 where they are not bounded.

        The reply's are the mean of those so far; before the first its limit: a limit is often ten times what is said,
        and setting that aside would slow the endpoint to a tenth.
        """
        if self._tokens is None:
            return 0.0
        limit = output_limit(request.served.settings)
        if self._replies:
            mean = self._output / self._replies
            return len(body) / BYTES_PER_TOKEN + (mean if limit is None else min(mean, limit))
        return len(body) / BYTES_PER_TOKEN + (UNKNOWN_OUTPUT if limit is None else limit)

    def shut_for(self, tokens: float, now: float) -> float:
        """Give the seconds until a call of so many tokens may go out, 0 if now."""
        requests = 0.0 if self._requests is None else self._requests.shut_for(1.0, now)
        return requests if self._tokens is None else max(requests, self._tokens.shut_for(tokens, now))

    def take(self, tokens: float, now: float) -> None:
        """Let a call of so many tokens out."""
        if self._requests is not None:
            self._requests.take(1.0, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)

    def replied(self, estimated: float, reply: Reply) -> None:
        """Put what a reply took in place of what was estimated, where the server counts it."""
        if self._tokens is None or reply.output_tokens is None:
            return
        self._replies += 1
        self._output += reply.output_tokens
        if reply.input_tokens is not None:
            self._tokens.correct(reply.input_tokens + reply.output_tokens - estimated)
