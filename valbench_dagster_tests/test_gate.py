"""How many calls are let in at once, in what order, and when none is."""

import asyncio
from itertools import pairwise

import pytest

from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.dispatcher import EndpointRefused, Progress
from valbench_dagster.llm.endpoint import EndpointSettings, RateHints, Received
from valbench_dagster.llm.gate import Gate
from valbench_dagster.llm.retry import RetryRules
from valbench_dagster_tests.llm_fakes import (
    FakeClock,
    MemoryLedger,
    ScriptedTransport,
    Step,
    ask,
    asking,
    completion,
    question,
    request,
    status,
)

RULES = RetryRules()


def gate(concurrency: int, clock: FakeClock, rules: RetryRules = RULES) -> Gate:
    return Gate(EndpointSettings("lab", "http://lab/v1", concurrency=concurrency), rules, clock)


def test_a_gate_narrows_once_per_episode_and_widens_with_replies() -> None:
    clock = FakeClock()
    door = gate(100, clock)
    for _ in range(50):
        door.overloaded()
    assert door.limit == 80
    clock.time += RULES.cut_pause_s
    door.overloaded()
    assert door.limit == 64
    # 64 replies add a twentieth of 100, then 69 more the next.
    for _ in range(64):
        door.replied()
    assert door.limit == 69
    for _ in range(10_000):
        door.replied()
    assert door.limit == 100


def test_a_gate_never_closes_for_good() -> None:
    clock = FakeClock()
    door = gate(2, clock)
    for _ in range(20):
        door.overloaded()
        clock.time += RULES.cut_pause_s
    assert door.limit == 1
    with pytest.raises(ValueError, match="at least one"):
        gate(0, clock)


def test_calls_go_in_as_they_came_and_no_newcomer_goes_before_those_who_wait() -> None:
    clock, went_in = FakeClock(), list[int]()

    async def call(door: Gate, number: int, seconds: float) -> None:
        mark = await door.enter()
        went_in.append(number)
        await clock.sleep(seconds)
        door.leave(mark)

    async def all_calls() -> None:
        door = gate(2, clock)
        # While six wait, one comes at the very moment when a place is given up.
        early = [asyncio.create_task(call(door, number, 1.0)) for number in range(8)]
        await clock.sleep(1.0)
        late = [asyncio.create_task(call(door, number, 1.0)) for number in range(8, 12)]
        await asyncio.gather(*early, *late)
        assert door.inside == 0

    asyncio.run(all_calls())
    assert went_in == list(range(12))


def test_whoever_is_cancelled_in_line_holds_up_nobody() -> None:
    clock = FakeClock()

    async def all_calls() -> None:
        door = gate(1, clock)
        mark = await door.enter()
        first, second, third = (asyncio.create_task(door.enter()) for _ in range(3))
        await clock.sleep(1.0)
        first.cancel()
        second.cancel()
        door.leave(mark)
        door.leave(await third)
        assert door.inside == 0

    asyncio.run(all_calls())


def test_a_held_endpoint_lets_nothing_in() -> None:
    clock, went_in = FakeClock(), list[float]()

    async def all_calls() -> None:
        door = gate(4, clock)
        door.hold(30.0)
        door.hold(10.0)
        assert (door.held_s, door.waiting) == (30.0, "held by the server for 30 s")
        for _ in range(3):
            door.leave(await door.enter())
            went_in.append(clock.time)
        assert (door.held_s, door.waiting) == (0.0, None)

    asyncio.run(all_calls())
    assert went_in[0] == 30.0


def test_after_a_hold_calls_go_in_one_by_one() -> None:
    # 100 places, held for ten seconds: the first hundred are spread over one second, a hundredth each.
    clock, went_in = FakeClock(), list[float]()

    async def call(door: Gate) -> None:
        mark = await door.enter()
        went_in.append(clock.time)
        await clock.sleep(5.0)
        door.leave(mark)

    async def all_calls() -> None:
        door = gate(100, clock)
        door.hold(10.0)
        await asyncio.gather(*(call(door) for _ in range(100)))

    asyncio.run(all_calls())
    assert went_in[0] == 10.0
    assert {round(later - earlier, 6) for earlier, later in pairwise(went_in)} == {0.01}


def test_a_hold_that_is_made_longer_while_calls_wait_for_it_is_kept() -> None:
    clock = FakeClock()

    async def all_calls() -> float:
        door = gate(4, clock)
        door.hold(10.0)
        waiting = asyncio.create_task(door.enter())
        await clock.sleep(5.0)
        door.hold(20.0)
        await waiting
        return clock.time

    assert asyncio.run(all_calls()) == 25.0


def test_retry_after_holds_the_whole_endpoint() -> None:
    # The first of four calls in flight from 0 s to 1 s is told to come back in 30 s: nothing may start until 31 s.
    def script(asked: Request, number: int) -> Step:
        return status(429, "slow down", 30.0) if (asked == request("q0") and number == 1) else completion("yes")

    tally, _, transport = ask([question(f"q{number}") for number in range(12)], script)
    assert tally.asked == 12
    begun = sorted(time for time, _, _ in transport.sent)
    assert begun[:4] == [0.0] * 4
    # The place of the call that was told is given to nobody before the hold is on.
    assert all(time >= 31.0 for time in begun[4:])


