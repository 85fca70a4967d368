"""Asking by batches: against a provider in memory, with a clock that costs no time.

The provider counts what it works off, so that paying twice shows. A process dies where a test says, and the next run
has nothing but the ledger and the provider.
"""

import logging
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.llm.batches.flow import ROUNDS
from valbench_dagster.llm.batches.port import BatchLimits
from valbench_dagster.llm.calls import Prices, Reply
from valbench_dagster.llm.stops import EndpointRefused
from valbench_dagster_tests.batch_fakes import POLL_S, STEP, Lab, asked
from valbench_dagster_tests.batch_provider import BatchProvider, Fate, Fault, billed_twice, replies
from valbench_dagster_tests.llm_fakes import completion, question, stored


def test_each_question_gets_its_reply_through_one_batch() -> None:
    lab, questions = Lab(), asked(5)
    tally = lab.run(questions)
    assert lab.answered(questions) == ["reply"] * 5
    assert (tally.questions, tally.from_ledger, tally.asked) == (5, 0, 5)
    # Each reply counts 10 tokens in and 5 out (`completion`).
    assert (tally.input_tokens, tally.output_tokens) == (50, 25)
    assert lab.batches() == [5]
    assert lab.ledger.kinds() == ["planned", "uploaded", "created", "ended", "collected"]
    assert lab.clean()


def test_a_line_asks_what_a_call_would_and_names_its_request() -> None:
    lab, one = Lab(), question("why?", settings={"max_tokens": 7, "temperature": 0.1})
    sent: list[dict[str, Any]] = []
    upload = lab.provider.upload

    def watch(name: str, content: bytes, purpose: str) -> dict[str, Any]:
        sent.extend(map(orjson.loads, content.splitlines()))
        return upload(name, content, purpose)

    lab.provider.upload = watch  # type: ignore[method-assign]  # the fake's own method, to see the file
    lab.run([one])
    assert sent == [
        {
            "custom_id": one.request.fingerprint,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "m",
                "messages": [{"role": "user", "content": "why?"}],
                "max_tokens": 7,
                "temperature": 0.1,
            },
        }
    ]


def test_a_reply_is_stored_with_its_batch_step_and_cost() -> None:
    lab = Lab()
    # 10 tokens in at 2 a million and 5 out at 4 a million: 40 millionths.
    lab.run([question("q", prices=Prices(2.0, 4.0))])
    (call,) = lab.ledger.calls
    assert (call.kind, call.batch, call.step, call.endpoint, call.provider) == (
        "reply",
        "batch_001",
        STEP,
        "lab",
        "lab",
    )
    assert call.cost == pytest.approx(40e-6)
    assert (call.attempts, call.status, call.run, call.served_model) == (1, 200, "run-1", "m")
    # It was created at some moment and seen to have ended after the second look, 30 s after the first.
    assert call.latency >= POLL_S


def test_what_the_ledger_holds_is_not_asked() -> None:
    lab, questions = Lab(), asked(4)
    lab.ledger.calls.append(stored(questions[1].request, completion("known")))
    tally = lab.run(questions)
    assert (tally.from_ledger, tally.asked) == (1, 3)
    assert lab.batches() == [3]
    assert lab.run(questions).asked == 0
    assert lab.batches() == [3]


def test_equal_requests_are_one_line() -> None:
    lab, questions = Lab(), [*asked(3), *asked(3)]
    tally = lab.run(questions)
    assert lab.batches() == [3]
    assert (tally.questions, tally.asked) == (6, 3)
    assert lab.answered(questions) == ["reply"] * 6


def test_no_question_makes_no_request() -> None:
    lab = Lab()
    assert lab.run([]).questions == 0
    assert not lab.provider.asked


def test_two_thousand_requests_go_into_four_files() -> None:
    lab, questions = Lab(), asked(2000)
    tally = lab.run(questions, limits=BatchLimits(requests_a_file=500))
    assert lab.batches() == [500] * 4
    assert tally.asked == 2000
    assert lab.answered(questions) == ["reply"] * 2000
    assert lab.clean()


def test_a_file_is_cut_before_its_bytes_pass_the_limit() -> None:
    lab, questions = Lab(), asked(10)
    # One line of these is a little over 200 bytes: three fit under 700, a fourth does not.
    lab.run(questions, limits=BatchLimits(bytes_a_file=700))
    assert lab.batches() == [3, 3, 3, 1]


