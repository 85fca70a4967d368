"""The transport to OpenAI-compatible servers. The only importer of openai, httpx2 and aiohttp.

They are imported when a transport is opened: half a second that nobody pays who only reads the ledger. From the SDK we
take the connection, base URL, authentication and error classes; retries, timing and reading of replies are ours. Its
aiohttp transport and its bare `post` cost a third of the CPU of its defaults.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from valbench_dagster.llm.apis.wire import path_of
from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.endpoint import STAND_INS, EndpointSettings, FaultKind, Received, TransportFault
from valbench_dagster.llm.retry import retry_after_seconds

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI, RequestOptions

AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]

CONNECT_TIMEOUT_S = 30.0
KEPT_OPEN_S = 4.0
"""Seconds an idle connection is kept: less than the 5 of common servers, so that we close it and not they."""
MESSAGE_LIMIT = 1000
"""Characters kept of a server's error message."""
_SECRET_LENGTH = 6
"""Header values shorter than this are words like `true`, not secrets."""


class OpenAITransport:
    """One open endpoint of the API kind `chat`.

    A base URL of `stand-ins:` goes to `app`, in this process: it is asked for `/v1/chat/completions`. What the
    environment says to the SDK (key, organisation, headers) is not heeded: only the roster says what is sent where.
    Proxies of the environment are, unless the roster names one.
    """

    def __init__(self, settings: EndpointSettings, app: AsgiApp | None = None) -> None:
        """Prepare the client; no connection is made yet.

        Raises `ValueError` for a key or CA file that cannot be one, and where `stand-ins:` has no app.
        """
        from openai import Omit

        if settings.api_key is not None and not (settings.api_key.isascii() and settings.api_key.isprintable()):
            raise ValueError(f"endpoint {settings.name}: its key holds a character that no header may (a line break?)")
        self.settings = settings
        self._secrets = _secrets(settings)
        self._client = _open_client(settings, app)
        keyed = settings.api_key or any(name.lower() == "authorization" for name in settings.headers)
        self._options: RequestOptions = {} if keyed else {"headers": {"Authorization": Omit()}}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def send(self, request: Request, body: bytes) -> Received:
        """Send one request, whose JSON is `body`, once; give the body of a 2xx answer, or raise `TransportFault`.

        The time limit is for the whole of it: a server that sends a byte now and then is too slow as well.
        """
        from aiohttp import ClientError
        from httpx2 import HTTPError, Response
        from openai import APIConnectionError, APIStatusError

        limit = self.settings.timeout_s
        try:
            async with asyncio.timeout(limit):
                answer = await self._client.post(
                    path_of(request.served.api), content=body, cast_to=Response, options=self._options
                )
                return Received(answer.content)
        except TimeoutError:
            fault = TransportFault("timeout", None, f"no complete answer within {limit:g} s")
        except APIStatusError as error:
            wait = retry_after_seconds(error.response.headers, datetime.now(UTC))
            fault = TransportFault("status", error.status_code, self._clean(_server_message(error.body)), wait)
        except (APIConnectionError, ClientError, HTTPError, OSError) as error:
            fault = self._broken_off(error)
        # Raised out here so that the SDK's error, whose text may show the key, is no part of the traceback.
        raise fault

    def _broken_off(self, error: BaseException) -> TransportFault:
        """Make the fault of a connection, named after what went wrong at the bottom of the SDK's wrappings."""
        while error.__cause__ is not None:
            error = error.__cause__
        kind: FaultKind = "timeout" if isinstance(error, TimeoutError) else "connection"
        return TransportFault(kind, None, self._clean(f"{type(error).__name__}: {error}"))

    def _clean(self, message: str) -> str:
        """Take out every secret, then cut: the other way round would leave the beginning of one."""
        for secret in self._secrets:
            message = message.replace(secret, "[secret]")
        message = " ".join(message.encode("utf-8", "backslashreplace").decode().split())
        return message if len(message) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT] + " [cut]"


def _open_client(settings: EndpointSettings, app: AsgiApp | None) -> "AsyncOpenAI":
    from openai import AsyncOpenAI

    headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "valbench-dagster"}
    if settings.api_key:
        headers["Authorization"] = f"Bearer {settings.api_key}"
    headers.update(settings.headers)

    class Client(AsyncOpenAI):
        """The SDK's client, sending our headers and none that it finds in the environment."""

        @property
        def default_headers(self) -> Any:
            return headers

    return Client(
        api_key=settings.api_key or "none",
        base_url="http://stand-ins/v1" if settings.base_url == STAND_INS else settings.base_url,
        max_retries=0,
        http_client=_open_http(settings, app),
    )


def _open_http(settings: EndpointSettings, app: AsgiApp | None) -> "httpx2.AsyncClient":
    import httpx2
    from openai import DefaultAioHttpClient, DefaultAsyncHttpxClient

    # The limit of the whole call is ours (see `send`); here only the connecting has one.
    timeout = httpx2.Timeout(None, connect=min(CONNECT_TIMEOUT_S, settings.timeout_s))
    if settings.base_url == STAND_INS:
        if app is None:
            raise ValueError(f"endpoint {settings.name} is {STAND_INS} and no app was given to answer in this process")
        in_process = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        return DefaultAsyncHttpxClient(transport=in_process, timeout=timeout, trust_env=False)
    verify: ssl.SSLContext | bool = True
    if settings.ca_file is not None:
        try:
            verify = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise ValueError(f"endpoint {settings.name}: ca_file {settings.ca_file} cannot be read: {error}") from None
    return DefaultAioHttpClient(
        timeout=timeout,
        limits=httpx2.Limits(
            max_connections=settings.concurrency,
            max_keepalive_connections=settings.concurrency,
            keepalive_expiry=KEPT_OPEN_S,
        ),
        verify=verify,
        proxy=settings.proxy,
        trust_env=settings.proxy is None,
        follow_redirects=False,
    )


def _secrets(settings: EndpointSettings) -> tuple[str, ...]:
    """Give what must not show in a message, the longest first, since one may be part of another."""
    found = {settings.api_key or ""}
    found.update(value for value in settings.headers.values() if len(value) >= _SECRET_LENGTH)
    found.update(word for value in settings.headers.values() for word in value.split() if len(word) >= 16)
    found.update(urlsplit(url).password or "" for url in (settings.base_url, settings.proxy or ""))
    return tuple(sorted(found - {""}, key=len, reverse=True))


def _server_message(body: object) -> str:
    """Find the message in an error body: OpenAI's and vLLM's `message` with its code, FastAPI's `detail`, or all."""
    if isinstance(body, Mapping):
        message = body.get("message") or body.get("detail") or dict(body)
        code = body.get("code") or body.get("type")
        return f"{code}: {message}" if isinstance(code, str) else str(message)
    return str(body or "no message")
