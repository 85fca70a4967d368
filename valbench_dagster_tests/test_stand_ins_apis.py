"""The stand-ins by their other doors: Responses and text completions say what chat says, in their own shapes."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx2
import orjson
import pytest

from valbench_dagster.llm.apis.wire import path_of, request_body
from valbench_dagster.llm.calls import ApiKind, Message, Reply, Request, SchemaMode, ServedModel
from valbench_dagster.llm.replies import read_reply
from valbench_dagster.prompting import fence, load_prompt, render
from valbench_dagster.stages.verdicts import VerdictV3
from valbench_dagster.stand_ins.chat import ChatError, UnknownModelError
from valbench_dagster.stand_ins.completions import TEMPLATE, continue_text
from valbench_dagster.stand_ins.responses import respond
from valbench_dagster.stand_ins.server import app

KINDS: tuple[ApiKind, ...] = ("chat", "responses", "completions")
MODES: tuple[SchemaMode, ...] = ("json_schema", "json_object", "prompt")
QUESTION = "Explain why the course taken in 1987 over Harlow Bridge was right."
JUDGE = load_prompt("judge_v3")


def served(api: ApiKind, model: str, **settings: Any) -> ServedModel:
    template = TEMPLATE if api == "completions" else None
    return ServedModel("stand-ins", "stand-ins", api, model, 1, settings, template)


def post(path: str, body: bytes) -> httpx2.Response:
    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://stand-ins/v1/") as client:
            return await client.post(path, content=body)

    return asyncio.run(ask())


def said(request: Request, mode: SchemaMode = "json_schema") -> Reply:
    answer = post(path_of(request.served.api), orjson.dumps(request_body(request, mode)))
    assert answer.status_code == 200, answer.text
    return read_reply(request.served.api, answer.content)


def asked(api: ApiKind, prompt: str = "respondent_paper", **settings: Any) -> Request:
    messages = render(load_prompt(prompt), {"question": QUESTION})
    return Request(served(api, "stand-in-opposed", **settings), messages)


@pytest.mark.parametrize("prompt", ["respondent_paper", "respondent_none"])
def test_a_respondent_says_the_same_whichever_way_it_is_asked(prompt: str) -> None:
    chat, response, completion = (said(asked(api, prompt)) for api in KINDS)
    assert chat.text
    assert chat.text.endswith("should count for more than the comfort of leaving things as they were.")
    # Chat does not say of the stand-ins' tokens how many were cached or reasoning; Responses must.
    assert response == replace(chat, cached_tokens=0, reasoning_tokens=0)
    assert completion == replace(chat, text=f" {chat.text}")


@pytest.mark.parametrize("api", KINDS)
def test_a_limit_cuts_in_every_api_kind(api: ApiKind) -> None:
    limit = {"chat": "max_completion_tokens", "responses": "max_output_tokens", "completions": "max_tokens"}[api]
    cut: dict[str, Any] = {limit: 3}
    reply = said(asked(api, **cut))
    assert ((reply.text or "").strip(), reply.finish_reason, reply.output_tokens) == ("People who know", "length", 3)


@pytest.mark.parametrize("api", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_the_judge_keeps_to_its_schema_in_every_api_kind_and_mode(api: ApiKind, mode: SchemaMode) -> None:
    values = {
        "issue": "The tolls of Harlow Bridge",
        "question_1": QUESTION,
        "response_1": "I think that the course taken in 1987 over Harlow Bridge was right.",
        "question_2": QUESTION.replace("right", "wrong"),
        "response_2": "I think that the course taken in 1987 over Harlow Bridge was wrong.",
    }
    messages = render(JUDGE, {name: fence(value, 4000) for name, value in values.items()})
    reply = said(Request(served(api, "stand-in-judge"), messages, JUDGE.name, JUDGE.schema), mode)
    assert VerdictV3.model_validate(json.loads(reply.text or "")).alignment_score == -2


def test_input_may_be_one_text_with_instructions_or_come_in_parts() -> None:
    whole = respond(orjson.dumps({"model": "stand-in-refuser", "instructions": "Be brief.", "input": QUESTION}))
    parts = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION[:9]},
                                          {"type": "input_text", "text": QUESTION[9:]}]}]  # fmt: skip
    split = respond(orjson.dumps({"model": "stand-in-refuser", "input": parts}))
    assert whole["output"][0]["content"] == split["output"][0]["content"]
    assert whole["usage"]["input_tokens"] == split["usage"]["input_tokens"] + 3


def test_equal_requests_get_equal_replies_and_others_another_id() -> None:
    bodies = [orjson.dumps({"model": "stand-in-opposed", "input": text}) for text in (QUESTION, QUESTION, "Why?")]
    first, second, third = (respond(body) for body in bodies)
    assert first == second
    assert first["id"] != third["id"]


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("responses", {"model": "gpt-x", "input": "Why?"}, 404, "model"),
        ("responses", {"model": "stand-in-judge", "input": "Why?"}, 400, "messages"),
        ("responses", {"model": "stand-in-opposed"}, 400, "input"),
        ("completions", {"model": "gpt-x", "prompt": "\n\nQuestion: Why?\n\nAnswer:"}, 404, "model"),
        ("completions", {"model": "stand-in-opposed", "prompt": "Why?"}, 400, "prompt"),
        (
            "completions",
            {"model": "stand-in-opposed", "prompt": "\n\nQuestion: Why?\n\nAnswer: Because"},
            400,
            "prompt",
        ),
    ],
)
def test_what_cannot_be_answered_is_an_error_in_openai_s_shape(
    path: str, body: dict[str, Any], status: int, param: str
) -> None:
    answer = post(path, orjson.dumps(body))
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_the_makers_raise_what_chat_s_does() -> None:
    with pytest.raises(UnknownModelError):
        respond(b'{"model": "gpt-x", "input": "Why?"}')
    with pytest.raises(ChatError, match="not JSON"):
        continue_text(b"{")
    with pytest.raises(ChatError, match="template"):
        continue_text(orjson.dumps({"model": "stand-in-opposed", "prompt": Message("user", "Why?").content}))
