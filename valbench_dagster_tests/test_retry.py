"""Which faults are tried again, how long a wait is, and what is said of those that stop a run."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.llm.endpoint import FaultKind, RateHints, TransportFault
from valbench_dagster.llm.retry import (
    RetryRules,
    delay_while_failing,
    is_about_the_request,
    is_overload,
    is_told_to_wait,
    next_delay,
    treatment,
    used_up_s,
    wait_asked,
)
from valbench_dagster.llm.stops import (
    answers_as_another,
    failed_in_a_row,
    held_too_long,
    not_there,
    refused,
    refused_from_the_start,
    went_down,
)
from valbench_dagster_tests.llm_fakes import status

RULES = RetryRules()


@pytest.mark.parametrize("kind", ["unreachable", "connection", "timeout", "broken", "another_model"])
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


@pytest.mark.parametrize(
    ("fault", "overload", "told_to_wait"),
    [
        (status(429), True, True),
        (status(529, "overloaded_error"), True, True),
        (status(503, "busy", 5.0), True, True),
        (status(503, "no healthy upstream"), True, False),
        (status(500), False, False),
        (TransportFault("timeout", None, "slow"), False, False),
    ],
)
def test_overload_and_being_told_to_wait_are_known_by_their_status(
    fault: TransportFault, overload: bool, told_to_wait: bool
) -> None:
    assert (is_overload(fault), is_told_to_wait(fault)) == (overload, told_to_wait)


def test_a_500_is_about_the_request_if_the_server_says_something_and_not_if_it_is_a_page() -> None:
    assert is_about_the_request(status(500, "output does not match the expected peg-native format"))
    for page in ("<html><body>Internal Server Error</body></html>", "\n<!DOCTYPE html>", "no message", ""):
        assert not is_about_the_request(status(500, page))
    assert not is_about_the_request(status(502, "bad gateway"))


@pytest.mark.parametrize(
    ("hints", "seconds"),
    [
        (None, None),
        (RateHints(), None),
        (RateHints(requests_left=0), None),
        (RateHints(requests_left=0, requests_reset_s=6.0), 6.0),
        (RateHints(requests_left=1, requests_reset_s=6.0), None),
        (RateHints(requests_left=0, requests_reset_s=6.0, tokens_left=0, tokens_reset_s=9.0), 9.0),
        (RateHints(requests_left=5, requests_reset_s=60.0, tokens_left=0, tokens_reset_s=9.0), 9.0),
    ],
)
def test_what_is_used_up_is_waited_for(hints: RateHints | None, seconds: float | None) -> None:
    assert used_up_s(hints) == seconds
    assert wait_asked(status(429, hints=hints)) == seconds
    assert wait_asked(status(429, retry_after=1.0, hints=hints)) == 1.0
    assert wait_asked(status(500, hints=hints)) is None


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


@given(st.integers(1, 1000), st.integers(0, 1_000_000))
def test_while_an_endpoint_fails_calls_are_never_further_away_than_a_probe(tries: int, seed: int) -> None:
    # However many tries: they are not counted. The time it may be down comes on top of what a call may take.
    rng = Random(seed)
    drawn = delay_while_failing(status(502), tries=tries, elapsed=2000.0, rules=RULES, rng=rng)
    assert drawn is not None
    assert 0.0 <= drawn <= min(15.0, 2.0 ** (min(tries, 60) - 1))
    assert delay_while_failing(status(502), tries=tries, elapsed=2101.0, rules=RULES, rng=rng) is None


def test_the_same_seed_draws_the_same_wait() -> None:
    assert delay(3) == delay(3)


def test_errors_name_the_endpoint_the_status_the_message_and_the_fix() -> None:
    error = refused("vllm", "gemma", status(401, "invalid_api_key: Incorrect API key"))
    assert (error.endpoint, error.status) == ("vllm", 401)
    for part in ("endpoint vllm", "HTTP 401", "Incorrect API key", "key_env of [endpoint.vllm]"):
        assert part in str(error)
    assert "model name 'gemma'" in str(refused("vllm", "gemma", status(404, "no such model")))
    assert "base_url of [endpoint.vllm]" in str(refused("vllm", "gemma", status(301, "moved")))
    assert "first 20 requests to gemma" in str(refused_from_the_start("vllm", "gemma", 20, status(400, "no")))
    assert "1,000 calls to gemma in a row" in str(failed_in_a_row("vllm", "gemma", 1000, status(500, "dead")))
    assert "86400 s" in str(held_too_long("vllm", status(429, "tomorrow"), 86_400.0, 900.0))
    gone = TransportFault("unreachable", None, "connection refused")
    assert "base_url of [endpoint.vllm]" in str(not_there("vllm", gone))
    assert "answers_as" in str(
        answers_as_another("vllm", "gemma", TransportFault("another_model", None, "answers as x"))
    )


@pytest.mark.parametrize(
    ("seconds", "span"), [(20.0, "20 seconds"), (60.0, "1 minute"), (300.0, "5 minutes"), (330.4, "6 minutes")]
)
def test_how_long_an_endpoint_was_down_is_said_in_plain_words(seconds: float, span: str) -> None:
    said = str(went_down("vllm", seconds, status(502, "bad gateway"), "17,233 of 22,950 done"))
    assert said == (
        f"endpoint vllm has been down for {span} (HTTP 502: bad gateway): 17,233 of 22,950 done, replies so far are "
        f"kept; run again to go on"
    )
