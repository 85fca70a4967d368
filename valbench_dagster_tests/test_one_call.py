"""One call: its tries, how it ends, what is stored of it, and what it sets aside of a budget."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from valbench_dagster.llm.budget import Budget, BudgetReached, Caps, Reserved
from valbench_dagster.llm.calls import Prices, Question, Request
from valbench_dagster.llm.dispatcher import EndpointRefused
from valbench_dagster.llm.endpoint import Received, TransportFault
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
    wants_yes,
)

RULES = RetryRules()
RESET = TransportFault("connection", None, "reset by peer")


def numbered(count: int) -> Iterator[Question]:
    return (question(f"q{number}") for number in range(count))


def test_what_is_stored_is_what_was_sent_and_what_came() -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 200,
        "prompt_tokens_details": {"cached_tokens": 400},
        "completion_tokens_details": {"reasoning_tokens": 150},
    }
    reply = json.dumps({**json.loads(completion("yes", model="m-2026-08-06")), "usage": usage}).encode()
    asked = question("a", prices=Prices(tokens_in=2.0, tokens_out=10.0, cached_in=1.0))
    tally, ledger, transport = ask([asked], lambda _request, _number: reply, step="responses/enwiki-20261101/m")
    (call,) = ledger.calls
    assert call.request is transport.bodies[0]
    assert (call.reply, call.step, call.schema_mode) == (reply, "responses/enwiki-20261101/m", None)
    assert (call.served_model, call.cached_tokens, call.reasoning_tokens) == ("m-2026-08-06", 400, 150)
    # Of a million: 600 fresh tokens at 2, 400 cached at 1, 200 written at 10.
    assert call.cost == pytest.approx((600 * 2 + 400 * 1 + 200 * 10) / 1_000_000)
    assert (tally.cost, tally.cached_tokens, tally.reasoning_tokens) == (call.cost, 400, 150)


def test_a_try_that_the_endpoint_owes_is_counted_in_the_row_and_uses_up_no_attempt() -> None:
    # Eight resets while nobody is served are the endpoint's; six 500s with a message would be the call's last.
    def script(_request: Request, number: int) -> Step:
        return RESET if number <= 8 else completion("yes")

    _, ledger, _ = ask([question("a"), question("b")], script, concurrency=64)
    assert [(call.kind, call.attempts) for call in ledger.calls] == [("reply", 9)] * 2


def test_a_fault_while_others_are_served_uses_up_an_attempt() -> None:
    # The bad one takes half a second longer than the others, so that some are served while it is out.
    clock, ledger = FakeClock(), MemoryLedger()
    transport = ScriptedTransport(
        lambda asked, _number: RESET if asked == request("bad") else completion("yes"),
        clock,
        takes=lambda asked: 1.5 if asked == request("bad") else 1.0,
    )
    asyncio.run(asking([question("bad"), *numbered(400)], ledger, transport, clock))
    (failure,) = [call for call in ledger.calls if call.kind == "failed"]
    assert (failure.attempts, failure.message) == (RULES.attempts, "connection: reset by peer")


@pytest.mark.parametrize("code", [401, 403, 404])
@pytest.mark.parametrize("concurrency", [1, 2, 64])
def test_a_fatal_status_stops_the_run_at_its_first_reply_and_leaves_one_row(code: int, concurrency: int) -> None:
    clock, ledger = FakeClock(), MemoryLedger()
    ledger = MemoryLedger(clock, store_takes=0.5)
    transport = ScriptedTransport(lambda _request, _number: status(code, "no entry"), clock, concurrency)
    with pytest.raises(EndpointRefused, match="no entry") as caught:
        asyncio.run(asking(numbered(1000), ledger, transport, clock))
    assert (caught.value.endpoint, caught.value.status) == ("lab", code)
    assert len(transport.sent) <= 2 * concurrency
    assert [(call.kind, call.status, call.message) for call in ledger.calls] == [
        ("failed", code, f"HTTP {code}: no entry")
    ]


def test_a_fatal_row_is_asked_again_by_the_next_run() -> None:
    ledger = MemoryLedger()
    with pytest.raises(EndpointRefused):
        ask([question("a")], lambda _request, _number: status(401), ledger)
    tally, _, _ = ask([question("a")], says("yes"), ledger)
    assert (tally.asked, tally.failed) == (1, 0)


def test_a_server_that_answers_as_another_model_stops_the_run_at_once() -> None:
    ledger = MemoryLedger()
    with pytest.raises(EndpointRefused) as caught:
        ask(numbered(50), lambda _request, _number: completion("yes", model="tiny-llama"), ledger)
    assert str(caught.value) == (
        "endpoint lab answers as `tiny-llama` where `m` was asked: mend `model` in the entry of m, or allow the name "
        "there with answers_as = [...]; then run again."
    )
    (call,) = ledger.calls
    assert (call.kind, call.reply) == ("failed", None)
    assert call.message == "another_model: answers as `tiny-llama` where `m` was asked"


def test_a_name_that_the_roster_allows_is_no_other_model() -> None:
    allowed = [question(f"q{number}", answers_as=("tiny-llama",)) for number in range(5)]
    tally, ledger, _ = ask(allowed, lambda _request, _number: completion("yes", model="tiny-llama"))
    assert (tally.asked, tally.failed) == (5, 0)
    assert {call.served_model for call in ledger.calls} == {"tiny-llama"}


def test_another_model_among_fitting_replies_is_tried_again_and_then_a_failed_row() -> None:
    def script(asked: Request, number: int) -> Step:
        text = asked.messages[0].content
        if text == "q3" and number < 3:
            return completion("yes", model="tiny-llama")
        return completion("yes", model="tiny-llama" if text == "q5" else "m")

    tally, ledger, _ = ask(numbered(9), script, concurrency=1)
    assert (tally.asked, tally.failed) == (9, 1)
    attempts = {json.loads(call.request)["messages"][0]["content"]: call.attempts for call in ledger.calls}
    assert (attempts["q3"], attempts["q5"]) == (3, RULES.attempts)


def test_one_prompt_that_is_far_too_long_is_one_rejected_row() -> None:
    # 10 MB among 2,000: refused by its size, as a server or the proxy before it does.
    huge = question("long " * 2_000_000)

    class Limited(ScriptedTransport):
        async def send(self, request: Request, body: bytes) -> Received:
            if len(body) > 1_000_000:
                raise status(413, "Request Entity Too Large")
            return await super().send(request, body)

    clock, ledger = FakeClock(), MemoryLedger()
    transport = Limited(says("yes"), clock, 32, takes=0.1)
    asked = [*numbered(1000), huge, *(question(f"r{number}") for number in range(999))]
    tally = asyncio.run(asking(asked, ledger, transport, clock))
    assert (tally.asked, tally.rejected, tally.failed) == (2000, 1, 0)
    (answer,) = answers([huge], ledger)
    assert (answer.outcome, answer.detail) == ("rejected", "HTTP 413: Request Entity Too Large")


class WatchedBudget(Budget):
    """A budget that writes down who was admitted and what was settled, with the number of calls sent by then."""

    def __init__(self, caps: Caps, transport: ScriptedTransport) -> None:
        super().__init__(caps)
        self.admitted: list[tuple[str, int]] = []
        self.settled: list[FinishedCall | None] = []
        self._transport = transport

    async def admit(self, request: Request, body: bytes) -> Reserved:
        reserved = await super().admit(request, body)
        self.admitted.append((request.messages[0].content, len(self._transport.sent)))
        return reserved

    def settle(self, reserved: Reserved, call: FinishedCall | None) -> None:
        self.settled.append(call)
        super().settle(reserved, call)


def budgeted(
    caps: Caps, script: Step | None = None, *, concurrency: int = 4
) -> tuple[FakeClock, MemoryLedger, ScriptedTransport, WatchedBudget]:
    clock = FakeClock()
    ledger = MemoryLedger(clock, store_takes=0.25)
    transport = ScriptedTransport(lambda _request, _number: script or completion("yes"), clock, concurrency)
    return clock, ledger, transport, WatchedBudget(caps, transport)


def test_each_call_is_admitted_once_before_it_is_sent_and_settled_when_it_has_ended() -> None:
    clock, ledger, transport, budget = budgeted(Caps(calls=100), status(500, "no"))
    asyncio.run(asking(numbered(6), ledger, transport, clock, budget=budget))
    assert [text for text, _ in budget.admitted] == [f"q{number}" for number in range(6)]
    # All six are admitted before the first of them holds a place: six tries each are not six calls.
    assert {sent for _, sent in budget.admitted} <= {0, 1, 2, 3, 4}
    assert len(transport.sent) == 6 * RULES.attempts
    assert sorted(call.fingerprint for call in budget.settled if call) == sorted(
        call.fingerprint for call in ledger.calls
    )


def test_a_call_that_waits_for_room_in_the_budget_holds_no_place() -> None:
    # Room for one call of 1,000 tokens at a time, beside those of another model that cost nothing and go on.
    clock, ledger, transport, budget = budgeted(Caps(cost=0.0012), concurrency=2)
    dear = [
        question(f"dear {number}", model="d", prices=Prices(0.0, 1.0), settings={"max_tokens": 1000})
        for number in range(3)
    ]
    cheap = [question(f"cheap {number}", model="c") for number in range(5)]

    def script(asked: Request, _number: int) -> Step:
        return completion("yes", model=asked.served.model)

    transport.script = script
    asyncio.run(asking([*dear, *cheap], ledger, transport, clock, budget=budget))
    assert len(ledger.calls) == 8
    assert transport.most_at_once == 2


def test_at_a_cap_nothing_is_cut_off_everything_is_stored_and_the_run_stops() -> None:
    # Ten calls are allowed, four at once, a second each and a quarter to store.
    clock, ledger, transport, budget = budgeted(Caps(calls=10))
    with pytest.raises(BudgetReached, match="all 10 of max_calls"):
        asyncio.run(asking(numbered(1000), ledger, transport, clock, budget=budget))
    assert sorted(ledger.texts()) == sorted(f"q{number}" for number in range(10))
    assert len(transport.sent) == 10
    assert None not in budget.settled
    assert budget.spent.calls == 10


def test_at_a_cap_the_tries_that_a_call_still_has_are_made() -> None:
    clock, ledger, transport, budget = budgeted(Caps(calls=4))
    transport.script = lambda _request, number: completion("yes") if number == 3 else status(500, "not yet")
    with pytest.raises(BudgetReached):
        asyncio.run(asking(numbered(100), ledger, transport, clock, budget=budget))
    assert [(call.kind, call.attempts) for call in ledger.calls] == [("reply", 3)] * 4


def test_at_a_cap_a_faulty_reply_is_stored_and_its_question_is_asked_again_by_the_next_run() -> None:
    clock, ledger, transport, budget = budgeted(Caps(calls=1), completion("no"))
    asked = [question("a", wants_yes, 2), question("a", wants_yes, 2)]
    with pytest.raises(BudgetReached):
        asyncio.run(asking(asked, ledger, transport, clock, budget=budget))
    assert len(ledger.calls) == 1
    tally, _, transport = ask(asked, says("yes"), ledger)
    assert [sample for _, _, sample in transport.sent] == [1]
    assert (tally.questions, tally.unparsed) == (2, 0)


def test_an_endpoint_that_refuses_while_the_last_calls_end_is_what_the_run_stops_with() -> None:
    clock, ledger, transport, budget = budgeted(Caps(calls=4))
    transport.script = lambda asked, _number: status(401) if asked.messages[0].content == "q3" else completion("yes")
    with pytest.raises(EndpointRefused):
        asyncio.run(asking(numbered(100), ledger, transport, clock, budget=budget))


def test_what_was_set_aside_for_calls_that_are_cut_off_is_given_back() -> None:
    clock, ledger, transport, budget = budgeted(Caps(calls=50), status(401))
    with pytest.raises(EndpointRefused):
        asyncio.run(asking(numbered(100), ledger, transport, clock, budget=budget))
    assert len(budget.settled) == len(budget.admitted)
    # At least the four that wait behind those in flight were never made.
    assert budget.settled.count(None) >= 4
