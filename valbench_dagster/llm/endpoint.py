"""Endpoints: where requests go, what comes back, and how a transport says that a call went wrong.

Vendor-free. Here belong the settings of a server and the port that adapters implement (`adapters/openai/`;
scripted objects in tests). What is put on the wire is `apis/`, when to call again is `retry.py`, in what order and how
many at once is `dispatcher.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from valbench_dagster.llm.calls import Request

STAND_INS = "stand-ins:"
"""The base URL that means: no network, an ASGI app in this process answers."""

FaultKind = Literal["unreachable", "connection", "timeout", "status", "broken", "another_model"]
"""`unreachable`: no connection could be made (refused, no such host, no TLS); `connection`: it broke; `timeout`: too
slow; `status`: the server answered with an error status; `broken`: the server answered with success and a body that is
no reply of the API; `another_model`: the reply names a model that was not asked."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One OpenAI-compatible server as the roster describes it.

    `concurrency` is the most calls in flight at once; `requests_per_minute` and `tokens_per_minute` bound their rate,
    null: nothing but the server does. `timeout_s` are the seconds from sending to the last byte, `connect_timeout_s`
    those to a connection, `first_byte_timeout_s` the longest silence of a server that is connected (null: the whole
    time). `query` is put behind every address (`api-version`). In a header's value `{key}` stands for the key, which is
    sent as a bearer unless `Authorization`, `api-key` or `x-api-key` is among the headers. What may hold a secret
    (`api_key`, `headers`, `proxy`) is left out of the representation.
    """

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout_s: float = 600.0
    connect_timeout_s: float = 30.0
    first_byte_timeout_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)


class TransportFault(Exception):  # noqa: N818 - a fault is one try gone wrong; the error is what comes of it in the end
    """One try of one call that brought no reply.

    `status` is null where no HTTP status was had; `message` is the server's or the network's, without any secret;
    `retry_after` is in seconds, null where the server asked for none; `hints` is what it says of its limits.
    """

    def __init__(
        self,
        kind: FaultKind,
        status: int | None,
        message: str,
        retry_after: float | None = None,
        hints: "RateHints | None" = None,
    ) -> None:
        super().__init__(message)
        self.kind: FaultKind = kind
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.hints = hints

    def __str__(self) -> str:
        """Name the fault and its message, as it is stored in the ledger."""
        return f"{self.kind if self.status is None else f'HTTP {self.status}'}: {self.message}"


@dataclass(frozen=True, slots=True)
class RateHints:
    """What a server says of its limits with an answer: what is left of them, and the seconds until they are full again.

    Null where it says nothing.
    """

    requests_left: int | None = None
    requests_reset_s: float | None = None
    tokens_left: int | None = None
    tokens_reset_s: float | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """The body of a successful answer as it came, and what the server said of its limits beside it."""

    body: bytes
    hints: RateHints | None = None


class Transport(Protocol):
    """One open endpoint."""

    @property
    def settings(self) -> EndpointSettings:
        """What the roster says of it."""
        ...

    async def send(self, request: Request, body: bytes) -> Received:
        """Send one request, whose JSON is `body`, once; give the successful answer, or raise `TransportFault`."""
        ...
