"""HTTP as the SDK's client needs it, over aiohttp: whole bodies, bounded, and faults instead of errors.

httpx2 lets a client bring its own transport; with this one a call costs about a quarter less than with the SDK's own
for aiohttp, because it does without what no API needs: cookies, redirects, authentication flows, streams. Cookies would
besides bind all calls to one server behind a load balancer.
"""

import io
import select
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

import aiohttp
import httpx2

from valbench_dagster.adapters.openai.errors import connection_fault
from valbench_dagster.adapters.openai.redaction import Redaction
from valbench_dagster.llm.endpoint import EndpointSettings, TransportFault

ERROR_BODY_LIMIT = 64 * 1024
"""Bytes read of an answer with an error status; the rest cannot matter."""

KEPT_OPEN_S = 4.0
"""Seconds an idle connection is kept: less than the 5 of common servers, so that we close it and not they."""

CONNECTIONS_TRIED = 3
"""Connections that are tried for one request while nothing of it is sent."""

LARGE_BODY = 512 * 1024
"""Bytes of a request from which on it is sent in pieces."""

_url = lru_cache(maxsize=256)(httpx2.URL)


class Target:
    """An address with its query and the headers that go there, in every form that is asked for."""

    def __init__(self, url: httpx2.URL, headers: httpx2.Headers) -> None:
        self.url, self.headers = url, headers
        self.address = str(url)
        self.pairs = _text(headers.raw)


class ReadyRequest(httpx2.Request):
    """A POST whose parts are all known, so that nothing is merged or looked up for it: a tenth of what a call costs.

    Sent by `AiohttpTransport`, which adds what every request has (host, length).
    """

    def __init__(self, target: Target, content: bytes) -> None:
        self.method = "POST"
        self.url, self.headers = target.url, target.headers
        self.extensions = {}
        self.stream = httpx2.ByteStream(content)
        self._content = content
        self.target = target


class HttpClient(httpx2.AsyncClient):
    """The SDK's way to a transport, and nothing on it."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, headers: Mapping[str, str]) -> None:
        """Send through `transport`, whose own are time limits and proxies, with `headers` and no others of the SDK."""
        super().__init__(transport=transport, timeout=None, trust_env=False, follow_redirects=False)
        self._exchange: Callable[[httpx2.Request], Awaitable[httpx2.Response]] = transport.handle_async_request
        self._own = httpx2.Headers(headers)
        self._targets: dict[str, Target] = {}
        self._gives_length = isinstance(transport, AiohttpTransport)

    def ready_request(self, url: str, query: Mapping[str, str], content: bytes) -> httpx2.Request:
        """Build a POST of a body that is ready; `query` goes with every request of the client."""
        if not self._gives_length:
            return self.build_request("POST", url, content=content, params=query or None)
        if url not in self._targets:
            self._targets[url] = Target(httpx2.URL(url, params=query) if query else httpx2.URL(url), self._own)
        return ReadyRequest(self._targets[url], content)

    def build_request(self, method: str, url: httpx2.URL | str, **given: Any) -> httpx2.Request:
        """Build a request; one whose body is ready needs none of the merging with the client's own settings."""
        if given.get("content") is not None and given.get("files") is None:
            target = _url(url) if isinstance(url, str) else url
            return httpx2.Request(
                method, target, params=given.get("params"), headers=self._own, content=given["content"]
            )
        request = super().build_request(method, url, **given)
        for name in [name for name in request.headers if name == "authorization" or name.startswith("x-stainless-")]:
            del request.headers[name]
        for name, value in self._own.items():
            if name not in ("accept", "content-type"):
                request.headers[name] = value
        return request

    async def send(self, request: httpx2.Request, **_given: Any) -> httpx2.Response:
        """Send a request and read the whole answer."""
        response = await self._exchange(request)
        response.request = request
        await response.aread()
        return response


class _SpokeFirstError(aiohttp.ClientConnectionError):
    """A connection on which there is something to read before anything was asked."""


class _Request(aiohttp.ClientRequest):
    """A request that is sent only where nothing lies in wait for it.

    A connection from the pool may hold the end of the server's patience, or an answer that nobody asked for: it would
    be stored as the reply to this prompt. Found before anything is sent, either costs nothing but another connection.
    """

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        if conn.protocol is not None and (conn.protocol.should_close or _readable(conn)):
            raise _SpokeFirstError("the server speaks before it is asked: is it an HTTP server?")
        return await super().send(conn)


def _readable(conn: aiohttp.connector.Connection) -> bool:
    """Tell whether the server has said something that is not read yet, or gone; over TLS it may be TLS's own affair."""
    transport = conn.transport
    if transport is None or transport.is_closing():
        return True
    if transport.get_extra_info("ssl_object") is not None:
        return False
    polled = select.poll()
    polled.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(polled.poll(0))


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends requests of one endpoint over a pool of connections, as many as calls may be in flight."""

    def __init__(
        self,
        settings: EndpointSettings,
        redaction: Redaction,
        tls: ssl.SSLContext | None,
        proxy: str | None,
        body_limit: int,
    ) -> None:
        """Prepare; `tls` is null for plain HTTP, `body_limit` is in bytes, unpacked."""
        self._settings = settings
        self._redaction = redaction
        self._tls = tls
        self._proxy = proxy
        self._body_limit = body_limit
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=settings.connect_timeout_s, sock_read=settings.first_byte_timeout_s
        )
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and read the answer; raises `TransportFault` where no whole answer was had."""
        for _ in range(CONNECTIONS_TRIED):
            try:
                return await self._exchange(request)
            except (aiohttp.ClientError, OSError) as error:
                fault = connection_fault(error, self._settings, self._redaction)
                if not isinstance(error, _SpokeFirstError):
                    break
        # Raised out here so that aiohttp's error, whose text may show headers, is no part of the traceback.
        raise fault

    async def _exchange(self, request: httpx2.Request) -> httpx2.Response:
        session = self._session or self._open()
        if isinstance(request, ReadyRequest):
            address, given = request.target.address, request.target.pairs
        else:
            address, given = str(request.url), _text(request.headers.raw)
        async with session.request(
            request.method,
            address,
            headers=given,
            data=_payload(await request.aread()),
            allow_redirects=False,
            proxy=self._proxy,
        ) as answer:
            headers = answer.raw_headers
            if "Content-Encoding" in answer.headers:
                headers = tuple(pair for pair in headers if pair[0].lower() != b"content-encoding")
            return httpx2.Response(answer.status, headers=headers, content=await self._body(answer), request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        # Not before the first request: a session belongs to the event loop that it was made in.
        connector = aiohttp.TCPConnector(
            limit=self._settings.concurrency, keepalive_timeout=KEPT_OPEN_S, ssl=self._tls or True
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            trust_env=False,
            request_class=_Request,
        )
        return self._session

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        limit = self._body_limit if answer.status < 400 else ERROR_BODY_LIMIT
        parts, size = [], 0
        async for part in answer.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > limit:
                answer.close()
                if answer.status < 400:
                    raise TransportFault("broken", None, f"an answer of more than {limit:,} bytes")
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _payload(body: bytes) -> bytes | io.BytesIO | None:
    """Give a large body as a file, which aiohttp sends in pieces: other calls go on meanwhile."""
    return io.BytesIO(body) if len(body) > LARGE_BODY else body or None


def _text(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
