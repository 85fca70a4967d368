"""Whether a fault is one call's or its endpoint's, and what becomes of a run whose endpoint stops answering."""

import asyncio
import math
from collections.abc import Callable

import pytest

from valbench_dagster.llm.breaker import Breaker, Mark
from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.dispatcher import EndpointDown, EndpointRefused, Progress
from valbench_dagster.llm.endpoint import TransportFault
from valbench_dagster.llm.retry import RetryRules
from valbench_dagster_tests.llm_fakes import (
    FakeClock,
    MemoryLedger,
    ScriptedTransport,
    Step,
    asking,
    completion,
    question,
    status,
)

RULES = RetryRules()
RESET = TransportFault("connection", None, "reset by peer")
REFUSED = TransportFault("unreachable", None, "connection refused")
SLOW = TransportFault("timeout", None, "no answer within 600 s")


def fault(
    breaker: Breaker, call: str = "a", what: TransportFault = RESET, now: float = 0.0, mark: Mark | None = None
) -> str:
    return breaker.faulted(mark or breaker.begin(), call, what, now)


def test_a_fault_is_the_calls_if_another_call_was_answered_meanwhile_else_the_endpoints() -> None:
    breaker = Breaker(64, RULES)
    before = breaker.begin()
    breaker.answered()
    assert fault(breaker, mark=before) == "call"
    assert fault(breaker) == "endpoint"


@pytest.mark.parametrize(
    "what",
    [
        TransportFault("broken", None, "not JSON"),
        TransportFault("another_model", None, "answers as another"),
        status(500, "output does not match the expected peg-native format"),
    ],
)
def test_a_fault_that_is_clearly_about_the_request_is_the_calls(what: TransportFault) -> None:
    breaker = Breaker(1, RULES)
    assert fault(breaker, what=what) == "call"
    assert breaker.failing is None


@pytest.mark.parametrize("what", [RESET, REFUSED, SLOW, status(502, "<html>"), status(503), status(500, "<html>Oops")])
def test_silence_and_error_pages_are_the_endpoints(what: TransportFault) -> None:
    assert fault(Breaker(64, RULES), what=what) == "endpoint"


@pytest.mark.parametrize(("concurrency", "faults"), [(64, 10), (10, 10), (3, 3), (1, 1)])
def test_after_ten_faults_without_an_answer_only_probes_go_out(concurrency: int, faults: int) -> None:
    breaker = Breaker(concurrency, RULES)
    marks = [breaker.begin() for _ in range(faults)]
    for mark in marks[:-1]:
        fault(breaker, mark=mark)
    assert breaker.shut_for(0.0) == 0.0
    fault(breaker, mark=marks[-1])
    assert breaker.failing == "connection: reset by peer"
    assert breaker.shut_for(0.0) == 1.0


