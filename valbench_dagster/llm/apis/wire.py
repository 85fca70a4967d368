"""The wire: the address and the JSON body of a request, by the API kind of its endpoint.

Here belongs the choice between kinds; what one kind looks like is a module of its own (`chat.py`). Reading replies is
`llm/replies.py`, sending is an adapter's.
"""

from typing import Any

from valbench_dagster.llm.apis import chat
from valbench_dagster.llm.calls import Request, SchemaMode


def path_of(api: str) -> str:
    """Give the path of an API kind below an endpoint's base URL; raises `ValueError` for one that is not known."""
    if api != "chat":
        raise ValueError(f"api {api!r} is not known, expected 'chat'")
    return chat.PATH


def request_body(request: Request, mode: SchemaMode = "json_schema") -> dict[str, Any]:
    """Give the JSON body of a request; a schema it has is asked for in the given mode.

    Settings go in as they are; model, messages and schema are ours whatever the settings say. Where the settings hold
    a `seed`, each sample is sent another one. Raises `ValueError` for an API kind that is not known.
    """
    path_of(request.served.api)
    return chat.request_body(request, mode)
