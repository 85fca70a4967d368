"""OpenAI's Responses, the API kind `responses` (https://platform.openai.com/docs/api-reference/responses)."""

from collections.abc import Mapping
from typing import Any

from valbench_dagster.llm.apis.reading import BadReply, beginning, cited, counts, name, whole_object
from valbench_dagster.llm.apis.schema_prompt import messages_sent
from valbench_dagster.llm.apis.thoughts import split_thought
from valbench_dagster.llm.calls import Reply, Request, SchemaMode

PATH = "responses"

_ENDED = {"completed": "stop", "max_output_tokens": "length"}
"""Status and incomplete reasons that chat completions have another word for."""


def request_body(request: Request, mode: SchemaMode, settings: dict[str, Any]) -> dict[str, Any]:
    """Give the JSON body of a request: `settings` (which it may keep), model, input and form of the reply.

    The provider is told to keep nothing, unless the settings have a `store`; a `text` of theirs (verbosity) keeps its
    other fields.
    """
    body = settings
    body.setdefault("store", False)
    body["model"] = request.served.model
    body["input"] = [{"role": each.role, "content": each.content} for each in messages_sent(request, mode)]
    if request.schema is not None and mode != "prompt":
        wanted: dict[str, Any] = {"type": mode}
        if mode == "json_schema":
            wanted |= {"name": request.schema_name or "reply", "schema": dict(request.schema), "strict": True}
        told = body.get("text")
        body["text"] = {**(told if isinstance(told, Mapping) else {}), "format": wanted}
    return body


def read_reply(data: Any, raw: bytes) -> Reply:
    """Read a response, `data`, of the body `raw`.

    Its finish reason is `stop`, `length`, `content_filter` or another reason for being incomplete. Messages marked as
    commentary are reasoning, like the reasoning items; items of tools (a web search) are not part of what was said.
    Raises `BadReply` on a response that failed, was cancelled or is not finished, and where there is no output.
    """
    data = whole_object(data, raw)
    finish_reason = _finish_reason(data, raw)
    output = data.get("output")
    if not isinstance(output, list):
        raise BadReply(f"no output in: {beginning(raw)}")
    said: list[str] = []
    refused: list[str] = []
    thoughts: list[str] = []
    addresses: list[str] = []
    for item in output:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "reasoning":
            thoughts += _texts(item.get("summary"), "summary_text") + _texts(item.get("content"), "reasoning_text")
        elif kind == "message" and item.get("phase") == "commentary":
            thoughts += _texts(item.get("content"), "output_text")
        elif kind == "message":
            said += _texts(item.get("content"), "output_text")
            refused += _texts(item.get("content"), "refusal", "refusal")
            parts = item.get("content")
            for part in parts if isinstance(parts, list) else ():
                addresses += cited(part.get("annotations")) if isinstance(part, dict) else []
    text, in_text = split_thought("".join(said) if said else None)
    tokens = counts(data.get("usage"), "input_tokens", "output_tokens")
    return Reply(
        text=text,
        reasoning="\n\n".join(part for part in (*thoughts, in_text) if part) or None,
        finish_reason=finish_reason,
        refusal="".join(refused) or None,
        served_model=name(data.get("model"), raw),
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cached_tokens=tokens.cached,
        reasoning_tokens=tokens.reasoning,
        citations=tuple(dict.fromkeys(addresses)),
    )


def _finish_reason(data: Mapping[str, Any], raw: bytes) -> str | None:
    """Give the reason why a response ended, null where it has no status; raises `BadReply` where it has not."""
    status = name(data.get("status"), raw)
    if status == "incomplete":
        details = data.get("incomplete_details")
        status = name(details.get("reason"), raw) if isinstance(details, dict) else status
    elif status not in ("completed", None):
        raise BadReply(f"a response that is {status}: {beginning(raw)}")
    return None if status is None else _ENDED.get(status, status)


def _texts(parts: Any, kind: str, key: str = "text") -> list[str]:
    """List the texts of the parts of a kind, in order."""
    found: list[str] = []
    for part in parts if isinstance(parts, list) else ():
        value = part.get(key) if isinstance(part, dict) and part.get("type") == kind else None
        if isinstance(value, str):
            found.append(value)
    return found
