"""How a model is asked for replies by a schema, found out by its first replies."""

import asyncio
import json
from typing import Any

import pytest

from valbench_dagster.llm.calls import Question, Reply, Request
from valbench_dagster.llm.replies import parse_json_object
from valbench_dagster.llm.schema_modes import SchemaModes
from valbench_dagster_tests.llm_fakes import (
    FakeClock,
    MemoryLedger,
    ScriptedTransport,
    Step,
    ask,
    asking,
    completion,
    request,
    status,
)

SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
OBEDIENT, PROSE = completion('{"score": 1}'), completion("The score is one.")


def is_json(reply: Reply) -> str | None:
    try:
        parse_json_object(reply.text or "")
    except ValueError as error:
        return str(error)
    return None


def structured(text: str, reasks: int = 0, **served: Any) -> Question:
    return Question(request(text, schema=SCHEMA, **served), is_json, reasks)


def many(count: int, **served: Any) -> list[Question]:
    return [structured(f"q{number}", 2, **served) for number in range(count)]


def mode_of(asked: Request, transport: ScriptedTransport) -> str:
    """Tell in which mode a request was sent last."""
    sent = json.loads(transport.body_of[asked.fingerprint])
    return str(sent.get("response_format", {"type": "prompt"})["type"])


def modes(ledger: MemoryLedger) -> list[str | None]:
    return [call.schema_mode for call in ledger.calls]


def test_a_server_that_obeys_is_asked_by_schema_throughout() -> None:
    tally, ledger, transport = ask(many(20), lambda _request, _number: OBEDIENT)
    assert (tally.asked, tally.unparsed, tally.reasks) == (20, 0, 0)
    assert set(modes(ledger)) == {"json_schema"}
    assert {json.loads(body)["response_format"]["type"] for body in transport.bodies} == {"json_schema"}


def test_a_request_without_a_schema_has_no_mode_and_waits_for_nobody() -> None:
    _, ledger, transport = ask(
        [*many(3), Question(request("plain"))], lambda _request, _number: OBEDIENT, concurrency=4
    )
    assert [(time, text) for time, text, _ in transport.sent if time == 0.0] == [(0.0, "q0"), (0.0, "plain")]
    assert modes(ledger)[1] is None


def test_the_first_structured_request_of_a_model_goes_alone() -> None:
    _, _, transport = ask(many(9), lambda _request, _number: OBEDIENT, concurrency=4)
    assert [time for time, _, _ in transport.sent] == [0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]


def test_each_model_has_a_first_request_of_its_own() -> None:
    asked = [*many(3, model="m"), *many(3, model="n")]
    _, _, transport = ask(
        asked, lambda each, _number: completion('{"score": 1}', model=each.served.model), concurrency=8
    )
    assert [time for time, _, _ in transport.sent] == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("pinned", ["json_schema", "json_object", "prompt"])
def test_a_pinned_mode_is_always_used_and_nobody_waits(pinned: str) -> None:
    _, ledger, transport = ask(many(3, structured=pinned), lambda _request, _number: PROSE, concurrency=8)
    assert set(modes(ledger)) == {pinned}
    assert [time for time, _, _ in transport.sent][:3] == [0.0] * 3


REFUSALS = [
    (400, "'response_format' of type 'json_schema' is not supported with this model"),
    (400, "Invalid schema for response_format 'reply': In context=(), 'additionalProperties' is required"),
    (422, "body.response_format.type: Input should be 'text' or 'json_object'"),
    (400, "guided decoding is not enabled on this server"),
    (400, "failed to parse grammar"),
    (404, "No endpoints found that support structured outputs"),
]


@pytest.mark.parametrize(("code", "message"), REFUSALS)
def test_a_server_that_refuses_schemas_is_asked_for_json_at_once_and_without_an_attempt(
    code: int, message: str
) -> None:
    def script(asked: Request, _number: int) -> Step:
        return OBEDIENT if mode_of(asked, transport) != "json_schema" else status(code, message)

    clock, ledger = FakeClock(), MemoryLedger()
    transport = ScriptedTransport(script, clock, 1)
    tally = asyncio.run(asking(many(5), ledger, transport, clock))
    assert (tally.asked, tally.rejected, tally.failed) == (5, 0, 0)
    assert modes(ledger) == ["json_object"] * 5
    assert [call.attempts for call in ledger.calls] == [1] * 5
    # One try by schema, then the same call again in the next second, and nobody tries it any more.
    assert len(transport.sent) == 6
    assert [text for _, text, _ in transport.sent[:2]] == ["q0", "q0"]
    assert "json_object" in ledger.calls[0].request.decode()


