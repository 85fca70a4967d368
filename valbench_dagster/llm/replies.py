"""Replies: the server's JSON read into a `Reply`, and the JSON that a model wrote read into a dict.

Here belongs what real servers do to both: three places for reasoning, content in parts, error objects with status
200, code fences, control characters in strings. Whether the content of a reply will do is its question's affair.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from valbench_dagster.llm.calls import Reply

_FENCE = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\r?\n?(.*?)\s*```", re.DOTALL)
_OPEN, _CLOSE = "<think>", "</think>"


class BadReply(ValueError):  # noqa: N818 - names what was received
    """A body that is no reply of the API, with a message that says why and shows its beginning."""


def read_reply(api: str, raw: bytes) -> Reply:
    """Read the body of a successful answer.

    Reasoning is taken from `reasoning_content`, `reasoning` (vLLM since 0.16) or a leading think block; a block that
    is never closed leaves reasoning and no text. Text is otherwise as it came. Raises `BadReply` on anything that is
    no chat completion with a choice, and `ValueError` for an unknown API kind.
    """
    if api != "chat":
        raise ValueError(f"api {api!r} is not known, expected 'chat'")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadReply(f"not JSON ({error}): {_beginning(raw)}") from None
    choice, message = _first_choice(data, raw)
    text, thought = _split_thought(_joined(message.get("content"), "text"))
    thoughts = [
        _joined(message.get("reasoning_content"), "text") or _joined(message.get("reasoning"), "text"),
        _joined(message.get("content"), "thinking") if isinstance(message.get("content"), list) else None,
        thought,
    ]
    usage = data.get("usage")
    counted: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    return Reply(
        text=text,
        reasoning="\n\n".join(part for part in thoughts if part) or None,
        finish_reason=_text_or_none(choice.get("finish_reason")),
        refusal=_text_or_none(message.get("refusal")),
        served_model=_text_or_none(data.get("model")),
        input_tokens=_count(counted.get("prompt_tokens")),
        output_tokens=_count(counted.get("completion_tokens")),
    )


def parse_json_object(text: str) -> dict[str, Any]:
    """Read the one JSON object that a model was asked for.

    One code fence around all of it is taken off and raw control characters in strings are allowed (vLLM writes them).
    Raises `ValueError` on prose around the object, another JSON value, a repeated key (which of two scores is meant?),
    NaN, half a surrogate pair, and nesting too deep to be meant.
    """
    stripped = text.strip()
    fenced = _FENCE.fullmatch(stripped)
    try:
        value = json.loads(
            fenced[1] if fenced else stripped,
            strict=False,
            object_pairs_hook=_once_each,
            parse_constant=_no_constant,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("not JSON of a sane depth") from None
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair in a string") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value


def _first_choice(data: Any, raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    if not isinstance(data, dict):
        raise BadReply(f"expected a JSON object, found: {_beginning(raw)}")
    if data.get("error"):
        raise BadReply(f"an error with a success status: {_beginning(orjson.dumps(data['error']))}")
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadReply(f"no choices in: {_beginning(raw)}")
    choice = choices[0]
    if choice.get("error"):
        raise BadReply(f"an error in place of a reply: {_beginning(orjson.dumps(choice['error']))}")
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadReply(f"no message in the first choice of: {_beginning(raw)}")
    if not isinstance(message.get("content"), str | list | None):
        raise BadReply(f"content that is no text in: {_beginning(raw)}")
    return choice, message


def _joined(value: Any, kind: str) -> str | None:
    """Give a string as it is, and of a list of parts those of the kind, joined; null if there is nothing such."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return None
    found = [_joined(part.get(kind), "text") for part in value if isinstance(part, dict) and part.get("type") == kind]
    return "".join(part for part in found if part) if found else None


def _split_thought(content: str | None) -> tuple[str | None, str | None]:
    """Split content into text and the reasoning in a leading think block.

    A closing tag without an opening one ends a block too: chat templates that open it for the model leave only that.
    """
    if content is None:
        return None, None
    start = content.lstrip()
    if start.startswith(_OPEN):
        thought, closed, text = start[len(_OPEN) :].partition(_CLOSE)
    else:
        thought, closed, text = content.partition(_CLOSE)
        if not closed or _OPEN in thought:
            return content, None
    return (text.lstrip() if closed else None), thought.strip()


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _beginning(raw: bytes) -> str:
    return " ".join(raw[:400].decode("utf-8", "replace").split()) or "an empty body"
