"""Questions asked of scripted endpoints, in a time that passes only when everybody waits."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from weakref import finalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.llm.calls import Question, Reply, Request
from valbench_dagster.llm.dispatcher import EndpointRefused, Progress
from valbench_dagster.llm.endpoint import FaultKind, Received, TransportFault
from valbench_dagster.llm.ledger import FinishedCall
from valbench_dagster.llm.retry import RetryRules
from valbench_dagster.llm.settle import answers
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
    says,
    status,
    stored,
    wants_yes,
)

RULES = RetryRules()
GONE: tuple[FaultKind, ...] = ("connection", "timeout", "unreachable")


def test_what_is_missing_is_asked_once_and_stored_as_it_came() -> None:
    tally, ledger, _ = ask([question("a"), question("b")], says("yes"))
    assert sorted(ledger.texts()) == ["a", "b"]
    assert (tally.questions, tally.asked, tally.from_ledger) == (2, 2, 0)
    assert (tally.input_tokens, tally.output_tokens) == (20, 10)
    (call, _) = ledger.calls
    assert (call.kind, call.reply, call.status, call.message) == ("reply", completion("yes"), 200, None)
    assert (call.endpoint, call.provider, call.model, call.run) == ("lab", "lab", "m", "run-1")
    assert (call.started_at, call.latency, call.attempts) == ("2026-11-21T12:00:00.000+00:00", 1.0, 1)
    assert (call.input_tokens, call.output_tokens) == (10, 5)
    assert json.loads(call.request)["max_tokens"] == 100


def test_what_is_in_the_ledger_is_not_asked() -> None:
    ledger = MemoryLedger()
    ledger.calls.append(stored(request("a"), completion("yes")))
    tally, ledger, transport = ask([question("a"), question("b")], says("yes"), ledger)
    assert [text for _, text, _ in transport.sent] == ["b"]
    assert (tally.from_ledger, tally.asked) == (1, 1)
    tally, _, transport = ask([question("a"), question("b")], says("no"), ledger)
    assert (transport.sent, tally.from_ledger, tally.asked) == ([], 2, 0)


def test_no_questions_make_no_calls() -> None:
    tally, _, transport = ask([], says("yes"))
    assert (tally.questions, transport.sent) == (0, [])


def test_a_passing_fault_is_tried_again_and_leaves_one_reply_with_its_attempts() -> None:
    faults: list[Step] = [
        status(500),
        TransportFault("connection", None, "reset"),
        TransportFault("timeout", None, "slow"),
        b"<html>",
    ]
    _, ledger, _ = ask([question("a")], lambda _request, number: [*faults, completion("yes")][number - 1])
    assert [(call.kind, call.attempts) for call in ledger.calls] == [("reply", 5)]


def test_a_fault_that_stays_is_a_failure_of_its_row_and_of_no_other() -> None:
    # As llama.cpp does for one prompt: HTTP 500 however often it is asked, while all others are served.
    def script(asked: Request, _number: int) -> Step:
        return status(500, "does not match the format") if asked == request("bad") else completion("yes")

    asked = [question("bad"), *(question(f"q{number}") for number in range(30))]
    tally, ledger, transport = ask(asked, script)
    assert (tally.asked, tally.failed, tally.rejected) == (31, 1, 0)
    assert [text for _, text, _ in transport.sent].count("bad") == RULES.attempts
    (failure,) = [call for call in ledger.calls if call.kind == "failed"]
    assert (failure.status, failure.attempts, failure.reply) == (500, RULES.attempts, None)
    assert failure.message == "HTTP 500: does not match the format"
    (answer,) = answers([question("bad")], ledger)
    assert (answer.outcome, answer.detail) == ("failed", failure.message)


def test_a_body_that_is_no_reply_is_never_stored_as_one() -> None:
    tally, ledger, _ = ask([question("a")], lambda _request, _number: b'{"error": {"message": "overloaded"}}')
    assert [(call.kind, call.reply) for call in ledger.calls] == [("failed", None)]
    assert "overloaded" in (ledger.calls[0].message or "")
    assert tally.failed == 1


def test_a_failure_is_asked_again_by_the_next_run() -> None:
    _, ledger, _ = ask([question("a")], lambda _request, _number: status(503))
    tally, ledger, _ = ask([question("a")], says("yes"), ledger)
    assert [call.kind for call in ledger.calls] == ["failed", "reply"]
    assert (tally.asked, tally.failed) == (1, 0)


def test_a_rejection_is_a_row_with_the_servers_message_and_is_not_tried_again() -> None:
    def script(asked: Request, _number: int) -> Step:
        return status(400, "context too long") if asked == request("long") else completion("yes")

    tally, ledger, transport = ask([question("long"), question("short")], script)
    assert (tally.rejected, tally.failed, len(transport.sent)) == (1, 0, 2)
    (answer, _) = answers([question("long"), question("short")], ledger)
    assert (answer.outcome, answer.detail) == ("rejected", "HTTP 400: context too long")


def test_what_arrived_before_a_fatal_status_is_stored() -> None:
    # Storing takes 5 s; the fatal reply to the fourth call comes while the first three are being stored.
    clock = FakeClock()
    ledger = MemoryLedger(clock, store_takes=5.0)

    def script(asked: Request, _number: int) -> Step:
        return status(401) if asked == request("q3") else completion("yes")

    transport = ScriptedTransport(script, clock, concurrency=3)
    with pytest.raises(EndpointRefused):
        asyncio.run(asking([question(f"q{number}") for number in range(9)], ledger, transport, clock))
    assert {"q0", "q1", "q2"} <= set(ledger.texts())


def test_an_unknown_endpoint_is_named() -> None:
    with pytest.raises(LookupError, match="no transport for endpoint elsewhere; there are: lab"):
        ask([question("a", endpoint="elsewhere")], says("yes"))


def test_equal_requests_are_asked_once_and_shared() -> None:
    asked = [question("same") for _ in range(20)]
    tally, ledger, transport = ask(asked, says("yes"))
    assert len(transport.sent) == len(ledger.calls) == 1
    assert (tally.questions, tally.asked) == (20, 1)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_equal_requests_far_apart_are_asked_once_too(chunk: int) -> None:
    # By the time the second "same" is taken from the queue, the first has long been stored.
    asked = [question("same"), *(question(f"q{number}") for number in range(40)), question("same")]
    _, _, transport = ask(asked, says("yes"), concurrency=2, chunk=chunk)
    assert [text for _, text, _ in transport.sent].count("same") == 1


def test_equal_requests_through_two_endpoints_of_one_provider_are_asked_once() -> None:
    clock, ledger = FakeClock(), MemoryLedger()
    one, two = (ScriptedTransport(says("yes"), clock, concurrency=1) for _ in range(2))
    asked = [question(f"q{number % 5}", endpoint=("one", "two")[number % 2]) for number in range(30)]
    tally = asyncio.run(asking(asked, ledger, {"one": one, "two": two}, clock))
    assert len(one.sent) + len(two.sent) == 5
    assert (tally.questions, tally.failed) == (30, 0)


def test_who_shares_a_failure_fails_with_it() -> None:
    tally, ledger, _ = ask([question("a"), question("a")], lambda _request, _number: status(500))
    assert (tally.failed, tally.asked, len(ledger.calls)) == (2, 1, 1)


def test_faulty_replies_are_asked_again_in_the_same_run() -> None:
    def script(asked: Request, _number: int) -> Step:
        return completion("yes" if asked.sample == 2 else "no")

    tally, ledger, _ = ask([question("a", wants_yes, reasks=3)], script)
    assert (tally.asked, tally.reasks, tally.unparsed) == (3, 2, 0)
    (answer,) = answers([question("a", wants_yes, reasks=3)], ledger)
    assert (answer.outcome, answer.request.sample) == ("reply", 2)


def test_a_truncated_reply_is_asked_again_with_twice_the_limit() -> None:
    def script(asked: Request, _number: int) -> Step:
        enough = asked.served.settings["max_tokens"] >= 200
        return completion("yes") if enough else completion("ye", finish_reason="length")

    tally, ledger, _ = ask([question("a", wants_yes, reasks=1)], script)
    assert (tally.reasks, tally.unparsed) == (1, 0)
    assert [json.loads(call.request)["max_tokens"] for call in ledger.calls] == [100, 200]


def test_a_reask_that_somebody_has_made_is_taken_from_the_ledger() -> None:
    ledger = MemoryLedger()
    ledger.calls.append(stored(request("a", sample=1), completion("yes")))
    tally, _, transport = ask([question("a", wants_yes, reasks=1)], says("no"), ledger)
    assert [sample for _, _, sample in transport.sent] == [0]
    assert (tally.asked, tally.unparsed) == (1, 0)


def test_never_usable_is_unparsed_after_the_last_reask() -> None:
    tally, ledger, transport = ask([question("a", wants_yes, reasks=2)], says("no"))
    assert [sample for _, _, sample in transport.sent] == [0, 1, 2]
    assert (tally.unparsed, tally.reasks, len(ledger.calls)) == (1, 2, 3)


def test_nothing_is_made_of_a_reply_before_it_is_stored() -> None:
    clock = FakeClock()
    ledger = MemoryLedger(clock, store_takes=3.0)

    def only_when_stored(_reply: Reply) -> str | None:
        assert ledger.calls
        return None

    transport = ScriptedTransport(says("yes"), clock)
    tally = asyncio.run(asking([question("a", only_when_stored)], ledger, transport, clock))
    assert tally.asked == 1


def test_a_calls_place_is_free_again_while_its_reply_is_stored() -> None:
    # Calls take 1 s and storing 1 s; one call at a time. The second begins when the first reply is there.
    clock = FakeClock()
    ledger = MemoryLedger(clock, store_takes=1.0)
    transport = ScriptedTransport(says("yes"), clock, concurrency=1)
    asyncio.run(asking([question(f"q{number}") for number in range(4)], ledger, transport, clock))
    assert [time for time, _, _ in transport.sent] == [0.0, 1.0, 2.0, 3.0]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from(["yes", "yes", "no", "500", "503", "429", "400", "broken", *GONE]), min_size=1, max_size=8
    ),
    st.integers(1, 7),
    st.integers(1, 40),
    st.integers(1, 20),
)
def test_whatever_servers_do_no_more_than_the_limit_are_in_flight_and_every_question_ends(
    deeds: list[str], concurrency: int, count: int, chunk: int
) -> None:
    steps: dict[str, Step] = {
        "yes": completion("yes"),
        "no": completion("no"),
        "500": status(500),
        "429": status(429, "slow down", 2.0),
        "400": status(400),
        "broken": b"{",
        "503": status(503, "busy"),
        **{kind: TransportFault(kind, None, "gone") for kind in GONE},
    }

    def script(asked: Request, number: int) -> Step:
        spot = int(asked.messages[0].content) + number + asked.sample
        return steps[deeds[spot % len(deeds)]]

    clock, ledger = FakeClock(), MemoryLedger()
    transport = ScriptedTransport(script, clock, concurrency)
    asked = [question(str(number % 25), wants_yes, reasks=1) for number in range(count)]
    rules = RetryRules(first_rejections=1000)
    stopped = False
    try:
        tally = asyncio.run(asking(asked, ledger, transport, clock, rules=rules, chunk=chunk))
    except EndpointRefused:
        stopped = True
    assert transport.most_at_once <= concurrency
    replies = [call.fingerprint for call in ledger.calls if call.kind == "reply"]
    assert len(replies) == len(set(replies))
    if stopped:
        # Only a server that did not answer for long, or never, may do that.
        assert set(deeds) & set(GONE) or "503" in deeds
        assert ledger.calls[-1].kind == "failed"
        return
    outcomes = [answer.outcome for answer in answers(asked, ledger)]
    assert tally.questions == len(outcomes) == count
    if count <= 25:
        assert (tally.unparsed, tally.rejected, tally.failed) == tuple(
            outcomes.count(outcome) for outcome in ("unparsed", "rejected", "failed")
        )


def test_a_reask_that_is_also_a_question_further_back_in_the_queue_stops_nobody() -> None:
    # One place, two workers: both come to a second sample that is still waiting behind them.
    asked = [question(text, wants_yes, reasks=1, sample=sample) for sample in (0, 1, 2) for text in "abcd"]
    tally, ledger, _ = ask(asked, says("no"), concurrency=1)
    # Four texts, samples 0 to 3, each once.
    assert (tally.asked, tally.unparsed, len(ledger.calls)) == (16, 12, 16)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=30),
    st.lists(st.sampled_from(["yes", "no"]), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(1, 40),
)
def test_however_questions_overlap_each_request_is_made_once_and_all_end(
    overlapping: list[tuple[int, int, int]], words: list[str], concurrency: int, chunk: int
) -> None:
    def script(asked: Request, _number: int) -> Step:
        return completion(words[(int(asked.messages[0].content) + asked.sample) % len(words)])

    asked = [question(str(text), wants_yes, reasks, sample=sample) for text, sample, reasks in overlapping]
    tally, ledger, transport = ask(asked, script, concurrency=concurrency, chunk=chunk)
    requests = [(text, sample) for _, text, sample in transport.sent]
    assert len(requests) == len(set(requests)) == tally.asked
    outcomes = [answer.outcome for answer in answers(asked, ledger)]
    assert set(outcomes) <= {"reply", "unparsed"}
    assert (tally.questions, tally.unparsed) == (len(asked), outcomes.count("unparsed"))


def test_questions_are_pulled_lazily() -> None:
    clock, ledger = FakeClock(), MemoryLedger()
    ahead: list[int] = []

    def many() -> Iterator[Question]:
        for number in range(500):
            ahead.append(number - len(ledger.calls))
            yield question(f"q{number}")

    transport = ScriptedTransport(says("yes"), clock, concurrency=3)
    asyncio.run(asking(many(), ledger, transport, clock, chunk=10))
    # Pulled and not yet stored: a chunk, the queue (3) and the workers (6).
    assert max(ahead) <= 10 + 3 + 6


def test_cancelling_keeps_what_has_arrived() -> None:
    clock = FakeClock()
    ledger = MemoryLedger(clock, store_takes=5.0)
    transport = ScriptedTransport(says("yes"), clock, concurrency=2)

    async def cancelled() -> None:
        running = asyncio.create_task(
            asking([question(f"q{number}") for number in range(100)], ledger, transport, clock)
        )
        await clock.sleep(2.5)
        assert ledger.calls == []
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    # Calls take 1 s, two at a time: four replies have come by 2.5 s and are being stored.
    assert sorted(ledger.texts()) == ["q0", "q1", "q2", "q3"]


def test_a_ledger_that_cannot_store_stops_the_run_with_its_own_error() -> None:
    ledger = MemoryLedger()
    ledger.fails_with = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        ask((question(f"q{number}") for number in range(1000)), says("yes"), ledger)


def test_an_error_of_the_questions_ends_the_run() -> None:
    def broken() -> Iterator[Question]:
        yield question("a")
        raise ValueError("bad row")

    with pytest.raises(ValueError, match="bad row"):
        ask(broken(), says("yes"), chunk=1)


def test_progress_comes_twice_a_second_at_most_and_once_at_the_end() -> None:
    clock, ledger = FakeClock(), MemoryLedger()
    seen: list[tuple[float, Progress]] = []
    transport = ScriptedTransport(says("yes"), clock, concurrency=10, takes=0.01)
    ledger.calls.append(stored(request("q0"), completion("yes")))
    asyncio.run(
        asking(
            (question(f"q{number}") for number in range(1000)),
            ledger,
            transport,
            clock,
            lambda progress: seen.append((clock.time, progress)),
        )
    )
    assert seen[-1][1] == Progress(
        done=1000, total=1000, failed=0, input_tokens=9990, output_tokens=4995, asked=999, limit=10
    )
    times = [time for time, _ in seen[:-1]]
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))
    assert len(times) >= 2


def test_an_error_of_the_progress_call_stops_the_run_and_keeps_what_arrived() -> None:
    clock, ledger = FakeClock(), MemoryLedger()

    def over_budget(progress: Progress) -> None:
        if progress.output_tokens >= 50:
            raise RuntimeError("budget used up")

    transport = ScriptedTransport(says("yes"), clock, concurrency=2)
    asked = [question(f"q{number}") for number in range(100)]
    with pytest.raises(RuntimeError, match="budget used up"):
        asyncio.run(asking(asked, ledger, transport, clock, over_budget))
    assert 10 <= len(ledger.calls) <= 20


def test_while_nothing_ends_progress_comes_less_and_less_often_and_never_stops() -> None:
    # A reply that takes 100 s: twice a second at first, in the end every five.
    clock, seen = FakeClock(), list[float]()
    transport = ScriptedTransport(says("yes"), clock, takes=100.0)
    asyncio.run(asking([question("a")], MemoryLedger(), transport, clock, lambda _progress: seen.append(clock.time)))
    assert seen[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert {later - earlier for earlier, later in pairwise(seen[4:-1])} == {5.0}
    assert seen[-1] == 100.0


def test_progress_counts_questions_in_all_where_the_caller_knows_them() -> None:
    seen: list[Progress] = []
    ask([question("a")], says("yes"), progress=seen.append, expected=22_950)
    assert seen[-1].total == 22_950


def test_questions_that_take_any_reply_are_looked_up_without_reading_replies() -> None:
    # A thousand respondents' questions, of which 990 have a reply, and one that minds what it says.
    ledger = MemoryLedger()
    asked = [question(f"q{number}") for number in range(1000)]
    ledger.calls.extend(stored(each.request, completion("any")) for each in asked[10:])
    ledger.calls.append(stored(request("minds"), completion("yes")))
    tally, _, transport = ask([*asked, question("minds", wants_yes, 2)], says("yes"), ledger, chunk=500)
    assert (tally.questions, tally.from_ledger, tally.asked) == (1001, 991, 10)
    assert sorted(text for _, text, _ in transport.sent) == [f"q{number}" for number in range(10)]
    assert ledger.looked_up == [1]


def test_memory_grows_with_the_concurrency_and_not_with_the_number_of_questions() -> None:
    # What is alive of 5,000 requests at any moment: a chunk that is being pulled and one just handed on, the queue,
    # the workers, and nothing else.
    alive = most = 0

    def forget() -> None:
        nonlocal alive
        alive -= 1

    def many() -> Iterator[Question]:
        nonlocal alive
        for number in range(5_000):
            each = question(f"q{number}")
            alive += 1
            finalize(each.request, forget)
            yield each

    class Immediate(ScriptedTransport):
        async def send(self, request: Request, body: bytes) -> Received:
            nonlocal most
            most = max(most, alive)
            await asyncio.sleep(0)
            return Received(completion("yes"))

    class Forgetful(MemoryLedger):
        stored = 0

        def known(self, fingerprints: Sequence[str]) -> set[str]:
            return set()

        async def append(self, call: FinishedCall) -> None:
            await asyncio.sleep(0)
            self.stored += 1

    clock, ledger = FakeClock(), Forgetful()
    tally = asyncio.run(asking(many(), ledger, Immediate(says("yes"), clock, 16), clock, chunk=100))
    assert (tally.asked, ledger.stored) == (5_000, 5_000)
    assert most <= 2 * 100 + 16 + 2 * 16 + 1


def test_each_endpoint_has_rules_of_its_own() -> None:
    clock, ledger = FakeClock(), MemoryLedger()
    transports = {name: ScriptedTransport(lambda *_: status(500, "no"), clock) for name in ("one", "two")}
    rules = {"one": RetryRules(attempts=1), "two": RetryRules(attempts=3)}
    asked = [question(name, endpoint=name) for name in transports]
    asyncio.run(asking(asked, ledger, transports, clock, rules=rules))
    assert sorted((call.endpoint, call.attempts) for call in ledger.calls) == [("one", 1), ("two", 3)]
    with pytest.raises(LookupError, match="no retry rules for endpoint two; there are: one"):
        asyncio.run(asking(asked, ledger, transports, clock, rules={"one": RULES}))


def test_twenty_rejections_as_the_first_twenty_replies_stop_the_run() -> None:
    ledger = MemoryLedger()
    with pytest.raises(EndpointRefused, match=r"first 20 requests to m.*temperature is not supported"):
        ask(
            (question(f"q{number}") for number in range(1000)),
            lambda _request, _number: status(400, "temperature is not supported"),
            ledger,
            concurrency=1,
        )
    assert [call.kind for call in ledger.calls] == ["rejected"] * 20


def test_rejections_after_a_reply_do_not_stop_the_run() -> None:
    def script(asked: Request, _number: int) -> Step:
        return completion("yes") if asked == request("q0") else status(400)

    tally, _, _ = ask([question(f"q{number}") for number in range(50)], script, concurrency=1)
    assert (tally.rejected, tally.asked) == (49, 50)


def test_a_server_that_fails_every_call_in_a_row_stops_the_run_in_the_end() -> None:
    # As an engine that has died behind its server: HTTP 500 to all, from the 31st call on.
    ledger = MemoryLedger()
    with pytest.raises(EndpointRefused, match=r"failed 100 calls to m in a row.*EngineDeadError"):
        ask(
            (question(f"q{number}") for number in range(1000)),
            lambda asked, _number: completion("yes") if len(ledger.calls) < 30 else status(500, "EngineDeadError"),
            ledger,
            rules=RetryRules(attempts=1, failures_in_a_row=100),
        )
    assert [call.kind for call in ledger.calls].count("failed") >= 100


def test_failures_between_replies_never_stop_the_run() -> None:
    tally, _, _ = ask(
        [question(f"q{number}") for number in range(300)],
        lambda asked, _number: status(500, "no") if int(asked.messages[0].content[1:]) % 3 else completion("yes"),
        rules=RetryRules(attempts=1, failures_in_a_row=10),
    )
    assert (tally.asked, tally.failed) == (300, 200)


def test_an_error_of_the_ledger_comes_before_the_one_that_stopped_the_run() -> None:
    # The endpoint refuses while replies are being stored; that they could not be is the worse news.
    clock = FakeClock()

    class FailsLate(MemoryLedger):
        async def append(self, call: FinishedCall) -> None:
            await clock.sleep(5.0)
            raise OSError("disk full")

    transport = ScriptedTransport(
        lambda asked, _number: status(401) if asked == request("q3") else completion("yes"), clock, 3
    )
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(asking([question(f"q{number}") for number in range(9)], FailsLate(), transport, clock))
