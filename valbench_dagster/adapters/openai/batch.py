"""The Batch API of OpenAI and of servers that offer the same: one try each of its few requests.

Source: https://platform.openai.com/docs/api-reference/batch and .../files. Here belong the requests and the reading of
what comes back; in which order they are made, and what follows of a fault, is the engine's (`llm/batches/flow.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from valbench_dagster.llm.batches.port import OUR_KEY, BatchPage, LineError, RemoteBatch
from valbench_dagster.llm.endpoint import EndpointSettings, TransportFault

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

    from valbench_dagster.adapters.openai.connection import AsgiApp

T = TypeVar("T", bound=BaseModel)

RESULTS_LIMIT = 1 << 30
"""Bytes of one file of results: they pass through memory, twice."""
SMALL_TIMEOUT_S = 60.0
"""Seconds for a request that moves no file, where the endpoint allows more: far less than a plan is respected."""
LISTED_AT_ONCE = 100
"""Batches of one page: the most that the API gives."""


class OpenAIBatchTransport:
    """The Batch API of one open endpoint."""

    def __init__(self, settings: EndpointSettings, app: "AsgiApp | None" = None) -> None:
        """Prepare the connection (`connection.Connection` says of what); no connection is made yet.

        Raises `ValueError` for settings that cannot work.
        """
        from valbench_dagster.adapters.openai.connection import Connection

        self.settings = settings
        self._connection = Connection(settings, app, body_limit=RESULTS_LIMIT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def upload(self, name: str, content: BinaryIO) -> str:
        """Store a file of lines, read from its beginning; give its id."""
        from httpx2 import Response

        content.seek(0)
        answer = await self._once(
            lambda client: client.post(
                self._address("files"),
                cast_to=Response,
                body={"purpose": "batch"},
                files=[("file", (name, content, "application/jsonl"))],
                options={"headers": {"Content-Type": "multipart/form-data"}},
            ),
            self.settings.timeout_s,
        )
        return self._read(_File, answer).id

    async def create(self, file_id: str, path: str, metadata: Mapping[str, str]) -> RemoteBatch:
        """Have the lines of an uploaded file worked off; each asks `path`."""
        from httpx2 import Response

        body = {"input_file_id": file_id, "endpoint": path, "completion_window": "24h", "metadata": dict(metadata)}
        answer = await self._once(
            lambda client: client.post(self._address("batches"), cast_to=Response, body=body), SMALL_TIMEOUT_S
        )
        return self._read(_Batch, answer).batch(self._connection.redaction.clean)

    async def retrieve(self, batch_id: str) -> RemoteBatch:
        """Give the present state of a batch."""
        answer = await self._get(SMALL_TIMEOUT_S, "batches", batch_id)
        return self._read(_Batch, answer).batch(self._connection.redaction.clean)

    async def batches(self, after: str | None = None) -> BatchPage:
        """Give a page of the account's batches, newest first."""
        params = {"limit": LISTED_AT_ONCE, **({} if after is None else {"after": after})}
        page = self._read(_Page, await self._get(SMALL_TIMEOUT_S, "batches", params=params))
        listed = tuple(batch.batch(self._connection.redaction.clean) for batch in page.data)
        return BatchPage(listed, listed[-1].id if page.has_more and listed else None)

    async def cancel(self, batch_id: str) -> RemoteBatch:
        """Ask for a batch to be stopped."""
        from httpx2 import Response

        address = self._address("batches", batch_id, "cancel")
        answer = await self._once(lambda client: client.post(address, cast_to=Response), SMALL_TIMEOUT_S)
        return self._read(_Batch, answer).batch(self._connection.redaction.clean)

    async def download(self, file_id: str, into: BinaryIO) -> None:
        """Write a file of the provider into `into`, in place of all it held."""
        answer = await self._get(self.settings.timeout_s, "files", file_id, "content")
        into.seek(0)
        into.truncate()
        into.write(answer.content)

    async def delete(self, file_id: str) -> None:
        """Remove a file."""
        from httpx2 import Response

        address = self._address("files", file_id)
        await self._once(lambda client: client.delete(address, cast_to=Response), SMALL_TIMEOUT_S)

    def _address(self, *parts: str) -> str:
        return "/".join([self._connection.base_url, *(quote(part, safe="") for part in parts)])

    async def _get(self, limit_s: float, *parts: str, params: Mapping[str, object] | None = None) -> "httpx2.Response":
        from httpx2 import Response

        address = self._address(*parts)
        return await self._once(
            lambda client: client.get(address, cast_to=Response, options={"params": params or {}}), limit_s
        )

    async def _once(
        self, ask: "Callable[[AsyncOpenAI], Awaitable[httpx2.Response]]", limit_s: float
    ) -> "httpx2.Response":
        """Make one request within a time; give the successful answer, or raise `TransportFault`."""
        from openai import APIStatusError

        from valbench_dagster.adapters.openai.errors import status_fault

        limit_s = min(limit_s, self.settings.timeout_s)
        try:
            async with asyncio.timeout(limit_s):
                return await ask(self._connection.client)
        except APIStatusError as error:
            fault = status_fault(error, self._connection.redaction)
        except TimeoutError:
            fault = TransportFault("timeout", None, f"no complete answer within {limit_s:g} s")
        # Raised out here so that the SDK's error, whose text may show the key, is no part of the traceback.
        raise fault

    def _read(self, model: type[T], answer: "httpx2.Response") -> T:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"])) or "the body"
            raise TransportFault(
                "broken",
                None,
                f"no {model.__name__.strip('_').lower()} of the API: {place}: {error.errors()[0]['msg']}",
            ) from None


class _Said(BaseModel):
    """Something the API says; compatible servers, and later versions, say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _File(_Said):
    id: str = Field(min_length=1)


class _Counts(_Said):
    completed: int = 0
    failed: int = 0


class _Error(_Said):
    code: str | None = None
    line: int | None = None
    message: str | None = None


class _Errors(_Said):
    data: tuple[_Error, ...] | None = None


class _Batch(_Said):
    id: str = Field(min_length=1)
    status: str
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: float = 0.0
    request_counts: _Counts | None = None
    metadata: Mapping[str, Any] | None = None
    errors: _Errors | None = None

    def batch(self, clean: Callable[[str], str]) -> RemoteBatch:
        """Give it as the engine knows it, messages cleaned; an empty id of a file means that there is none."""
        counts, key = self.request_counts or _Counts(), (self.metadata or {}).get(OUR_KEY)
        return RemoteBatch(
            id=self.id,
            status=self.status,
            input_file=self.input_file_id or None,
            output_file=self.output_file_id or None,
            error_file=self.error_file_id or None,
            created_at=int(self.created_at),
            done=counts.completed + counts.failed,
            our_key=key if isinstance(key, str) else None,
            errors=tuple(
                LineError(error.line, error.code or "error", clean(error.message or "no message"))
                for error in (self.errors or _Errors()).data or ()
            ),
        )


class _Page(_Said):
    data: tuple[_Batch, ...]
    has_more: bool = False
