"""Responses by the stand-ins: OpenAI's other way of asking, brought back to chat completions.

Here belongs its protocol, as far as the stand-ins need it. Who answers, and what is wrong with a request, is `chat`'s.
"""

import json
from typing import Any, Literal

from pydantic import Field

from valbench_dagster.identity import identify
from valbench_dagster.stand_ins.chat import CREATED, Body, complete, read_body


class _Part(Body):
    type: Literal["input_text", "output_text"]
    text: str


class _Input(Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]


class _Format(Body):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class _Text(Body):
    format: _Format | None = None


class _Asked(Body):
    model: str
    input: str | list[_Input]
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    text: _Text | None = None
    stream: Literal[False] | None = None
    background: Literal[False] | None = None


def respond(body: bytes) -> dict[str, Any]:
    """Give the response for the body of a request; raises as `chat.complete` does."""
    content, asked = read_body(body, _Asked)
    reply = complete(json.dumps(_as_chat(asked)).encode())
    choice, usage = reply["choices"][0], reply["usage"]
    cut = choice["finish_reason"] == "length"
    status = "incomplete" if cut else "completed"
    name = identify("stand-in response", content)
    said = {"type": "output_text", "text": choice["message"]["content"], "annotations": [], "logprobs": []}
    return {
        "id": f"resp_{name}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "model": reply["model"],
        "output": [
            {"id": f"msg_{name}", "type": "message", "status": status, "role": "assistant", "content": [said]},
        ],
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        },
    }


def _as_chat(asked: _Asked) -> dict[str, Any]:
    """Give the same request as the body of a chat completion."""
    messages = [] if asked.instructions is None else [{"role": "system", "content": asked.instructions}]
    if isinstance(asked.input, str):
        messages.append({"role": "user", "content": asked.input})
    else:
        for each in asked.input:
            parts = each.content if isinstance(each.content, str) else "".join(part.text for part in each.content)
            messages.append({"role": each.role, "content": parts})
    chat: dict[str, Any] = {"model": asked.model, "messages": messages}
    if asked.max_output_tokens is not None:
        chat["max_completion_tokens"] = asked.max_output_tokens
    wanted = asked.text.format if asked.text else None
    if wanted is not None:
        chat["response_format"] = {"type": wanted.type}
        if wanted.schema_ is not None:
            chat["response_format"]["json_schema"] = {"name": wanted.name or "reply", "schema": wanted.schema_}
    return chat
