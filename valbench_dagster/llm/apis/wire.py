"""The wire: the address, the JSON body and the reply of a request, by the API kind of its endpoint.

Here belongs the choice between kinds; what one kind looks like is a module of its own (`chat.py`, `responses.py`,
`completions.py`). Sending is an adapter's.
"""

from typing import Any, Protocol

from valbench_dagster.llm.apis import chat, completions, responses
from valbench_dagster.llm.calls import Reply, Request, SchemaMode


class _Kind(Protocol):
    """What the module of an API kind holds."""

    PATH: str

    def request_body(self, request: Request, mode: SchemaMode, settings: dict[str, Any]) -> dict[str, Any]: ...

    def read_reply(self, data: Any, raw: bytes) -> Reply: ...


_KINDS: dict[str, _Kind] = {"chat": chat, "responses": responses, "completions": completions}


def kind_of(api: str) -> _Kind:
    """Give the module of an API kind; raises `ValueError` for one that is not known."""
    kind = _KINDS.get(api)
    if kind is None:
        raise ValueError(f"api {api!r} is not known, expected one of {', '.join(map(repr, _KINDS))}")
    return kind


def path_of(api: str) -> str:
    """Give the path of an API kind below an endpoint's base URL; raises `ValueError` for one that is not known."""
    return kind_of(api).PATH


def request_body(request: Request, mode: SchemaMode = "json_schema") -> dict[str, Any]:
    """Give the JSON body of a request; a schema it has is asked for in the given mode.

    Settings go in as they are; model, messages and the form of the reply are ours whatever the settings say. Where the
    settings hold a `seed`, each sample is sent another one. Raises `ValueError` for an API kind that is not known, and
    for `completions` without a template or with one that has a problem (`completions.template_problem`).
    """
    settings: dict[str, Any] = dict(request.served.settings)
    if type(settings.get("seed")) is int:
        settings["seed"] += request.sample
    return kind_of(request.served.api).request_body(request, mode, settings)
