"""The estimate: what the calls of a step will probably take, in tokens, money and time.

Pure. Here belong the rules by which a few known calls speak for many unknown ones. The most that one call can cost is
`reserve.py`; which calls a step will make is for the steps to say.

Tokens are not counted by a tokenizer. A vocabulary belongs to a model, and no library holds more than a few: tiktoken
fetches its own when it is first used, and the one package that carries those of OpenAI's models (40 MB) counts for no
others. Counted by it, the prompts of the bundled sample have 3.9 to 4.5 characters a token; so four is within an eighth
of it, and from the first replies on the ledger knows better, for every model, schema and chat template.

Not foreseen: calls that are made again because a reply was faulty.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles, stdev
from typing import Protocol

from valbench_dagster.llm.calls import Prices, ServedModel
from valbench_dagster.llm.reserve import output_limit

CHARACTERS_PER_TOKEN = 4.0
"""Of English prose."""

REPLY_TOKENS = 400
"""Of a reply that no schema bounds: the paper asks for one or two paragraphs (A.3, Table 7), 100 to 300 words."""

STRUCTURED_TOKENS = 300
"""Of a reply held to a schema: the annotator's, writer's and judge's have a few fields of a sentence or two each."""

REASONING_TOKENS = 4096
"""Of the reasoning that comes before a reply, where the settings ask for it: the paper's budget (A.3, Table 7)."""

FACTOR = 2.0
"""How many times more, or less, an estimate may turn out to be that rests on no reply at all."""

ENOUGH = 5
"""Replies from which on the mean of them is taken instead of a default."""

DEVIATIONS = 2.0
"""Standard deviations between an estimate and either end of its range: 19 of 20 stay within."""

AT_MOST = 1000
"""Replies that are looked at for one step, the newest."""


@dataclass(frozen=True, slots=True)
class CallSample:
    """What a stored reply tells of its kind: bytes of the request's body, tokens, and seconds that it took.

    `reasoning_tokens` are among the output's, 0 where the server does not tell.
    """

    request_bytes: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    latency: float
    structured: bool
    batch: bool = False


class CallSamples(Protocol):
    """What the estimate needs of a ledger."""

    def samples(
        self, provider: str, model: str, limit: int, *, fact: str | None = None, asker: str | None = None
    ) -> list[CallSample]:
        """Give the newest replies of a model whose tokens the server counted, at most `limit`.

        `fact` keeps those that were made for that fact table, `asker` those whose step ends in that name (a respondent
        or judge of the roster).
        """
        ...


@dataclass(frozen=True, slots=True)
class Calibration:
    """What calls of a kind are like: tokens by the bytes of a request's body, tokens of a reply, and seconds.

    `samples` is 0 where nothing is known: then `tokens_per_byte` is of the messages' characters alone, and `latency`
    is null. `text_tokens` are those of a reply that are no reasoning, `deviation` is of single replies. `basis` says
    for people where it comes from.
    """

    samples: int
    tokens_per_byte: float
    reply_tokens: float
    deviation: float
    reply_tokens_p90: float
    text_tokens: float
    latency: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class Load:
    """The calls to be made of one kind: how many, the bytes of their bodies, the characters of their messages."""

    calls: int = 0
    body_bytes: int = 0
    characters: int = 0

    def __add__(self, other: "Load") -> "Load":
        """Put two together."""
        return Load(self.calls + other.calls, self.body_bytes + other.body_bytes, self.characters + other.characters)

    def times(self, share: float) -> "Load":
        """Give the load of a share, or a multiple, of these calls."""
        return Load(round(self.calls * share), round(self.body_bytes * share), round(self.characters * share))


@dataclass(frozen=True, slots=True)
class Pace:
    """What bounds the speed of an endpoint: calls at once, requests and tokens a minute (null: no bound).

    Through a batch calls take as long as the provider likes.
    """

    concurrency: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """What calls will probably take; `cost_low` and `cost_high` are the range in which the cost should lie.

    Money is in the currency of the roster's prices. `seconds` is null where nothing tells how long calls take, 0
    without calls. Calls, tokens and costs add up; seconds do too where one is made after the other.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    cost_low: float = 0.0
    cost_high: float = 0.0
    seconds: float | None = 0.0

    @property
    def tokens(self) -> int:
        """Those of prompts and replies together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Estimate") -> "Estimate":
        """Add two, one made after the other."""
        return Estimate(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=self.cost + other.cost,
            cost_low=self.cost_low + other.cost_low,
            cost_high=self.cost_high + other.cost_high,
            seconds=None if self.seconds is None or other.seconds is None else self.seconds + other.seconds,
        )