def test_one_probe_goes_out_at_a_time_with_growing_pauses_and_one_answer_ends_it() -> None:
    # 1, 2, 4, 8 and then 15 seconds: never longer.
    breaker, now = Breaker(1, RULES), 0.0
    fault(breaker)
    pauses = []
    for _ in range(6):
        pauses.append(breaker.shut_for(now))
        now += pauses[-1]
        probe = breaker.begin()
        assert breaker.shut_for(now) == math.inf
        fault(breaker, mark=probe, now=now)
        breaker.end(probe, now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert breaker.answered()
    assert breaker.failing is None
    assert (breaker.shut_for(now), breaker.failing_for(now)) == (0.0, 0.0)
    assert not breaker.answered()


def test_a_probe_that_is_broken_off_leaves_room_for_the_next() -> None:
    breaker = Breaker(1, RULES)
    fault(breaker)
    probe = breaker.begin()
    breaker.end(probe, 1.0)
    assert breaker.shut_for(1.0) == 1.0


def test_an_endpoint_is_down_after_five_minutes_and_two_requests() -> None:
    breaker = Breaker(64, RULES)
    fault(breaker, "a", now=10.0)
    fault(breaker, "b", now=20.0)
    assert breaker.verdict(309.0) == "wait"
    assert breaker.verdict(310.0) == "down"
    breaker.answered()
    fault(breaker, "a", now=311.0)
    assert breaker.verdict(400.0) == "wait"


def test_one_request_that_fails_for_ever_is_its_own_affair() -> None:
    breaker = Breaker(64, RULES)
    for _ in range(5):
        fault(breaker, "a")
    assert breaker.verdict(300.0) == "give_up"


def test_two_requests_that_time_out_may_just_be_long() -> None:
    breaker = Breaker(64, RULES)
    for number in range(9):
        fault(breaker, str(number), SLOW)
        assert breaker.verdict(300.0) == ("give_up" if number == 0 else "wait")
    fault(breaker, "9", SLOW)
    assert breaker.verdict(300.0) == "down"


def test_nothing_is_there_after_three_refused_connections_unless_there_ever_was_an_answer() -> None:
    breaker = Breaker(64, RULES)
    for _ in range(2):
        fault(breaker, what=REFUSED)
    assert breaker.verdict(0.0) == "wait"
    fault(breaker, what=REFUSED)
    assert breaker.verdict(0.0) == "not_there"
    breaker.answered()
    fault(breaker, what=REFUSED)
    assert breaker.verdict(0.0) == "wait"


def between(first: float, last: float, what: TransportFault, clock: FakeClock) -> Callable[[Request, int], Step]:
    """Give the script of a server that is out of order between two moments."""
    return lambda _request, _number: what if first <= clock.time < last else completion("yes")


def run(
    what: TransportFault,
    first: float,
    last: float,
    *,
    count: int = 400,
    concurrency: int = 16,
    expected: int | None = None,
    rules: RetryRules = RULES,
) -> tuple[MemoryLedger, ScriptedTransport, list[Progress], str]:
    """Ask `count` questions of a server that is out of order for a time; give what it stopped with as well."""
    clock, ledger, seen, stop = FakeClock(), MemoryLedger(), list[Progress](), ""
    transport = ScriptedTransport(between(first, last, what, clock), clock, concurrency)
    asked = (question(f"q{number}") for number in range(count))
    try:
        asyncio.run(asking(asked, ledger, transport, clock, seen.append, rules, expected=expected))
    except EndpointRefused as refused:
        stop = f"{type(refused).__name__}: {refused}"
    return ledger, transport, seen, stop


@pytest.mark.parametrize("what", [RESET, REFUSED, status(502, "<html>"), status(503)])
def test_an_endpoint_that_is_away_for_four_minutes_costs_no_call_its_attempts(what: TransportFault) -> None:
    ledger, transport, seen, stop = run(what, 5.0, 245.0)
    assert stop == ""
    assert [call.kind for call in ledger.calls] == ["reply"] * 400
    # It was probed, not stormed: after what was in flight when it went, at most one try a second, and soon one each
    # fifteen.
    assert len([time for time, _, _ in transport.sent if 30.0 <= time < 245.0]) <= 215 / 15 + 3
    # Within the longest pause of its return everything goes on.
    assert (
        min(call.started_at for call in ledger.calls if call.started_at > "2026-11-21T12:04:00")
        <= "2026-11-21T12:04:21"
    )
    assert any(progress.waiting == f"endpoint is failing: {what}" for progress in seen)
    assert seen[-1].waiting is None


def test_an_endpoint_that_stays_away_stops_the_run_and_says_how_far_it_was() -> None:
    # 16 at once, a second each: four rounds are done before the fifth second, when it goes.
    ledger, _, _, stop = run(RESET, 5.0, math.inf, expected=400)
    assert stop == (
        "EndpointDown: endpoint lab has been down for 5 minutes (connection: reset by peer): 64 of 400 done, replies "
        "so far are kept; run again to go on"
    )
    assert [call.kind for call in ledger.calls] == ["reply"] * 64 + ["failed"]


def test_the_numbers_in_the_sentence_are_those_that_are_known() -> None:
    # All pulled: the total is known without being told; else it is not made up.
    assert "64 of 80 done" in run(RESET, 5.0, math.inf, count=80)[3]
    assert "64 done, replies" in run(RESET, 5.0, math.inf, count=5000)[3]


def test_how_long_may_be_said_in_the_rules() -> None:
    ledger, _, _, stop = run(status(503, "starting"), 5.0, math.inf, rules=RetryRules(down_after_s=20.0))
    assert stop.startswith("EndpointDown: endpoint lab has been down for ")
    assert " seconds (HTTP 503: starting)" in stop
    assert max(call.started_at for call in ledger.calls) < "2026-11-21T12:00:45"


@pytest.mark.parametrize("concurrency", [1, 4, 64])
def test_a_server_that_is_not_there_stops_the_run_at_once(concurrency: int) -> None:
    ledger, transport, _, stop = run(REFUSED, 0.0, math.inf, concurrency=concurrency)
    assert stop == (
        "EndpointRefused: endpoint lab cannot be reached (unreachable: connection refused): check base_url of "
        "[endpoint.lab] and that its server runs, then run again."
    )
    assert len(transport.sent) <= concurrency + 3
    assert [call.kind for call in ledger.calls] == ["failed"]


def test_one_request_that_breaks_every_connection_is_a_failed_row_and_the_run_ends() -> None:
    clock, ledger = FakeClock(), MemoryLedger()

    def script(asked: Request, _number: int) -> Step:
        return RESET if asked.messages[0].content == "q7" else completion("yes")

    transport = ScriptedTransport(script, clock, 4)
    tally = asyncio.run(asking([question(f"q{number}") for number in range(40)], ledger, transport, clock))
    assert (tally.asked, tally.failed) == (40, 1)
    (failure,) = [call for call in ledger.calls if call.kind == "failed"]
    assert failure.message == "connection: reset by peer"
    # Alone with the server it does not wait for longer than an endpoint may be down.
    assert clock.time < RULES.down_after_s + 60


def test_an_endpoint_that_refuses_some_calls_and_serves_others_never_counts_as_down() -> None:
    # Every other try is reset: all calls get through in the end, or fail by themselves.
    clock, ledger, tries = FakeClock(), MemoryLedger(), iter(range(10**6))

    def script(_request: Request, _number: int) -> Step:
        return RESET if next(tries) % 2 else completion("yes")

    transport = ScriptedTransport(script, clock, 8)
    tally = asyncio.run(asking([question(f"q{number}") for number in range(500)], ledger, transport, clock))
    assert tally.asked == 500
    assert tally.failed <= 20


def test_down_is_a_kind_of_refused() -> None:
    assert issubclass(EndpointDown, EndpointRefused)


def test_an_endpoint_that_is_back_is_not_stormed_and_takes_as_many_calls_as_before() -> None:
    # 503 to all from 5 s to 65 s. The 503s of probes say nothing of how many it can take; when it is back, the first 16
    # go in over one second and not all at once.
    _, transport, seen, _ = run(status(503, "starting"), 5.0, 65.0)
    assert min(progress.limit for progress in seen) == 12
    back = next(time for time, _, _ in transport.sent if time >= 64.0) + 1.0
    first = [time for time, _, _ in transport.sent if back <= time < back + 0.999]
    assert len({round(time, 3) for time in first}) >= 6
    assert transport.most_at_once == 16
