"""Chat completions, the API kind `chat` (https://platform.openai.com/docs/api-reference/chat)."""

from typing import Any

from valbench_dagster.llm.apis.reading import (
    BadReply,
    beginning,
    cited,
    counts,
    ending,
    first_choice,
    name,
    text,
    whole_object,
)
from valbench_dagster.llm.apis.schema_prompt import messages_sent
from valbench_dagster.llm.apis.thoughts import split_thought
from valbench_dagster.llm.calls import Reply, Request, SchemaMode
from valbench_dagster.llm.finish_reasons import ends_without_words

PATH = "chat/completions"


def request_body(request: Request, mode: SchemaMode, settings: dict[str, Any]) -> dict[str, Any]:
    """Give the JSON body of a request: `settings` (which it may keep), model, messages and form of the reply."""
    body = settings
    body["model"] = request.served.model
    body["messages"] = [{"role": each.role, "content": each.content} for each in messages_sent(request, mode)]
    if request.schema is not None and mode != "prompt":
        body["response_format"] = response_format(request, mode)
    return body


def response_format(request: Request, mode: SchemaMode) -> dict[str, Any]:
    """Give the form of the reply as chat and text completions are told it."""
    if mode == "json_object":
        return {"type": "json_object"}
    named = {"name": request.schema_name or "reply", "schema": dict(request.schema or {}), "strict": True}
    return {"type": "json_schema", "json_schema": named}


def read_reply(data: Any, raw: bytes) -> Reply:
    """Read a chat completion, `data`, of the body `raw`.

    Reasoning is taken from `reasoning_content` or `reasoning` (vLLM since 0.16), from thinking parts of the content
    and from a leading block of it; citations from the message's annotations, else from the list that Perplexity and
    xAI put beside the choices. Raises `BadReply` where there is no choice with a message. A choice that its filter or
    limit left without one is a reply without text.
    """
    data = whole_object(data, raw)
    choice = first_choice(data, raw)
    finish_reason = ending(choice, raw)
    message = choice.get("message")
    if message is None and ends_without_words(finish_reason):
        message = {}
    if not isinstance(message, dict):
        raise BadReply(f"no message in the first choice of: {beginning(raw)}")
    content, refusal = message.get("content"), text(message.get("refusal"))
    in_parts = None
    if isinstance(content, list):
        content, in_parts, refused = _read_parts(content)
        refusal = refusal or refused
    elif not isinstance(content, str | None):
        raise BadReply(f"content that is no text in: {beginning(raw)}")
    said, in_text = split_thought(content)
    apart = text(message.get("reasoning_content")) or text(message.get("reasoning"))
    addresses = cited(message.get("annotations")) or _listed(data.get("citations"))
    tokens = counts(data.get("usage"))
    return Reply(
        text=said,
        reasoning="\n\n".join(part for part in (apart, in_parts, in_text) if part) or None,
        finish_reason=finish_reason,
        refusal=refusal,
        served_model=name(data.get("model"), raw),
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cached_tokens=tokens.cached,
        reasoning_tokens=tokens.reasoning,
        citations=tuple(dict.fromkeys(addresses)) if addresses else (),
        system_fingerprint=name(data.get("system_fingerprint"), raw),
    )


def _read_parts(parts: list[Any]) -> tuple[str | None, str | None, str | None]:
    """Give text, thinking and refusal of content that comes in parts (Mistral's thinking is in parts once more)."""
    said: list[str] = []
    thought: list[str] = []
    refused: list[str] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            said += _strings(part.get("text"))
        elif kind == "thinking":
            inner = part.get("thinking")
            each = [one.get("text") for one in inner if isinstance(one, dict)] if isinstance(inner, list) else [inner]
            thought += [one for value in each for one in _strings(value)]
        elif kind == "refusal":
            refused += _strings(part.get("refusal"))
    return ("".join(said) if said else None), "".join(thought) or None, "".join(refused) or None


def _strings(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else []


def _listed(addresses: Any) -> list[str]:
    return [each for each in addresses if isinstance(each, str) and each] if isinstance(addresses, list) else []