def test_a_request_longer_than_a_file_may_be_is_rejected_and_the_others_are_asked() -> None:
    lab, questions = Lab(), [question("x" * 1000), *asked(2)]
    tally = lab.run(questions, limits=BatchLimits(bytes_a_file=700))
    assert lab.answered(questions) == ["rejected", "reply", "reply"]
    assert tally.rejected == 1
    assert "longer than a file may be (700)" in (
        lab.ledger.failures([questions[0].request.fingerprint]).popitem()[1].message
    )


def test_a_file_holds_one_model() -> None:
    lab = Lab()
    lab.run([*asked(3), *asked(2, model="other")])
    assert sorted(lab.batches()) == [2, 3]


def test_no_more_batches_are_open_at_once_than_the_limit() -> None:
    lab, questions = Lab(), asked(50)
    lab.run(questions, limits=BatchLimits(requests_a_file=10, open_at_once=2), chunk=7)
    assert lab.batches() == [10] * 5
    opened = most = 0
    for kind in lab.ledger.kinds():
        opened += (kind == "created") - (kind == "collected")
        most = max(most, opened)
    assert most == 2


def test_progress_counts_what_the_provider_says_is_done() -> None:
    lab = Lab(BatchProvider(fate=lambda _: Fate(looks=3)))
    lab.run(asked(8))
    # The provider says that half of the lines are done while it is at work (`BatchProvider`).
    assert {said.done for said in lab.said} >= {4, 8}
    assert any(said.waiting == "batches at the provider: 1 in_progress" and said.in_flight == 8 for said in lab.said)
    assert lab.said[-1].done == lab.said[-1].total == 8
    assert [said.done for said in lab.said] == sorted(said.done for said in lab.said)


# --- what a batch leaves open ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["expired", "cancelled"])
def test_what_a_batch_did_not_get_to_goes_into_the_next(ends: str) -> None:
    lab = Lab(BatchProvider(fate=lambda number: Fate(ends, answered=4) if number == 0 else Fate()))
    questions = asked(10)
    tally = lab.run(questions)
    assert lab.batches() == [10, 6]
    assert (tally.asked, tally.failed) == (10, 0)
    assert lab.answered(questions) == ["reply"] * 10
    assert not billed_twice(lab.provider)
    assert lab.clean()


def test_a_request_that_three_batches_leave_open_is_a_failure_that_says_so() -> None:
    lab, questions = Lab(BatchProvider(fate=lambda _: Fate("expired", answered=0))), asked(2)
    tally = lab.run(questions)
    assert lab.batches() == [2] * ROUNDS
    assert (tally.failed, tally.asked) == (2, 2)
    (call, _) = lab.ledger.calls
    assert call.kind == "failed"
    assert call.attempts == ROUNDS
    assert call.message is not None
    assert call.message.startswith("no usable answer in 3 batches, the last expired: ")
    assert "batch_expired" in call.message
    assert lab.clean()


def test_a_failed_request_is_asked_again_by_the_next_run() -> None:
    lab, questions = (
        Lab(BatchProvider(fate=lambda number: Fate("expired", answered=0) if number < 3 else Fate())),
        asked(2),
    )
    lab.run(questions)
    assert lab.run(questions).asked == 2
    assert lab.answered(questions) == ["reply", "reply"]