def test_being_throttled_for_long_makes_no_failures() -> None:
    # A server that serves 2 calls at a time and answers 429 to the rest: each call is throttled again and again.
    clock, ledger = FakeClock(), MemoryLedger()
    served_at: list[float] = []

    def script(_request: Request, _number: int) -> Step:
        if len([time for time in served_at if time > clock.time - 1.0]) >= 2:
            return status(429, "slow down", 1.0)
        served_at.append(clock.time)
        return completion("yes")

    transport = ScriptedTransport(script, clock, concurrency=16)
    tally = asyncio.run(asking([question(f"q{number}") for number in range(60)], ledger, transport, clock))
    assert (tally.asked, tally.failed) == (60, 0)


@pytest.mark.parametrize("code", [429, 503, 529])
def test_after_overload_fewer_calls_are_in_flight_and_later_as_many_as_before(code: int) -> None:
    # Ten at a time, one second each. The first ten are told off, which leaves eight places (0.8 of 10); each round
    # of replies that fills them adds one (a twentieth of 10, at least 1). Ten faults without any answer would be an
    # endpoint that fails, so the last of the ten is served.
    clock, ledger = FakeClock(), MemoryLedger()
    told_off = {f"q{number}" for number in range(9)}

    def script(asked: Request, number: int) -> Step:
        return status(code) if asked.messages[0].content in told_off and number == 1 else completion("yes")

    transport = ScriptedTransport(script, clock, concurrency=10)
    asyncio.run(asking([question(f"q{number}") for number in range(200)], ledger, transport, clock))
    in_flight = [sum(begun <= second + 0.999 < begun + 1.0 for begun, _, _ in transport.sent) for second in range(4)]
    assert in_flight[:4] == [10, 8, 9, 10]
    assert transport.most_at_once == 10


def test_a_server_that_asks_for_too_long_a_pause_stops_the_run() -> None:
    with pytest.raises(EndpointRefused, match="86400 s"):
        ask([question("a")], lambda _request, _number: status(429, "tomorrow", 86_400.0))


def test_what_a_server_says_is_used_up_holds_the_endpoint_until_it_is_full_again() -> None:
    # The first reply says that no request is left for 12 s; one that says that some are left holds nothing.
    def script(asked: Request, _number: int) -> Step:
        used_up = RateHints(requests_left=0, requests_reset_s=12.0, tokens_left=500, tokens_reset_s=60.0)
        some_left = RateHints(requests_left=3, requests_reset_s=12.0)
        return Received(completion("yes"), used_up if asked == request("q0") else some_left)

    _, _, transport = ask([question(f"q{number}") for number in range(3)], script, concurrency=1)
    assert [time for time, _, _ in transport.sent] == [0.0, 13.0, 14.0]


def test_a_429_without_a_time_waits_for_what_is_used_up() -> None:
    hints = RateHints(requests_left=7, requests_reset_s=600.0, tokens_left=0, tokens_reset_s=20.0)

    def script(_request: Request, number: int) -> Step:
        return status(429, "slow down", hints=hints) if number == 1 else completion("yes")

    _, ledger, transport = ask([question("a")], script)
    # One second, then 20, and up to one of jitter.
    assert 21.0 <= transport.sent[1][0] <= 22.0
    assert ledger.calls[0].attempts == 2


def test_a_server_whose_limit_of_the_day_is_used_up_stops_the_run() -> None:
    hints = RateHints(requests_left=0, requests_reset_s=40_000.0)
    with pytest.raises(EndpointRefused, match="40000 s"):
        ask([question("a")], lambda _request, _number: status(429, "no more today", hints=hints))


def test_a_successful_reply_never_holds_for_longer_than_the_rules_allow() -> None:
    hints = RateHints(requests_left=0, requests_reset_s=40_000.0)
    _, _, transport = ask(
        [question("a"), question("b")], lambda _request, _number: Received(completion("yes"), hints), concurrency=1
    )
    assert [time for time, _, _ in transport.sent] == [0.0, 1.0 + RULES.longest_hold_s]


def test_progress_says_how_many_are_in_flight_and_what_they_wait_for() -> None:
    clock, ledger, seen = FakeClock(), MemoryLedger(), list[Progress]()

    def script(_request: Request, number: int) -> Step:
        return status(429, "slow down", 30.0) if number == 1 and clock.time < 2.0 else completion("yes")

    transport = ScriptedTransport(script, clock, concurrency=10)
    asyncio.run(asking([question(f"q{number}") for number in range(20)], ledger, transport, clock, seen.append))
    assert (seen[0].in_flight, seen[0].limit, seen[0].held_s, seen[0].waiting) == (10, 10, 0.0, None)
    held = [progress for progress in seen if progress.waiting]
    assert {progress.limit for progress in held} == {8}
    assert all(progress.in_flight == 0 for progress in held)
    assert held[0].held_s == pytest.approx(29.5, abs=0.6)
    assert held[0].waiting == f"held by the server for {held[0].held_s:.0f} s"
    assert (seen[-1].in_flight, seen[-1].waiting) == (0, None)
