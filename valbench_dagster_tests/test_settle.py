"""What became of questions, by what a ledger holds."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.llm.calls import Answer, Question, Reply, Request
from valbench_dagster.llm.ledger import FinishedCall
from valbench_dagster.llm.replies import BadReply, read_reply
from valbench_dagster.llm.settle import NEVER_ASKED, advance, answers, remainder, settle
from valbench_dagster_tests.llm_fakes import MemoryLedger, completion, question, request, stored


def wants_yes(reply: Reply) -> str | None:
    return None if reply.text == "yes" else f"not yes but {reply.text}"


def replied(text: str, finish_reason: str = "stop") -> Reply:
    return read_reply("chat", completion(text, finish_reason=finish_reason))


def filled(*calls: FinishedCall) -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.calls.extend(calls)
    return ledger


def test_a_question_without_reply_is_its_request() -> None:
    asked = question("q")
    assert advance(asked, {}) == asked.request


def test_a_faulty_reply_leads_to_the_next_sample() -> None:
    asked = question("q", wants_yes, reasks=2)
    following = advance(asked, {asked.request.fingerprint: replied("no")})
    assert following == request("q", sample=1)


def test_a_truncated_reply_is_asked_again_with_twice_the_limit() -> None:
    asked = question("q", wants_yes, reasks=1)
    following = advance(asked, {asked.request.fingerprint: replied("ye", finish_reason="length")})
    assert following == request("q", sample=1, settings={"max_tokens": 200})


def test_the_first_usable_reply_of_the_chain_is_the_answer() -> None:
    asked = question("q", wants_yes, reasks=2)
    second = request("q", sample=1)
    answer = advance(asked, {asked.request.fingerprint: replied("no"), second.fingerprint: replied("yes")})
    assert answer == Answer("reply", second, replied("yes"), None)


def test_after_the_last_reask_the_last_faulty_reply_is_unparsed() -> None:
    asked = question("q", wants_yes, reasks=1)
    second = request("q", sample=1)
    answer = advance(asked, {asked.request.fingerprint: replied("no"), second.fingerprint: replied("maybe")})
    assert answer == Answer("unparsed", second, replied("maybe"), "not yes but maybe")


def test_an_unreadable_reply_is_asked_again_and_at_last_failed_with_no_text() -> None:
    first, second = request("q"), request("q", sample=1)
    bad = BadReply("not JSON")
    assert advance(question("q", reasks=1), {first.fingerprint: bad}) == second
    assert advance(question("q", reasks=1), {first.fingerprint: bad, second.fingerprint: bad}) == Answer(
        "failed", second, None, "unreadable reply: not JSON"
    )


def test_the_remainder_of_a_chain_has_the_reasks_that_are_left() -> None:
    asked = question("q", wants_yes, reasks=3)
    rest = remainder(asked, request("q", sample=2))
    assert (rest.request.sample, rest.reasks, rest.fault) == (2, 1, wants_yes)


def test_a_stored_body_that_cannot_be_read_is_never_served_as_text() -> None:
    (answer,) = answers([question("q")], filled(stored(request("q"), b'{"error": "none"}')))
    assert (answer.outcome, answer.reply) == ("failed", None)
    assert answer.detail is not None
    assert "unreadable" in answer.detail


def test_unresolved_questions_carry_the_newest_failure() -> None:
    asked = [question("a"), question("b"), question("c")]
    ledger = filled(
        stored(asked[0].request, None, "HTTP 500: first"),
        stored(asked[1].request, None, "HTTP 400: too long", kind="rejected"),
        stored(asked[0].request, None, "HTTP 500: second"),
    )
    found = [(answer.outcome, answer.reply, answer.detail) for answer in answers(asked, ledger)]
    assert found == [
        ("failed", None, "HTTP 500: second"),
        ("rejected", None, "HTTP 400: too long"),
        ("failed", None, NEVER_ASKED),
    ]


def test_a_failed_reask_is_the_failure_of_the_question() -> None:
    ledger = filled(stored(request("q"), completion("no")), stored(request("q", sample=1), None, "HTTP 503: away"))
    (answer,) = answers([question("q", wants_yes, reasks=1)], ledger)
    assert (answer.outcome, answer.request.sample, answer.detail) == ("failed", 1, "HTTP 503: away")


def test_questions_are_pulled_no_further_than_the_chunk() -> None:
    pulled = 0

    def endless() -> Iterator[Question]:
        nonlocal pulled
        while True:
            pulled += 1
            yield question(f"q{pulled}")

    states = settle(endless(), MemoryLedger(), chunk=5)
    next(states)
    assert pulled == 5
    for _ in range(5):
        next(states)
    assert pulled == 10


def test_a_chunk_without_questions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        next(settle([question("q")], MemoryLedger(), chunk=0))


# A ledger in which each of a few texts has any number of stored replies in its chain: usable, faulty or cut short.
CHAINS = st.lists(st.lists(st.sampled_from(["yes", "no", "cut"]), max_size=4), min_size=1, max_size=8)


def ledger_of(chains: list[list[str]]) -> MemoryLedger:
    ledger = MemoryLedger()
    for number, chain in enumerate(chains):
        asked = request(f"q{number}")
        for word in chain:
            body = completion(word, finish_reason="length" if word == "cut" else "stop")
            asyncio.run(ledger.append(stored(asked, body)))
            asked = asked.asked_again(truncated=word == "cut")
    return ledger


@settings(max_examples=60, deadline=None)
@given(CHAINS, st.lists(st.integers(0, 9), max_size=12), st.integers(0, 3), st.integers(1, 15))
def test_order_is_kept_and_the_result_is_the_same_whatever_the_chunk(
    chains: list[list[str]], order: list[int], reasks: int, chunk: int
) -> None:
    ledger = ledger_of(chains)
    asked = [question(f"q{number}", wants_yes, reasks) for number in order]
    one_by_one = [state for item in asked for state in settle([item], ledger)]
    assert list(settle(asked, ledger, chunk)) == one_by_one
    assert list(answers(asked, ledger, chunk)) == [answer for item in asked for answer in answers([item], ledger)]
    texts = [state.request if isinstance(state, Answer) else state for state in one_by_one]
    assert [text.messages[0].content for text in texts] == [f"q{number}" for number in order]


@settings(max_examples=60, deadline=None)
@given(CHAINS, st.integers(0, 3))
def test_what_is_to_be_asked_is_never_in_the_ledger(chains: list[list[str]], reasks: int) -> None:
    ledger = ledger_of(chains)
    for state in settle([question(f"q{number}", wants_yes, reasks) for number in range(10)], ledger):
        if isinstance(state, Request):
            assert ledger.replies([state.fingerprint]) == {}
            assert state.sample <= reasks


def test_a_reask_that_is_another_question_s_first_request_finds_its_reply() -> None:
    # Both are looked up in one go; the first question's chain leads to what the second asked for at once.
    first, second = question("q", wants_yes, reasks=1), question("q", wants_yes, sample=1)
    ledger = filled(stored(first.request, completion("no")), stored(second.request, completion("yes")))
    for order in ([first, second], [second, first]):
        assert [answer.outcome for answer in answers(order, ledger)] == ["reply", "reply"]