def test_a_server_that_refuses_json_too_is_asked_by_the_prompt_alone() -> None:
    def script(asked: Request, _number: int) -> Step:
        refused = mode_of(asked, transport) != "prompt"
        return status(400, "unknown field response_format") if refused else OBEDIENT

    clock, ledger = FakeClock(), MemoryLedger()
    transport = ScriptedTransport(script, clock, 1)
    asyncio.run(asking(many(4), ledger, transport, clock))
    assert modes(ledger) == ["prompt"] * 4
    assert len(transport.sent) == 3 + 3


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens; your messages and response_format resulted in 9000",
        "the prompt is too long: 9000 tokens with the json_schema",
        "temperature is not supported",
    ],
)
def test_other_rejections_change_nothing(message: str) -> None:
    _, ledger, transport = ask([structured("q")], lambda _request, _number: status(400, message))
    assert (len(transport.sent), [call.kind for call in ledger.calls]) == (1, ["rejected"])
    assert modes(ledger) == ["json_schema"]


def test_a_first_request_that_ends_without_a_reply_lets_the_next_go_alone() -> None:
    def script(asked: Request, _number: int) -> Step:
        return status(413, "too much") if asked.messages[0].content == "q0" else OBEDIENT

    _, ledger, transport = ask(many(5), script, concurrency=4)
    assert [time for time, _, _ in transport.sent] == [0.0, 1.0, 2.0, 2.0, 2.0]
    assert [call.kind for call in ledger.calls].count("rejected") == 1


def test_a_server_that_ignores_the_schema_is_asked_by_the_prompt_from_then_on() -> None:
    # As transformers' server does: HTTP 200 and free text. The first reply is stored and asked again like any other.
    def script(asked: Request, _number: int) -> Step:
        return OBEDIENT if mode_of(asked, transport) == "prompt" else PROSE

    clock, ledger = FakeClock(), MemoryLedger()
    transport = ScriptedTransport(script, clock, 4)
    tally = asyncio.run(asking(many(6), ledger, transport, clock))
    assert (tally.asked, tally.reasks, tally.unparsed) == (7, 1, 0)
    assert modes(ledger) == ["json_schema", *["prompt"] * 6]


def test_prose_after_an_obedient_reply_is_that_replys_own_fault() -> None:
    def script(asked: Request, _number: int) -> Step:
        return PROSE if asked.messages[0].content == "q2" and asked.sample == 0 else OBEDIENT

    tally, ledger, _ = ask(many(6), script)
    assert (tally.reasks, tally.unparsed) == (1, 0)
    assert set(modes(ledger)) == {"json_schema"}


def test_a_schema_that_one_request_cannot_have_after_others_could_is_a_rejection() -> None:
    def script(asked: Request, _number: int) -> Step:
        return status(400, "failed to parse grammar") if asked.messages[0].content == "q2" else OBEDIENT

    tally, ledger, _ = ask(many(6), script)
    assert tally.rejected == 1
    assert set(modes(ledger)) == {"json_schema"}


@pytest.mark.parametrize(
    "reply",
    [
        completion("The score is", finish_reason="length"),
        completion(None, fields={"refusal": "I will not."}),
        completion(""),
        completion("   \n"),
        completion("I cannot", finish_reason="content_filter"),
    ],
)
def test_a_reply_that_is_cut_refused_filtered_or_empty_tells_nothing_of_the_server(reply: bytes) -> None:
    def script(asked: Request, _number: int) -> Step:
        return reply if asked.messages[0].content == "q0" and asked.sample == 0 else OBEDIENT

    _, ledger, _ = ask(many(6), script)
    assert set(modes(ledger)) == {"json_schema"}


def test_calls_that_were_out_when_the_mode_changed_are_repeated_in_the_new_one() -> None:
    # The first reply is cut, so that all go on by schema; then the server refuses it to all four at once.
    def script(asked: Request, _number: int) -> Step:
        if mode_of(asked, transport) != "json_schema":
            return OBEDIENT
        first = asked.messages[0].content == "q0" and asked.sample == 0
        return completion('{"sc', finish_reason="length") if first else status(400, "no response_format here")

    clock, ledger = FakeClock(), MemoryLedger()
    transport = ScriptedTransport(script, clock, 4)
    tally = asyncio.run(asking(many(8), ledger, transport, clock))
    assert (tally.rejected, tally.failed, tally.unparsed) == (0, 0, 0)
    assert modes(ledger) == ["json_schema", *["json_object"] * 8]


def test_whoever_waits_for_the_first_is_let_go_when_it_is_cancelled() -> None:
    async def run() -> list[str | None]:
        ways = SchemaModes()
        first, second = request("a", schema=SCHEMA), request("b", schema=SCHEMA)
        begun = [await ways.begin(first)]
        waiting = asyncio.create_task(ways.begin(second))
        await asyncio.sleep(0)
        assert not waiting.done()
        ways.end(first)
        return [*begun, await waiting]

    assert asyncio.run(run()) == ["json_schema", "json_schema"]
