"""The estimate: few known calls speak for many, in tokens, money and time; without any, named defaults do."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.llm.calls import Prices, ServedModel
from valbench_dagster.llm.estimate import (
    REASONING_TOKENS,
    REPLY_TOKENS,
    STRUCTURED_TOKENS,
    CallSample,
    Estimate,
    Load,
    Pace,
    calibrate,
    calibrated,
    estimate,
    uncalibrated,
)
from valbench_dagster_tests.llm_fakes import completion, request, stored

PRICES = Prices(2.0, 10.0)
PACE = Pace(concurrency=10)


def served(**settings: object) -> ServedModel:
    return ServedModel("lab", "lab", "chat", "m", 1, settings)


def sample(written: int, *, read: int = 100, size: int = 500, latency: float = 2.0, batch: bool = False) -> CallSample:
    return CallSample(size, read, written, 0, latency, structured=False, batch=batch)


class ScriptedSamples:
    """A ledger with replies by fact and asker; notes what it was asked for."""

    def __init__(self, found: dict[tuple[str | None, str | None], list[CallSample]]) -> None:
        self._found = found
        self.asked: list[tuple[str | None, str | None]] = []

    def samples(
        self, provider: str, model: str, limit: int, *, fact: str | None = None, asker: str | None = None
    ) -> list[CallSample]:
        assert (provider, model) == ("lab", "m")
        self.asked.append((fact, asker))
        return self._found.get((fact, asker), [])[:limit]


def test_replies_speak_for_others_of_their_kind() -> None:
    # Mean 200; squares of the deviations 10000 + 2500 + 0 + 2500 + 10000 = 25000, over 4: 6250, whose root is 79.06.
    # Nine tenths of the way from the first to the last of five: 0.9 x 4 = 3.6 steps of 50 above 100.
    known = calibrated([sample(written) for written in (100, 150, 200, 250, 300)], "x")
    assert (known.samples, known.reply_tokens, known.reply_tokens_p90) == (5, 200, 280)
    assert known.deviation == pytest.approx(79.0569, abs=1e-4)
    assert known.tokens_per_byte == 0.2  # 100 tokens of 500 bytes
    assert known.latency == 2.0


def test_reasoning_is_no_text_that_a_judge_would_read() -> None:
    replies = [CallSample(500, 100, 900, 700, 1.0, structured=False)] * 5
    assert calibrated(replies, "x").text_tokens == 200


def test_how_long_a_batch_took_says_nothing_of_a_call() -> None:
    assert calibrated([sample(10, latency=80_000, batch=True)] * 5 + [sample(10, latency=3)], "x").latency == 3
    assert calibrated([sample(10, batch=True)] * 5, "x").latency is None


def test_the_cost_of_calibrated_calls_by_hand() -> None:
    known = calibrated([sample(written) for written in (100, 150, 200, 250, 300)], "x")
    made = estimate(Load(1000, 400_000, 9), known, PRICES, PACE)
    # 400,000 bytes are 80,000 tokens, 1,000 replies 200,000: 0.16 + 2.00.
    assert (made.calls, made.input_tokens, made.output_tokens, made.tokens) == (1000, 80_000, 200_000, 280_000)
    assert made.cost == pytest.approx(2.16)
    # 2 x 79.0569 x root(1000 + 1000^2 / 5) = 158.1139 x 448.3302 = 70,887 tokens more or less: 0.70887.
    assert (made.cost_low, made.cost_high) == pytest.approx((1.45113, 2.86887), abs=1e-4)
    # 1,000 calls of 2 s, 10 at once.
    assert made.seconds == 200


def test_more_replies_known_make_the_range_narrower() -> None:
    few = calibrated([sample(100), sample(300)] * 5, "x")
    many = calibrated([sample(100), sample(300)] * 500, "x")
    wide, narrow = (estimate(Load(1000, 1, 1), known, PRICES, PACE) for known in (few, many))
    assert wide.cost_high - wide.cost_low > 5 * (narrow.cost_high - narrow.cost_low)


def test_without_any_reply_four_characters_are_a_token_and_the_range_is_wide() -> None:
    nothing = uncalibrated(served(), structured=False)
    made = estimate(Load(10, 99_999, 4000), nothing, PRICES, PACE)
    assert (made.input_tokens, made.output_tokens) == (1000, 10 * REPLY_TOKENS)
    assert (made.cost_low, made.cost_high) == (made.cost / 2, made.cost * 2)
    assert made.seconds is None
    assert "not calibrated" in nothing.basis


@pytest.mark.parametrize(
    ("settings", "structured", "tokens", "text"),
    [
        ({}, True, STRUCTURED_TOKENS, STRUCTURED_TOKENS),
        ({"max_tokens": 50}, False, 50, 50),
        ({"reasoning_effort": "high"}, False, REPLY_TOKENS + REASONING_TOKENS, REPLY_TOKENS),
        ({"reasoning": {"effort": "low"}, "max_output_tokens": 2000}, False, 2000, REPLY_TOKENS),
    ],
)
def test_defaults_follow_what_the_settings_allow(
    settings: dict[str, object], structured: bool, tokens: int, text: int
) -> None:
    nothing = uncalibrated(served(**settings), structured=structured)
    assert (nothing.reply_tokens, nothing.text_tokens) == (tokens, text)


@pytest.mark.parametrize(
    ("pace", "seconds"),
    [
        (Pace(100), 20),  # 1,000 calls of 2 s, 100 at once
        (Pace(100, requests_per_minute=600), 100),  # 1,000 calls at 10 a second
        (Pace(100, tokens_per_minute=60_000), 300),  # 300,000 tokens at 1,000 a second
        (Pace(5000), 2),  # all at once: they still take their time
        (Pace(100, batch=True), None),
    ],
)
def test_time_is_that_of_the_narrowest_bound(pace: Pace, seconds: float | None) -> None:
    known = calibrated([sample(100, read=200)] * 5, "x")
    assert estimate(Load(1000, 500_000, 1), known, PRICES, pace).seconds == seconds


def test_no_calls_take_nothing() -> None:
    assert estimate(Load(), uncalibrated(served(), structured=True), PRICES, PACE) == Estimate()


def test_the_nearest_kind_of_which_there_are_enough_is_taken() -> None:
    near, far = [sample(1)] * 4, [sample(9)] * 5
    ledger = ScriptedSamples({("responses", "x"): near, ("responses", None): far})
    known = calibrate(ledger, served(), structured=False, fact="responses", asker="x")
    assert known.basis == "5 replies of m to `responses`"
    assert ledger.asked == [("responses", "x"), ("responses", None)]


def test_replies_with_a_schema_say_nothing_of_those_without() -> None:
    free = [sample(500)] * 50
    held = [CallSample(500, 100, 70, 0, 1.0, structured=True)] * 50
    ledger = ScriptedSamples({(None, None): free + held})
    assert calibrate(ledger, served(), structured=True, fact="issues").reply_tokens == 70
    assert calibrate(ledger, served(), structured=False, fact="responses").reply_tokens == 500
    assert calibrate(ScriptedSamples({}), served(), structured=False, fact="responses").samples == 0


lengths = st.lists(st.integers(0, 5000), min_size=5, max_size=40)


@given(lengths, st.integers(1, 10**6), st.integers(0, 10**9))
def test_a_cost_lies_within_its_range_and_none_is_negative(written: list[int], calls: int, size: int) -> None:
    known = calibrated([sample(each) for each in written], "x")
    made = estimate(Load(calls, size, size), known, PRICES, PACE)
    assert 0 <= made.cost_low <= made.cost <= made.cost_high
    assert made.seconds is not None
    assert made.seconds >= 2


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5), st.integers(1, 100))
def test_estimates_add_up(numbers: list[int], rate: int) -> None:
    known = calibrated([sample(100)] * 5, "x")
    one_by_one = [estimate(Load(number, number * 500), known, PRICES, Pace(rate)) for number in numbers]
    total = sum(one_by_one, Estimate())
    assert total.calls == sum(numbers)
    assert total.output_tokens == 100 * sum(numbers)
    assert total.seconds == pytest.approx(sum(made.seconds or 0 for made in one_by_one))
    assert (total + estimate(Load(1), uncalibrated(served(), structured=True), PRICES, PACE)).seconds is None


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    with SqlLedger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened


def fill(ledger: SqlLedger, *changes: dict[str, Any]) -> None:
    async def append() -> None:
        for number, change in enumerate(changes):
            reply = None if change.get("kind") == "failed" else completion("x")
            fields: dict[str, Any] = {"request": b"x" * 300, "step": "responses/s/opposed", **change}
            await ledger.append(stored(request(str(number)), reply, **fields))

    asyncio.run(append())


def test_samples_are_the_newest_replies_of_the_model_whose_tokens_are_known(ledger: SqlLedger) -> None:
    fill(
        ledger,
        {"output_tokens": 1},
        {"output_tokens": 2, "reasoning_tokens": 1, "schema_mode": "json_schema", "batch": "b1", "latency": 9.0},
        {"output_tokens": None},
        {"input_tokens": None},
        {"kind": "failed"},
        {"provider": "other"},
        {"model": "other"},
        {"output_tokens": 3},
    )
    assert ledger.samples("lab", "m", 10) == [
        CallSample(300, 10, 3, 0, 0.5, structured=False),
        CallSample(300, 10, 2, 1, 9.0, structured=True, batch=True),
        CallSample(300, 10, 1, 0, 0.5, structured=False),
    ]
    assert [found.output_tokens for found in ledger.samples("lab", "m", 2)] == [3, 2]
    assert ledger.samples("lab", "nobody", 2) == []


def test_samples_are_kept_by_fact_and_asker_to_the_letter(ledger: SqlLedger) -> None:
    steps = ["responses/s/a_b", "responses/s/axb", "verdicts/s/a_b/j", "responses2/s/a_b", "issues/s", None]
    fill(ledger, *({"step": step, "output_tokens": number} for number, step in enumerate(steps)))

    def found(fact: str | None, asker: str | None) -> list[int]:
        return [each.output_tokens for each in ledger.samples("lab", "m", 10, fact=fact, asker=asker)]

    assert found("responses", None) == [1, 0]
    assert found("responses", "a_b") == [0]
    assert found("verdicts", "j") == [2]
    assert found("issues", None) == [4]
    assert found(None, None) == [5, 4, 3, 2, 1, 0]
