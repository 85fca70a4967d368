"""Which faults are tried again, how long a wait is, and what stops a run."""

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.llm.endpoint import FaultKind, TransportFault
from valbench_dagster.llm.retry import (
    RetryRules,
    held_too_long,
    next_delay,
    refused,
    refused_from_the_start,
    retry_after_seconds,
    treatment,
)

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
RULES = RetryRules()


def status(code: int, message: str = "said so", retry_after: float | None = None) -> TransportFault:
    return TransportFault("status", code, message, retry_after)


@pytest.mark.parametrize("kind", ["connection", "timeout", "broken"])
def test_what_never_reached_a_reply_is_tried_again(kind: FaultKind) -> None:
    assert treatment(TransportFault(kind, None, "gone")) == "retry"


@pytest.mark.parametrize("code", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_statuses_that_may_pass_are_tried_again(code: int) -> None:
    assert treatment(status(code)) == "retry"


@pytest.mark.parametrize("code", [400, 413, 422, 415, 451])
def test_statuses_about_the_request_reject_it(code: int) -> None:
    assert treatment(status(code)) == "rejected"


@pytest.mark.parametrize("code", [301, 307, 401, 402, 403, 404, 405, 407, 410])
def test_statuses_about_the_endpoint_stop_the_run(code: int) -> None:
    assert treatment(status(code)) == "fatal"


def test_a_429_for_want_of_quota_stops_the_run() -> None:
    assert treatment(status(429, "insufficient_quota: You exceeded your current quota")) == "fatal"


def delay(attempts: int, throttled: int = 0, elapsed: float = 0.0, fault: TransportFault | None = None) -> float | None:
    fault = fault or status(500)
    return next_delay(fault, attempts=attempts, throttled=throttled, elapsed=elapsed, rules=RULES, rng=Random(1))


def test_waiting_ends_with_the_attempts_the_throttlings_and_the_time() -> None:
    assert delay(5) is not None
    assert delay(6) is None
    assert delay(0, throttled=39) is not None
    assert delay(0, throttled=40) is None
    assert delay(1, elapsed=1799.0) is not None
    assert delay(1, elapsed=1800.0) is None


def test_being_throttled_uses_up_no_attempt() -> None:
    assert delay(5, throttled=30) is not None


# Full jitter: evenly between 0 and 1, 2, 4, 8, ... seconds, never more than 60.
@given(st.integers(1, 5), st.integers(0, 1_000_000))
def test_a_wait_is_drawn_from_nothing_up_to_the_doubled_delay(attempts: int, seed: int) -> None:
    drawn = next_delay(status(500), attempts=attempts, throttled=0, elapsed=0.0, rules=RULES, rng=Random(seed))
    assert drawn is not None
    assert 0.0 <= drawn <= 2.0 ** (attempts - 1)


@given(st.integers(1, 39), st.integers(0, 1_000_000))
def test_no_wait_is_longer_than_the_longest_on_top_of_what_the_server_asks(throttled: int, seed: int) -> None:
    fault = status(429, retry_after=5.0)
    drawn = next_delay(fault, attempts=0, throttled=throttled, elapsed=0.0, rules=RULES, rng=Random(seed))
    assert drawn is not None
    assert 5.0 <= drawn <= 65.0


def test_the_same_seed_draws_the_same_wait() -> None:
    assert delay(3) == delay(3)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 13:00:30 +0100"}, 30.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_seconds_milliseconds_and_as_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_brings_the_reader_down(value: str) -> None:
    seconds = retry_after_seconds({"retry-after": value}, NOW)
    assert seconds is None or seconds >= 0.0


def test_errors_name_the_endpoint_the_status_the_message_and_the_fix() -> None:
    error = refused("vllm", "gemma", status(401, "invalid_api_key: Incorrect API key"))
    assert (error.endpoint, error.status) == ("vllm", 401)
    for part in ("endpoint vllm", "HTTP 401", "Incorrect API key", "key_env of [endpoint.vllm]"):
        assert part in str(error)
    assert "model name 'gemma'" in str(refused("vllm", "gemma", status(404, "no such model")))
    assert "base_url of [endpoint.vllm]" in str(refused("vllm", "gemma", status(301, "moved")))
    assert "first 20 requests to gemma" in str(refused_from_the_start("vllm", "gemma", 20, status(400, "no")))
    assert "86400 s" in str(held_too_long("vllm", status(429, "tomorrow", 86_400.0), RULES))
