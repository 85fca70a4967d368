"""Replies: the server's JSON read into a `Reply`, and the JSON that a model wrote read into a dict.

Here belongs the door to both, and what models do to JSON: code fences, control characters in strings. What servers do
to it is known where a kind of API is read (`apis/`). Whether the content of a reply will do is its question's affair.
"""

import json
import re
from typing import Any, NoReturn

import orjson

from valbench_dagster.llm.apis.reading import BadReply, beginning
from valbench_dagster.llm.apis.wire import kind_of
from valbench_dagster.llm.calls import Reply

__all__ = ["BadReply", "parse_json_object", "read_reply"]

_FENCE = "```"
_OPENING = re.compile(r"```[A-Za-z0-9_-]*")


def read_reply(api: str, raw: bytes) -> Reply:
    """Read the body of a successful answer of an endpoint of the API kind `api`.

    Reasoning, wherever the server keeps it, is apart from the text; a leading think block that is never closed leaves
    reasoning and no text. Text is otherwise as it came. Raises `BadReply` on anything that is no finished reply of the
    API, whatever the bytes, and `ValueError` for an unknown API kind.
    """
    kind = kind_of(api)
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadReply(f"not JSON ({error}): {beginning(raw)}") from None
    return kind.read_reply(data, raw)


def parse_json_object(text: str) -> dict[str, Any]:
    """Read the one JSON object that a model was asked for.

    One code fence around all of it is taken off and raw control characters in strings are allowed (vLLM writes them).
    Raises `ValueError` on prose around the object, another JSON value, a repeated key (which of two scores is meant?),
    NaN, half a surrogate pair, and nesting too deep to be meant.
    """
    stripped = text.strip()
    opening = _OPENING.match(stripped)
    if opening and stripped.endswith(_FENCE) and len(stripped) >= opening.end() + len(_FENCE):
        stripped = stripped[opening.end() : -len(_FENCE)].strip()
    try:
        value = json.loads(
            stripped,
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


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
