"""Chat completions, the API kind `chat` (https://platform.openai.com/docs/api-reference/chat)."""

from typing import Any

from valbench_dagster.llm.calls import Request, SchemaMode

PATH = "chat/completions"


def request_body(request: Request, mode: SchemaMode) -> dict[str, Any]:
    """Give the JSON body of a request."""
    served = request.served
    body: dict[str, Any] = dict(served.settings)
    if isinstance(body.get("seed"), int):
        body["seed"] += request.sample
    body["model"] = served.model
    body["messages"] = [{"role": message.role, "content": message.content} for message in request.messages]
    if request.schema is not None and mode == "json_schema":
        named = {"name": request.schema_name or "reply", "schema": dict(request.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body
