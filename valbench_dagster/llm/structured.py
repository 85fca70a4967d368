"""Structured replies: the JSON a worker was asked for, checked against a pydantic model.

The server is sent the prompt's schema, and the reply is validated all the same: of three real servers one obeys a
schema, one obeys but writes control characters into strings, and one ignores it without a word.
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from valbench_dagster.llm.calls import Reply
from valbench_dagster.llm.replies import parse_json_object

T = TypeVar("T", bound=BaseModel)


def read_structured(model: type[T], reply: Reply) -> T:
    """Read a reply as `model`; raises `ValueError` with one line that says what is wrong with it."""
    if reply.refusal:
        raise ValueError(f"refused: {reply.refusal[:200]}")
    if not reply.text:
        raise ValueError(f"empty reply (finish reason {reply.finish_reason})")
    if reply.finish_reason == "length":
        raise ValueError("cut short by the token limit")
    data = parse_json_object(reply.text)
    try:
        return model.model_validate(data, strict=True)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ValueError(f"not as the schema says: {wrong}") from error


def fault_against(model: type[BaseModel]) -> Callable[[Reply], str | None]:
    """Give the rule that finds a reply faulty unless it reads as `model`."""

    def fault(reply: Reply) -> str | None:
        try:
            read_structured(model, reply)
        except ValueError as error:
            return str(error)
        return None

    return fault
