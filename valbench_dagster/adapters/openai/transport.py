"""The transport to OpenAI-compatible servers: one request sent once.

The SDK is imported when a transport is opened (half a second that nobody pays who only reads the ledger). Retries,
timing and reading of replies are the engine's.
"""

import asyncio
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from valbench_dagster.llm.apis.wire import path_of
from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.endpoint import EndpointSettings, Received, TransportFault
from valbench_dagster.llm.rate_hints import read_rate_hints

if TYPE_CHECKING:
    from valbench_dagster.adapters.openai.connection import AsgiApp


class OpenAITransport:
    """One open endpoint, of whatever API kinds it serves."""

    def __init__(self, settings: EndpointSettings, app: "AsgiApp | None" = None) -> None:
        """Prepare the connection (`connection.Connection` says of what); no connection is made yet.

        Raises `ValueError` for settings that cannot work, and where `stand-ins:` has no app.
        """
        from valbench_dagster.adapters.openai.connection import Connection

        self.settings = settings
        self._connection = Connection(settings, app)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def send(self, request: Request, body: bytes) -> Received:
        """Send one request, whose JSON is `body`, once; give the successful answer, or raise `TransportFault`.

        The time limit is for the whole of it: a server that sends a byte now and then is too slow as well.
        """
        limit = self.settings.timeout_s
        try:
            async with asyncio.timeout(limit):
                answer = await self._connection.post(path_of(request.served.api), body)
            return Received(answer.content, read_rate_hints(answer.headers.raw, datetime.now(UTC)))
        except TimeoutError:
            fault = TransportFault("timeout", None, f"no complete answer within {limit:g} s")
        raise fault
