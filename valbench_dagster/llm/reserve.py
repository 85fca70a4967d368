"""The reserve: the most that one call can cost, set aside before it is made.

Here belong the bounds on a prompt's and a reply's tokens, and what replies teach of them. Whether there is room for a
reserve is `budget.py`; what a call is likely to cost, far less, is `estimate.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.ledger import FinishedCall

BYTES_PER_TOKEN = 3.0
"""Bytes of a request's body that make one token at least: English and most other prose has more, so that what is set
aside is rather too much than too little. A model that turns out to need fewer is taken at its word."""

INPUT_OVERHEAD = 100
"""Tokens of a prompt that no body shows: a chat template's own."""

OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""The settings that bound a reply."""

UNLIMITED_OUTPUT = 4096
"""Output tokens set aside where no setting bounds a reply and none seen was longer: the paper's limit for chat models
(A.3, Table 7)."""

MARGIN = 1.5
"""How many times the longest reply seen is set aside where no setting bounds it."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """What is set aside for a call in flight: the most it can cost, and how many of its tokens are the prompt's."""

    cost: float
    tokens: int
    input_tokens: int = 0


class Reserves:
    """What is to be set aside for each call of one run."""

    def __init__(self) -> None:
        self._bytes_per_token: dict[tuple[str, str], float] = {}
        self._longest: dict[tuple[str, str], int] = {}

    def most_of(self, request: Request, body: bytes) -> Reserved:
        """Give the most that a call can cost at the prices of its model, cached tokens taken at no less than others."""
        served = request.served
        prices, model = served.prices, (served.provider, served.model)
        read = input_tokens_at_most(len(body), self._bytes_per_token.get(model, BYTES_PER_TOKEN))
        limit = output_limit(served.settings)
        if limit is None:
            limit = max(UNLIMITED_OUTPUT, int(self._longest.get(model, 0) * MARGIN))
        price_in = max(prices.tokens_in, prices.cached_in or 0.0)
        return Reserved((read * price_in + limit * prices.tokens_out) / 1_000_000, read + limit, read)

    def learn(self, call: FinishedCall) -> None:
        """Take note of a reply that was longer, or whose prompt had more tokens, than those of its model before."""
        model = (call.provider, call.model)
        if call.input_tokens is not None and call.input_tokens > INPUT_OVERHEAD:
            dense = len(call.request) / (call.input_tokens - INPUT_OVERHEAD)
            if dense < self._bytes_per_token.get(model, BYTES_PER_TOKEN):
                self._bytes_per_token[model] = dense
        if call.output_tokens is not None and call.output_tokens > self._longest.get(model, 0):
            self._longest[model] = call.output_tokens


def input_tokens_at_most(body_bytes: int, bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """Give the most tokens that the prompt of a request may have whose body is so many bytes."""
    return int(body_bytes / bytes_per_token) + INPUT_OVERHEAD + 1


def output_limit(settings: Mapping[str, Any]) -> int | None:
    """Give the most tokens a reply may have by a model's settings, those of all `n` choices; null: no limit.

    Of several limits the largest counts: servers differ in which they heed.
    """
    limits = [value for name in OUTPUT_LIMITS if isinstance(value := settings.get(name), int)]
    choices = settings.get("n")
    return max(limits) * (choices if isinstance(choices, int) else 1) if limits else None
