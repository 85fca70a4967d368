"""Structured replies: the JSON a worker was asked for, checked against a pydantic model.

The server is sent the prompt's schema, and the reply is validated all the same: of three real servers one obeys a
schema, one obeys but writes control characters into strings, and one ignores it without a word.
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from valbench_dagster.llm.calls import Reply
from valbench_dagster.llm.finish_reasons import is_blank_loop, is_filtered, is_truncated
from valbench_dagster.llm.replies import parse_json_object

T = TypeVar("T", bound=BaseModel)

_SHOWN = 1000
"""Characters of what is wrong that are told: a key that a model made up may be of any length."""


def read_structured(model: type[T], reply: Reply) -> T:
    """Read a reply as `model`; raises `ValueError` with one line that says what is wrong with it."""
    if reply.refusal:
        raise ValueError(f"refused: {reply.refusal[:200]}")
    if is_filtered(reply):
        raise ValueError(f"stopped by the server's content filter (finish reason {reply.finish_reason})")
    if is_blank_loop(reply):
        raise ValueError(f"white space without end (finish reason {reply.finish_reason})")
    if not (reply.text and reply.text.strip()):
        raise ValueError(f"empty reply (finish reason {reply.finish_reason})")
    if is_truncated(reply):
        raise ValueError("cut short by the token limit")
    data = parse_json_object(reply.text)
    try:
        return model.model_validate(data, strict=True)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ValueError(f"not as the schema says: {wrong[:_SHOWN]}") from error


def fault_against(model: type[BaseModel]) -> Callable[[Reply], str | None]:
    """Give the rule that finds a reply faulty unless it reads as `model`."""

    def fault(reply: Reply) -> str | None:
        try:
            read_structured(model, reply)
        except ValueError as error:
            return str(error)
        return None

    return fault
