"""Settling: what became of each question, by what the ledger holds.

Pure but for look-ups in the ledger: nothing is sent here. What a step publishes is made from `answers` alone, so it
depends on the ledger and not on the order in which servers replied.

A stored reply that cannot be read counts as a faulty one: asked again where the question allows it, else the answer is
`failed` with no reply, since there is nothing to show. (The dispatcher stores no such reply; a ledger filled by other
means may hold one.)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from valbench_dagster.llm.calls import Answer, Outcome, Question, Reply, Request, nothing_wrong
from valbench_dagster.llm.finish_reasons import wants_more_tokens
from valbench_dagster.llm.ledger import Ledger
from valbench_dagster.llm.replies import BadReply, read_reply

T = TypeVar("T")

CHUNK = 1000
"""Questions looked up together."""

NEVER_ASKED = "not asked yet: run the step again to ask what is missing"


def advance(question: Question, replies: Mapping[str, Reply | BadReply]) -> Answer | Request:
    """Follow the chain of a question's asks through `replies` (by fingerprint): its answer, or what to ask next.

    A faulty reply leads to the next sample of the same request, with twice the limit if it was cut short, up to
    `question.reasks` times.
    """
    request, left = question.request, question.reasks
    while True:
        reply = replies.get(request.fingerprint)
        if reply is None:
            return request
        if isinstance(reply, BadReply):
            truncated, last = False, Answer("failed", request, None, f"unreadable reply: {reply}")
        else:
            fault = question.fault(reply)
            if fault is None:
                return Answer("reply", request, reply, None)
            truncated, last = wants_more_tokens(reply), Answer("unparsed", request, reply, fault)
        if left == 0:
            return last
        request = request.asked_again(truncated=truncated)
        left -= 1


def remainder(question: Question, request: Request) -> Question:
    """Give the rest of a question's chain, from `request` (one that `advance` gave for it) on."""
    asked = request.sample - question.request.sample
    return replace(question, request=request, reasks=question.reasks - asked)


def follow(questions: Sequence[Question], ledger: Ledger) -> list[Answer | Request]:
    """Give for each question its answer by the ledger or the request to make next, in order.

    One look-up for all of them per link of the longest chain.
    """
    states: list[Answer | Request] = [question.request for question in questions]
    known: dict[str, Reply | BadReply] = {}
    looked_up: set[str] = set()
    while True:
        wanted = {state.fingerprint: state for state in states if isinstance(state, Request)}
        fresh = [fingerprint for fingerprint in wanted if fingerprint not in looked_up]
        if not fresh:
            return states
        looked_up.update(fresh)
        # All of them before any chain is followed: one question's re-ask may be another's first request.
        for fingerprint, raw in ledger.replies(fresh).items():
            known[fingerprint] = _read(wanted[fingerprint].served.api, raw)
        for place, (question, state) in enumerate(zip(questions, states, strict=True)):
            if isinstance(state, Request) and state.fingerprint in known:
                states[place] = advance(question, known)


def missing(questions: Sequence[Question], ledger: Ledger) -> list[Outcome | Request]:
    """Give for each question what became of it by the ledger or the request to make next, in order.

    As `follow`, for those who need no replies: of a question that takes any reply and asks once, the ledger is only
    asked whether it has one. (One that cannot be read counts as a reply here, and as `failed` in `answers`: it is not
    asked again in either case.)
    """
    plain = [question.fault is nothing_wrong and question.reasks == 0 for question in questions]
    wanted = {question.request.fingerprint for question, is_plain in zip(questions, plain, strict=True) if is_plain}
    known = ledger.known(list(wanted)) if wanted else set()
    looked_into = [question for question, is_plain in zip(questions, plain, strict=True) if not is_plain]
    followed = iter(follow(looked_into, ledger))
    states: list[Outcome | Request] = []
    for question, is_plain in zip(questions, plain, strict=True):
        if is_plain:
            states.append("reply" if question.request.fingerprint in known else question.request)
        else:
            state = next(followed)
            states.append(state.outcome if isinstance(state, Answer) else state)
    return states


def settle(questions: Iterable[Question], ledger: Ledger, chunk: int = CHUNK) -> Iterator[Answer | Request]:
    """Give for each question its answer by the ledger or the request to make next: in order, streaming.

    Never more than `chunk` questions and their replies are held.
    """
    for some in in_chunks(questions, chunk):
        yield from follow(some, ledger)


def answers(questions: Iterable[Question], ledger: Ledger, chunk: int = CHUNK) -> Iterator[Answer]:
    """Give what became of each question, in order, streaming like `settle`.

    A question that still lacks a reply is `rejected` or `failed` with the message of the newest stored failure, or
    `failed` with `NEVER_ASKED` where there is none.
    """
    for some in in_chunks(questions, chunk):
        states = follow(some, ledger)
        lacking = [state.fingerprint for state in states if isinstance(state, Request)]
        failures = ledger.failures(list(dict.fromkeys(lacking))) if lacking else {}
        for state in states:
            if isinstance(state, Answer):
                yield state
                continue
            failure = failures.get(state.fingerprint)
            if failure is None:
                yield Answer("failed", state, None, NEVER_ASKED)
            else:
                yield Answer("rejected" if failure.kind == "rejected" else "failed", state, None, failure.message)


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut an iterable into lists of at most `size`, pulling no further than the list given."""
    if size < 1:
        raise ValueError(f"a chunk holds at least one item, not {size}")
    pulled = iter(items)
    while some := list(islice(pulled, size)):
        yield some


def _read(api: str, raw: bytes) -> Reply | BadReply:
    try:
        return read_reply(api, raw)
    except BadReply as bad:
        return bad
