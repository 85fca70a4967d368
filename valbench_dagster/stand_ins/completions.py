"""Text completions by the stand-ins: one text, read back into the messages it was made of.

Here belongs the template that they read; a real base model reads any. Who answers is `chat`'s affair.
"""

import json
from typing import Any, Final, Literal

from pydantic import Field

from valbench_dagster.identity import identify
from valbench_dagster.stand_ins.chat import CREATED, Body, ChatError, Format, complete, read_body

TEMPLATE: Final = "{system}\n\nQuestion: {question}\n\nAnswer:"
"""The template that a roster gives a stand-in on an endpoint of the API kind `completions`."""

_QUESTION, _ANSWER = "\n\nQuestion: ", "\n\nAnswer:"


class _Asked(Body):
    model: str
    prompt: str
    max_tokens: int | None = Field(default=None, ge=1)
    response_format: Format | None = None
    n: Literal[1] | None = None
    echo: Literal[False] | None = None
    stream: Literal[False] | None = None


def continue_text(body: bytes) -> dict[str, Any]:
    """Give the completion for the body of a request; it begins with a blank, as those of base models do.

    Raises as `chat.complete` does, and `ChatError` on a prompt that is not of `TEMPLATE`.
    """
    content, asked = read_body(body, _Asked)
    system, question = _read_prompt(asked.prompt)
    messages = [{"role": "user", "content": question}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    chat: dict[str, Any] = {"model": asked.model, "messages": messages, "max_tokens": asked.max_tokens}
    if asked.response_format is not None:
        chat["response_format"] = asked.response_format.model_dump(by_alias=True)
    reply = complete(json.dumps(chat).encode())
    choice = reply["choices"][0]
    text = f" {choice['message']['content']}"
    return {
        "id": f"cmpl-{identify('stand-in completion', content)}",
        "object": "text_completion",
        "created": CREATED,
        "model": reply["model"],
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": choice["finish_reason"]}],
        "usage": reply["usage"],
    }


def _read_prompt(prompt: str) -> tuple[str, str]:
    """Read system message (empty if there is none) and question of a prompt of `TEMPLATE`."""
    system, asked, rest = prompt.partition(_QUESTION)
    question, ended, after = rest.rpartition(_ANSWER)
    if not asked or not ended or after.strip():
        raise ChatError(
            f"prompt: the stand-ins read prompts of the template {TEMPLATE!r}", "prompt", "unreadable_prompt"
        )
    return system, question
