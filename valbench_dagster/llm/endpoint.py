"""Endpoints: where requests go, what is put on the wire for one, and how a transport says that a call went wrong.

Vendor-free. Here belong the settings of a server, the body of a request, and the port that adapters implement
(`adapters/openai_client.py`; scripted objects in tests). When to call again is `retry.py`, in what order and how many
at once is `dispatcher.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from valbench_dagster.llm.calls import Request

STAND_INS = "stand-ins:"
"""The base URL that means: no network, an ASGI app in this process answers."""

FaultKind = Literal["connection", "timeout", "status", "broken"]
"""`connection`: none was had or it broke; `timeout`: too slow; `status`: the server answered with an error status;
`broken`: the server answered with success and a body that is no reply of the API."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One OpenAI-compatible server as the roster describes it.

    `concurrency` is the most calls in flight at once, `timeout_s` the seconds from sending to the last byte. What may
    hold a secret (`api_key`, `headers`, `proxy`) is left out of the representation.
    """

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 64
    timeout_s: float = 600.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)


class TransportFault(Exception):  # noqa: N818 - a fault is one try gone wrong; the error is what comes of it in the end
    """One try of one call that brought no reply.

    `status` is null where no HTTP status was had; `message` is the server's or the network's, without any secret;
    `retry_after` is in seconds, null where the server asked for none.
    """

    def __init__(self, kind: FaultKind, status: int | None, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind: FaultKind = kind
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        """Name the fault and its message, as it is stored in the ledger."""
        return f"{self.kind if self.status is None else f'HTTP {self.status}'}: {self.message}"


class Transport(Protocol):
    """One open endpoint."""

    @property
    def concurrency(self) -> int:
        """The most calls that may be in flight at once."""
        ...

    async def send(self, request: Request) -> bytes:
        """Send one request once; give the body of the successful answer as it came, or raise `TransportFault`."""
        ...


def request_body(request: Request) -> dict[str, Any]:
    """Give the JSON body of a request of the API kind `chat` (OpenAI chat completions).

    Settings go in as they are; model, messages and schema are ours whatever the settings say. Raises `ValueError` for
    another API kind.
    """
    served = request.served
    if served.api != "chat":
        raise ValueError(f"endpoint {served.endpoint}: api {served.api!r} is not known, expected 'chat'")
    body: dict[str, Any] = dict(served.settings)
    body["model"] = served.model
    body["messages"] = [{"role": message.role, "content": message.content} for message in request.messages]
    if request.schema is not None:
        named = {"name": request.schema_name or "reply", "schema": dict(request.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body
