"""Schemas in words: what a model is told of the form of its reply where its server does not hold it to one.

Here belong those words and where they stand. They are part of the body that is sent, not of the request: whoever asks
says what form a reply must have, and how the server is brought to give it is found out on the way.
"""

from collections.abc import Mapping
from typing import Any

from valbench_dagster.identity import canonical_json
from valbench_dagster.llm.calls import Message, Request, SchemaMode


def messages_sent(request: Request, mode: SchemaMode) -> tuple[Message, ...]:
    """Give a request's messages, with its schema in the last system message unless the server is given it.

    Where there is no system message, one of these words alone comes first.
    """
    if request.schema is None or mode == "json_schema":
        return request.messages
    words = in_words(request.schema)
    messages = list(request.messages)
    for place in reversed(range(len(messages))):
        if messages[place].role == "system":
            messages[place] = Message("system", f"{messages[place].content}\n\n{words}")
            return tuple(messages)
    return (Message("system", words), *messages)


def in_words(schema: Mapping[str, Any]) -> str:
    """Say what a schema asks for: one JSON object, its keys in the schema's order, and the schema.

    The keys are named because the canonical form sorts them, and a reason should be written before what it is for.
    """
    properties = schema.get("properties")
    keys = ", ".join(f'"{key}"' for key in properties) if isinstance(properties, Mapping) else ""
    named = f" Write its keys in this order: {keys}." if keys else ""
    return (
        "Reply with one JSON object and nothing else: no text before or after it, no code fence."
        f"{named} The object must be valid against this JSON schema:\n{canonical_json(dict(schema)).decode()}"
    )
