"""Requests and tokens a minute: what passes when, and what a call is taken to need."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.llm.calls import Reply
from valbench_dagster.llm.endpoint import EndpointSettings
from valbench_dagster.llm.pace import UNKNOWN_OUTPUT, Bucket, Pace
from valbench_dagster.llm.replies import read_reply
from valbench_dagster_tests.llm_fakes import (
    FakeClock,
    MemoryLedger,
    ScriptedTransport,
    asking,
    completion,
    question,
    request,
    says,
)


def pace(requests: int | None = None, tokens: int | None = None) -> Pace:
    settings = EndpointSettings("lab", "http://lab/v1", requests_per_minute=requests, tokens_per_minute=tokens)
    return Pace(settings, 0.0)


def replied(tokens: tuple[int, int]) -> Reply:
    return read_reply("chat", completion("yes", tokens=tokens))


def test_a_bucket_holds_one_second_and_refills_steadily() -> None:
    # 600 a minute are 10 a second: ten pass at once, the next after a tenth of a second, ten more after one.
    bucket = Bucket(600, 0.0)
    for _ in range(10):
        assert bucket.shut_for(1.0, 0.0) == 0.0
        bucket.take(1.0, 0.0)
    assert bucket.shut_for(1.0, 0.0) == pytest.approx(0.1)
    assert bucket.shut_for(1.0, 0.1) == 0.0
    assert bucket.shut_for(10.0, 0.1) == pytest.approx(0.9)
    assert bucket.shut_for(10.0, 5.0) == 0.0


def test_a_bucket_of_less_than_one_a_second_holds_one() -> None:
    bucket = Bucket(6, 0.0)
    bucket.take(1.0, 0.0)
    assert bucket.shut_for(1.0, 0.0) == pytest.approx(10.0)


def test_what_is_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_for_afterwards() -> None:
    # 60 a minute: the bucket holds 1. Five pass, which leaves -4: five seconds until it is full again.
    bucket = Bucket(60, 0.0)
    assert bucket.shut_for(5.0, 0.0) == 0.0
    bucket.take(5.0, 0.0)
    assert bucket.shut_for(5.0, 0.0) == pytest.approx(5.0)
    assert bucket.shut_for(0.5, 2.0) == pytest.approx(2.5)


@given(
    st.floats(1, 100_000),
    st.lists(st.tuples(st.floats(0.1, 5000), st.floats(0, 30)), min_size=1, max_size=60),
)
def test_over_no_time_does_more_pass_than_the_bucket_allows(
    per_minute: float, calls: list[tuple[float, float]]
) -> None:
    # Whoever waits as told. From any call to any later one: at most what the bucket held, what flowed in between, and
    # what one amount is larger than the bucket.
    bucket, now = Bucket(per_minute, 0.0), 0.0
    passed: list[tuple[float, float]] = []
    for amount, idle in calls:
        now += idle
        now += bucket.shut_for(amount, now)
        bucket.take(amount, now)
        passed.append((now, amount))
    size, rate = max(1.0, per_minute / 60), per_minute / 60
    for first, (begun, _) in enumerate(passed):
        total = 0.0
        for moment, amount in passed[first:]:
            total += amount
            larger = max(0.0, max(each for _, each in passed) - size)
            assert total <= (size + rate * (moment - begun) + larger) * (1 + 1e-6) + 1e-3


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="more than nothing"):
        Bucket(0, 0.0)


def test_an_endpoint_without_bounds_never_waits() -> None:
    free = pace()
    assert not free.bounded
    assert (free.estimate(request("a"), b"x" * 4000), free.shut_for(0.0, 0.0)) == (0.0, 0.0)


def test_a_call_is_taken_to_need_its_body_and_its_limit_until_replies_tell_more() -> None:
    # 4,000 bytes are about 1,000 tokens; the settings allow 100.
    bounded = pace(tokens=60_000)
    assert bounded.estimate(request("a"), b"x" * 4000) == 1100.0
    assert bounded.estimate(request("a", settings={"temperature": 0}), b"x" * 4000) == 1000.0 + UNKNOWN_OUTPUT
    for output in (10, 30):
        bounded.replied(0.0, replied((1000, output)))
    assert bounded.estimate(request("a"), b"x" * 4000) == 1020.0
    assert bounded.estimate(request("a", settings={"max_tokens": 5}), b"x" * 4000) == 1005.0


def test_the_replys_own_count_takes_the_place_of_the_estimate() -> None:
    # 60,000 a minute: the bucket holds 1,000. A call taken for 1,000 needed 400: 600 are left.
    bounded = pace(tokens=60_000)
    bounded.take(1000.0, 0.0)
    assert bounded.shut_for(600.0, 0.0) == pytest.approx(0.6)
    bounded.replied(1000.0, replied((300, 100)))
    assert bounded.shut_for(600.0, 0.0) == 0.0
    # One that needed more than it was taken for is paid for by those behind it.
    bounded.replied(0.0, replied((1500, 100)))
    assert bounded.shut_for(600.0, 0.0) == pytest.approx(1.6)


def test_a_reply_that_is_not_counted_leaves_the_estimate() -> None:
    bounded = pace(tokens=60_000)
    bounded.take(1000.0, 0.0)
    bounded.replied(1000.0, read_reply("chat", b'{"choices": [{"message": {"content": "yes"}}]}'))
    assert bounded.shut_for(1000.0, 0.0) == pytest.approx(1.0)


def test_requests_go_out_at_the_rate_that_the_roster_sets() -> None:
    # 120 a minute are two a second: two at once, then one each half second, however many places are free.
    clock, ledger = FakeClock(), MemoryLedger()
    transport = ScriptedTransport(says("yes"), clock, 50, requests_per_minute=120)
    asyncio.run(asking([question(f"q{number}") for number in range(6)], ledger, transport, clock))
    assert [round(time, 3) for time, _, _ in transport.sent] == [0.0, 0.0, 0.5, 1.0, 1.5, 2.0]


def test_tokens_go_out_at_the_rate_that_the_roster_sets() -> None:
    # Replies say 400 + 100 tokens; 6,000 a minute are 100 a second, a bucket of 100: each call is larger than it, and
    # in the long run one passes every five seconds.
    clock, ledger = FakeClock(), MemoryLedger()
    transport = ScriptedTransport(
        lambda _request, _number: completion("yes", tokens=(400, 100)), clock, 50, takes=0.1, tokens_per_minute=6000
    )
    asyncio.run(asking([question(f"q{number}") for number in range(21)], ledger, transport, clock))
    begun = [time for time, _, _ in transport.sent]
    assert 90.0 <= begun[-1] <= 101.0