def calibrate(
    ledger: CallSamples, served: ServedModel, *, structured: bool, fact: str, asker: str | None = None
) -> Calibration:
    """Find out what calls of a step are like: by its own earlier replies, else by those nearest to them.

    Looked for in turn, until `ENOUGH` are found: replies of the model to the same fact and asker, to the same fact,
    and any that are held to a schema, or not, as these will be. Else nothing is known and the defaults hold.
    """
    nearest: list[tuple[str, str | None, str | None]] = [(f"to `{fact}` as {asker}", fact, asker)] if asker else []
    nearest += [(f"to `{fact}`", fact, None), ("with a schema" if structured else "without a schema", None, None)]
    for what, of_fact, of_asker in nearest:
        found = ledger.samples(served.provider, served.model, AT_MOST, fact=of_fact, asker=of_asker)
        alike = [sample for sample in found if sample.structured == structured]
        if len(alike) >= ENOUGH:
            return calibrated(alike, f"{len(alike)} replies of {served.model} {what}")
    return uncalibrated(served, structured=structured)


def calibrated(samples: Sequence[CallSample], basis: str) -> Calibration:
    """Let replies (two at least) speak for others of their kind."""
    tokens = [sample.output_tokens for sample in samples]
    latencies = [sample.latency for sample in samples if not sample.batch]
    return Calibration(
        samples=len(samples),
        tokens_per_byte=sum(sample.input_tokens for sample in samples)
        / max(1, sum(sample.request_bytes for sample in samples)),
        reply_tokens=fmean(tokens),
        deviation=stdev(tokens),
        reply_tokens_p90=quantiles(tokens, n=10, method="inclusive")[-1],
        text_tokens=fmean(sample.output_tokens - sample.reasoning_tokens for sample in samples),
        latency=fmean(latencies) if latencies else None,
        basis=basis,
    )


def uncalibrated(served: ServedModel, *, structured: bool) -> Calibration:
    """Give the defaults: four characters a token, and replies as long as they usually are, or may be."""
    limit = output_limit(served.settings)
    reasons = any(name in served.settings for name in ("reasoning", "reasoning_effort"))
    text = STRUCTURED_TOKENS if structured else REPLY_TOKENS
    tokens = text + REASONING_TOKENS * reasons
    if limit is not None:
        text, tokens = min(text, limit), min(tokens, limit)
    return Calibration(
        samples=0,
        tokens_per_byte=1 / CHARACTERS_PER_TOKEN,
        reply_tokens=tokens,
        deviation=0.0,
        reply_tokens_p90=tokens * FACTOR,
        text_tokens=text,
        latency=None,
        basis=f"not calibrated: {CHARACTERS_PER_TOKEN:g} characters a token, {tokens} tokens a reply",
    )


def estimate(load: Load, calibration: Calibration, prices: Prices, pace: Pace) -> Estimate:
    """Say what calls will probably take.

    The range of the cost is that of a sum of as many replies as there are calls, from a mean that is itself known from
    `samples` of them; without any it is `FACTOR` times more or less.
    """
    if load.calls == 0:
        return Estimate()
    known = calibration.samples
    read = round((load.body_bytes if known else load.characters) * calibration.tokens_per_byte)
    written = load.calls * calibration.reply_tokens
    cost = prices.cost(read, round(written))
    if known:
        off = DEVIATIONS * calibration.deviation * math.sqrt(load.calls + load.calls**2 / known)
        low, high = (prices.cost(read, round(max(0.0, written + change))) for change in (-off, off))
    else:
        low, high = cost / FACTOR, cost * FACTOR
    return Estimate(
        calls=load.calls,
        input_tokens=read,
        output_tokens=round(written),
        cost=cost,
        cost_low=low,
        cost_high=high,
        seconds=_seconds(load.calls, read + written, calibration.latency, pace),
    )


def _seconds(calls: int, tokens: float, latency: float | None, pace: Pace) -> float | None:
    """Divide calls by the smallest of the rates that bound them; null where their latency is not known."""
    if latency is None or pace.batch:
        return None
    # The last calls end a latency after they begin, however many are made at once.
    seconds = [max(calls / pace.concurrency, 1.0) * latency]
    if pace.requests_per_minute:
        seconds.append(60 * calls / pace.requests_per_minute)
    if pace.tokens_per_minute:
        seconds.append(60 * tokens / pace.tokens_per_minute)
    return max(seconds)
