"""Chat completions by the stand-ins: the body of a request to the body of its reply, without a server.

Here belongs the protocol: which models there are, what a request must look like, what a reply looks like. What a
stand-in says is its own module's; status codes and sockets are the server's. Equal requests get equal replies:
`created` is fixed and the id derives from the body. Tokens are words and single marks, those of all message contents
and those of the reply.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from valbench_dagster.identity import canonical_json, identify
from valbench_dagster.stand_ins import respondents
from valbench_dagster.stand_ins.annotator import annotate
from valbench_dagster.stand_ins.convention import UnreadableError
from valbench_dagster.stand_ins.judge import judge
from valbench_dagster.stand_ins.respondents import Respondent
from valbench_dagster.stand_ins.writer import write_pair

CREATED: Final = 1_767_225_600
"""2026-01-01, UTC: when every model and every reply was made."""

MODELS: Final[Mapping[str, Respondent]] = MappingProxyType(
    {
        "stand-in-annotator": annotate,
        "stand-in-writer": write_pair,
        "stand-in-judge": judge,
        "stand-in-opposed": respondents.opposed,
        "stand-in-aligned": respondents.aligned,
        "stand-in-refuser": respondents.refuser,
        "stand-in-half-refuser": respondents.half_refuser,
        "stand-in-uninformed": respondents.uninformed,
        "stand-in-mixture": respondents.mixture,
    }
)

B = TypeVar("B", bound="Body")

_TOKEN = re.compile(r"\w+|[^\w\s]")
_TYPES: Mapping[type, str] = MappingProxyType({str: "string", bool: "boolean", int: "integer"})


class ChatError(ValueError):
    """A request that gets no completion; `param` names the field at fault, `code` the kind of fault, where known."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class UnknownModelError(ChatError):
    """A request for a model that is no stand-in."""


class Body(BaseModel):
    """A body of a request, or a part of one."""

    # What else a client sends (temperature, seed, ...) changes nothing here and is let through, as servers do.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Part(Body):
    type: Literal["text"]
    text: str


class _Message(Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class _JsonSchema(Body):
    name: str
    schema_: dict[str, Any] = Field(alias="schema")


class Format(Body):
    """The form of a reply, as chat and text completions are told it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class _Chat(Body):
    model: str
    messages: list[_Message] = Field(min_length=1)
    n: Literal[1] | None = None
    stream: Literal[False] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    response_format: Format | None = None


def complete(body: bytes) -> dict[str, Any]:
    """Give the chat completion for the body of a request.

    Raises `UnknownModelError` for a model that is no stand-in, `ChatError` for anything else that is wrong.
    """
    content, chat = read_body(body, _Chat)
    if chat.model not in MODELS:
        raise UnknownModelError(
            f"The model `{chat.model}` does not exist; there are {', '.join(MODELS)}", "model", "model_not_found"
        )
    system = "\n\n".join(message.text for message in chat.messages if message.role in ("system", "developer"))
    users = [message.text for message in chat.messages if message.role == "user"]
    if not users:
        raise ChatError("messages: there is no user message", "messages")
    try:
        text = MODELS[chat.model](system, users[-1])
    except UnreadableError as error:
        raise ChatError(f"{chat.model}: {error}", "messages", "unreadable_prompt") from error
    text = _formatted(chat.model, text, chat.response_format)
    said = list(_TOKEN.finditer(text))
    limit = min(len(said), chat.max_tokens or len(said), chat.max_completion_tokens or len(said))
    asked = sum(len(_TOKEN.findall(message.text)) for message in chat.messages)
    message = {"role": "assistant", "content": text[: said[limit - 1].end()], "refusal": None}
    stopped = "stop" if limit == len(said) else "length"
    return {
        "id": f"chatcmpl-{identify('stand-in reply', content)}",
        "object": "chat.completion",
        "created": CREATED,
        "model": chat.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": stopped}],
        "usage": {"prompt_tokens": asked, "completion_tokens": limit, "total_tokens": asked + limit},
    }


def read_body(body: bytes, form: type[B]) -> tuple[Any, B]:
    """Parse and check a body: its JSON and its fields; raises `ChatError` that names every fault of them at once."""
    try:
        content = json.loads(body)
        canonical_json(content)
    except (ValueError, RecursionError) as error:
        raise ChatError(f"the body is not JSON: {error}") from error
    try:
        return content, form.model_validate(content)
    except ValidationError as error:
        faults = [(".".join(str(step) for step in fault["loc"]) or "body", fault["msg"]) for fault in error.errors()]
        raise ChatError("; ".join(f"{place}: {message}" for place, message in faults), faults[0][0]) from error


def _formatted(model: str, text: str, wanted: Format | None) -> str:
    """Give a reply the form that was asked for: with a schema, its fields in its order and no others."""
    if wanted is None or wanted.type == "text":
        return text
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise ChatError(f"{model} replies in prose, not in JSON", "response_format") from error
    if wanted.type == "json_object":
        return text
    if wanted.json_schema is None:
        raise ChatError("response_format.json_schema is missing", "response_format")
    schema = wanted.json_schema.schema_
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        raise ChatError("a schema needs an object of properties and a list of required ones", "response_format")
    faults = [f"has no field {name}" for name in (*properties, *required) if name not in fields]
    faults += [
        f"cannot give {name} as {json.dumps(kind)}"
        for name, kind in properties.items()
        if name in fields and not _fits(fields[name], kind)
    ]
    if faults:
        named = "; ".join(dict.fromkeys(faults))
        raise ChatError(f"{model}, asked for {wanted.json_schema.name}: {named}", "response_format")
    return json.dumps({name: fields[name] for name in properties}, ensure_ascii=False)


def _fits(value: object, kind: Any) -> bool:
    """Whether a value of a stand-in is of a property's type and in its enum; other keywords are not looked at."""
    if not isinstance(kind, dict):
        return kind is True
    declared = kind.get("type", [])
    types = [declared] if isinstance(declared, str) else declared
    allowed = kind.get("enum", [value])
    if not isinstance(types, list) or not isinstance(allowed, list):
        return False
    return (not types or _TYPES[type(value)] in types) and value in allowed
