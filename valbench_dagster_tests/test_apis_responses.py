"""The Responses API: what is put on the wire, and what its replies are read as."""

from typing import Any

import orjson
import pytest

from valbench_dagster.llm.apis.wire import path_of, request_body
from valbench_dagster.llm.calls import Message, Request, ServedModel
from valbench_dagster.llm.replies import BadReply, read_reply

SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
MESSAGES = (Message("system", "Be brief."), Message("user", "Why?"))


def asked(schema: dict[str, Any] | None = None, **settings: Any) -> Request:
    return Request(ServedModel("lab", "lab", "responses", "gpt-x", 1, settings), MESSAGES, "verdict", schema)


def test_a_request_s_body_is_input_with_roles_and_nothing_is_to_be_kept() -> None:
    settings: dict[str, Any] = {
        "max_output_tokens": 900,
        "reasoning": {"effort": "low"},
        "tools": [{"type": "web_search"}],
    }
    assert path_of("responses") == "responses"
    assert request_body(asked(**settings)) == {
        **settings,
        "store": False,
        "model": "gpt-x",
        "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
    }
    assert request_body(asked(store=True))["store"] is True


def test_a_schema_is_the_format_of_the_text_and_other_text_settings_stay() -> None:
    strict = request_body(asked(SCHEMA, text={"verbosity": "low"}), "json_schema")
    wanted = {"type": "json_schema", "name": "verdict", "schema": SCHEMA, "strict": True}
    assert strict["text"] == {"verbosity": "low", "format": wanted}
    assert strict["input"][0]["content"] == "Be brief."
    loose = request_body(asked(SCHEMA), "json_object")
    assert loose["text"] == {"format": {"type": "json_object"}}
    worded = request_body(asked(SCHEMA), "prompt")
    assert "text" not in worded
    assert loose["input"] == worded["input"]
    assert "JSON schema" in worded["input"][0]["content"]


def message(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": parts, **more}


def said(text: str, *urls: str) -> dict[str, Any]:
    cited = [{"type": "url_citation", "url": url, "title": "t", "start_index": 0, "end_index": 4} for url in urls]
    return {"type": "output_text", "text": text, "annotations": cited, "logprobs": []}


def response(*output: Any, **changes: Any) -> bytes:
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "gpt-x-2026-08-07",
        "output": output,
        "store": False,
        "usage": {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 32},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 123,
        },
    }
    return orjson.dumps(whole | changes)


REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Weighing."}],
    "content": [{"type": "reasoning_text", "text": "Let me see."}],
    "encrypted_content": "gAAA",
}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}


def test_a_whole_response_is_read() -> None:
    reply = read_reply("responses", response(REASONING, SEARCH, message(said("Ye"), said("s.")), message(said(" So."))))
    assert (reply.text, reply.reasoning, reply.refusal) == ("Yes. So.", "Weighing.\n\nLet me see.", None)
    assert (reply.finish_reason, reply.served_model, reply.system_fingerprint) == ("stop", "gpt-x-2026-08-07", None)
    counted = (reply.input_tokens, reply.output_tokens, reply.cached_tokens, reply.reasoning_tokens)
    assert counted == (36, 87, 32, 64)


def test_citations_are_each_address_once_in_order() -> None:
    one, two = "https://a.example.org/?utm_source=x", "https://b.example.org/"
    reply = read_reply("responses", response(SEARCH, message(said("Yes.", two, one), said("So.", two))))
    assert reply.citations == (two, one)


def test_what_a_model_says_while_it_works_is_not_what_it_answers() -> None:
    working = message(said("I will look that up.", "https://a.example.org/"), phase="commentary")
    reply = read_reply("responses", response(working, SEARCH, message(said("Yes."), phase="final_answer")))
    assert (reply.text, reply.reasoning, reply.citations) == ("Yes.", "I will look that up.", ())


def test_a_leading_think_block_of_a_server_without_a_parser_is_reasoning() -> None:
    reply = read_reply("responses", response(message(said("<think>Hm.</think>Yes."))))
    assert (reply.text, reply.reasoning) == ("Yes.", "Hm.")


@pytest.mark.parametrize(
    ("raw", "text", "finish_reason", "refusal"),
    [
        (
            response(message(said("Becau")), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            *("Becau", "length", None),
        ),
        # The limit went on reasoning: there is no message at all.
        (
            response(REASONING, status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            *(None, "length", None),
        ),
        (response(status="incomplete", incomplete_details={"reason": "content_filter"}), None, "content_filter", None),
        (response(message(said("Pa")), status="incomplete", incomplete_details=None), "Pa", "incomplete", None),
        (
            response(message(said("Pa")), status="incomplete", incomplete_details={"reason": "max_messages"}),
            *("Pa", "max_messages", None),
        ),
        (response(message({"type": "refusal", "refusal": "I can't."})), None, "stop", "I can't."),
        (response(SEARCH), None, "stop", None),
        (response(), None, "stop", None),
        (response(message(said("")), status=None), "", None, None),
        (response(message(said("Yes.")), None, 3, {"type": "new_kind"}), "Yes.", "stop", None),
    ],
)
def test_every_way_to_end_has_its_finish_reason(
    raw: bytes, text: str | None, finish_reason: str | None, refusal: str | None
) -> None:
    reply = read_reply("responses", raw)
    assert (reply.text, reply.finish_reason, reply.refusal) == (text, finish_reason, refusal)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (response(status="failed", error={"code": "server_error", "message": "try again"}), "try again"),
        (response(status="failed"), "a response that is failed"),
        (response(status="cancelled"), "a response that is cancelled"),
        (response(status="queued"), "a response that is queued"),
        (response(status="in_progress"), "a response that is in_progress"),
        (b'{"status": "completed"}', "no output"),
        (b'{"choices": [{"message": {"content": "Yes."}}]}', "no output"),
        (response(output={}), "no output"),
    ],
)
def test_what_is_no_finished_response_is_a_bad_reply(raw: bytes, why: str) -> None:
    with pytest.raises(BadReply, match=why):
        read_reply("responses", raw)