def test_a_line_with_a_client_error_is_rejected_with_the_providers_message() -> None:
    def answer(custom_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["messages"][-1]["content"] == "q1":
            return 400, {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length"}}
        return replies(custom_id, body)

    lab, questions = Lab(BatchProvider(answer=answer)), asked(3)
    tally = lab.run(questions)
    assert lab.answered(questions) == ["reply", "rejected", "reply"]
    assert (tally.rejected, tally.asked) == (1, 3)
    (rejected,) = (call for call in lab.ledger.calls if call.kind == "rejected")
    assert (rejected.status, rejected.message) == (400, "HTTP 400: context_length: too long")
    assert lab.batches() == [3]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_line_with_a_passing_error_is_asked_again(status: int) -> None:
    tries: Counter[str] = Counter()

    def answer(custom_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        tries[custom_id] += 1
        passing = body["messages"][-1]["content"] == "q1" and tries[custom_id] == 1
        return (status, {"error": {"message": "busy"}}) if passing else replies(custom_id, body)

    lab, questions = Lab(BatchProvider(answer=answer)), asked(3)
    assert lab.run(questions).failed == 0
    assert lab.batches() == [3, 1]
    assert lab.answered(questions) == ["reply"] * 3


def test_a_line_that_refuses_the_model_stops_the_run_once_all_lines_are_stored() -> None:
    def answer(custom_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        good = body["messages"][-1]["content"] == "q0"
        return replies(custom_id, body) if good else (404, {"error": {"message": "no such model", "code": "model"}})

    lab, questions = Lab(BatchProvider(answer=answer)), asked(3)
    with pytest.raises(EndpointRefused, match=r"endpoint lab refused a call to m .*no such model"):
        lab.run(questions)
    assert lab.ledger.by_kind() == {"reply": 1, "failed": 2}
    assert lab.clean()


def test_twenty_rejections_and_no_reply_stop_the_run() -> None:
    lab = Lab(BatchProvider(answer=lambda *_: (400, {"error": {"message": "unknown parameter"}})))
    with pytest.raises(EndpointRefused, match="rejected the first 20 requests to m"):
        lab.run(asked(30), limits=BatchLimits(requests_a_file=25, open_at_once=1))
    assert lab.batches() == [25]
    assert lab.ledger.by_kind() == {"rejected": 25}


def test_replies_of_another_model_stop_the_run_and_are_not_stored_as_replies() -> None:
    def answer(custom_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return 200, orjson.loads(completion("hello", model="tiny-llama"))

    lab = Lab(BatchProvider(answer=answer))
    with pytest.raises(EndpointRefused, match="answers as `tiny-llama` where `m` was asked"):
        lab.run(asked(2))
    assert lab.ledger.by_kind() == {"failed": 2}


def test_a_faulty_reply_is_asked_again_in_the_next_batch() -> None:
    def fault(reply: Reply) -> str | None:
        return None if reply.text == "good" else "not good"

    def answer(custom_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        first = custom_id in first_asks
        return 200, orjson.loads(completion("bad" if first else "good"))

    questions = asked(3, fault=fault, reasks=1)
    first_asks = {each.request.fingerprint for each in questions}
    lab = Lab(BatchProvider(answer=answer))
    tally = lab.run(questions)
    assert lab.batches() == [3, 3]
    assert (tally.asked, tally.reasks, tally.unparsed) == (6, 3, 0)
    assert lab.answered(questions) == ["reply"] * 3


def test_a_reply_that_stays_faulty_is_unparsed() -> None:
    lab, questions = Lab(), asked(2, fault=lambda _: "never good", reasks=2)
    tally = lab.run(questions)
    assert lab.batches() == [2, 2, 2]
    assert (tally.unparsed, tally.asked) == (2, 6)


# --- result files as no provider should write them -------------------------------------------------------------------


def test_lines_that_are_no_results_of_the_batch_are_counted_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    def bend(kind: str, lines: list[bytes]) -> list[bytes]:
        if kind == "error" or len(lines) < 4:
            return lines
        unknown = orjson.dumps({**orjson.loads(lines[0]), "custom_id": "f" * 32})
        # The first line twice, a stranger, half of the second line, and the rest but for the fourth.
        return [lines[0], lines[0], unknown, lines[1][:40], b"", b"[1]", lines[2], *lines[4:]]

    lab, questions = Lab(BatchProvider(bend=bend)), asked(6)
    with caplog.at_level(logging.WARNING):
        tally = lab.run(questions)
    assert "2 malformed, 1 of requests that are not in it, 1 repeated" in caplog.text
    # The second and the fourth have no line: they are asked again.
    assert lab.batches() == [6, 2]
    assert tally.asked == 6
    assert lab.answered(questions) == ["reply"] * 6
    assert not lab.ledger.twice()


def test_a_completed_batch_without_an_output_file_is_asked_again() -> None:
    first = [True]

    def bend(_kind: str, lines: list[bytes]) -> list[bytes]:
        return [] if first and first.pop() else lines

    lab, questions = Lab(BatchProvider(bend=bend)), asked(3)
    assert lab.run(questions).failed == 0
    assert lab.batches() == [3, 3]


def test_a_file_that_the_provider_has_lost_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    lab, questions = Lab(), asked(3)
    lab.provider.goes_wrong("content", Fault(404, "not_found"))
    with caplog.at_level(logging.WARNING):
        lab.run(questions)
    assert "has lost its file" in caplog.text
    assert lab.answered(questions) == ["reply"] * 3


def test_a_reply_wins_over_an_error_for_the_same_request() -> None:
    def bend(kind: str, lines: list[bytes]) -> list[bytes]:
        if kind == "error":
            return lines
        error = {"custom_id": orjson.loads(lines[0])["custom_id"], "response": None, "error": {"code": "server_error"}}
        return [orjson.dumps(error), *lines]

    lab, questions = Lab(BatchProvider(bend=bend)), asked(2)
    lab.run(questions)
    assert lab.batches() == [2]
    assert lab.ledger.by_kind() == {"reply": 2}


@settings(max_examples=40)
@given(
    lines=st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(["custom_id", "response", "error", "status_code", "body", "code", "message"]),
                        inner,
                        max_size=4,
                    )
                ),
                max_leaves=12,
            ).map(lambda value: orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATETIME) if _fits(value) else b"1"),
        ),
        max_size=6,
    )
)
def test_whatever_stands_in_a_result_file_each_question_ends_once(lines: list[bytes]) -> None:
    lab = Lab(BatchProvider(bend=lambda kind, good: [line.replace(b"\n", b" ") for line in lines] + good))
    questions = asked(2)
    tally = lab.run(questions)
    assert (tally.questions, tally.asked) == (2, 2)
    assert lab.answered(questions) == ["reply", "reply"]


def _fits(value: Any) -> bool:
    """Say whether every integer fits 64 bits: orjson writes no others."""
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


# --- batches that fail as a whole ------------------------------------------------------------------------------------


def test_lines_that_the_check_of_a_file_names_are_rejected_and_the_others_go_again() -> None:
    errors = ({"code": "invalid_body", "line": 2, "message": "no such field", "param": None},)
    lab = Lab(BatchProvider(fate=lambda number: Fate("failed", errors=errors) if number == 0 else Fate()))
    questions = asked(4)
    tally = lab.run(questions)
    assert lab.batches() == [4, 3]
    assert lab.answered(questions) == ["reply", "rejected", "reply", "reply"]
    assert tally.rejected == 1
    (rejected,) = (call for call in lab.ledger.calls if call.kind == "rejected")
    assert rejected.message == "invalid_body: no such field"


def test_a_batch_refused_as_a_whole_stops_the_run_with_the_providers_reason() -> None:
    errors = ({"code": "billing_hard_limit_reached", "line": None, "message": "pay first", "param": None},)
    lab, questions = Lab(BatchProvider(fate=lambda _: Fate("failed", errors=errors))), asked(3)
    with pytest.raises(EndpointRefused, match=r"refused batch batch_001 of 3 requests as a whole \(billing.*pay first"):
        lab.run(questions)
    assert not lab.ledger.calls
    assert lab.clean()


def test_a_full_queue_is_waited_for_and_files_get_smaller() -> None:
    errors = ({"code": "token_limit_exceeded", "line": None, "message": "limit reached", "param": None},)
    provider = BatchProvider()
    # The file of eight is refused, then the first of two with four; its four go as twice two.
    provider.fate = lambda number: Fate("failed", errors=errors) if number < 2 else Fate()
    lab, questions = Lab(provider), asked(8)
    tally = lab.run(questions)
    assert lab.batches() == [8, 4, 4, 2, 2]
    assert (tally.asked, tally.failed) == (8, 0)
    assert lab.clean()


def test_a_queue_that_is_always_full_stops_the_run_in_the_end() -> None:
    errors = ({"code": "token_limit_exceeded", "line": None, "message": "limit reached", "param": None},)
    lab = Lab(BatchProvider(fate=lambda _: Fate("failed", errors=errors)))
    with pytest.raises(EndpointRefused, match="limit reached"):
        lab.run(asked(2))
    assert lab.clock.time > 24 * 3600
    assert not lab.ledger.calls
