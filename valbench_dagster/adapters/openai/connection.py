"""The connection of an endpoint: the SDK's client with our headers, our pool, our limits and no retries of its own.

From the SDK we take base URL, paths, bodies and error classes. What the environment says to it (key, organisation,
headers) is not heeded: only the roster says what is sent where. Proxies of the environment are, unless the roster names
one.
"""

import base64
import re
import ssl
import urllib.request
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import httpx2
from openai import APIStatusError, AsyncOpenAI, RequestOptions

from valbench_dagster.adapters.openai.errors import status_fault
from valbench_dagster.adapters.openai.http import AiohttpTransport, HttpClient
from valbench_dagster.adapters.openai.redaction import Redaction
from valbench_dagster.llm.endpoint import STAND_INS, EndpointSettings

AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of one answer, unpacked; a reply of a model is a thousandth of it."""

_NO_OPTIONS: RequestOptions = {
    "params": {},
    "headers": {},
    "max_retries": 0,
    "timeout": None,
    "idempotency_key": "",
    "security": {},
}
"""What the SDK would else make anew for every call: copies of its defaults, and a key that no retry of ours sends."""

_IN_PROCESS = "http://stand-ins/v1"
_OWN_KEY_HEADERS = ("authorization", "api-key", "x-api-key")
"""Headers that carry a key themselves: beside one no bearer is sent."""
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Connection:
    """An open endpoint: `client` to ask it, `redaction` for every text that comes of it, `base_url` without login."""

    def __init__(self, settings: EndpointSettings, app: AsgiApp | None = None, body_limit: int = BODY_LIMIT) -> None:
        """Prepare; no connection is made yet.

        A base URL of `stand-ins:` goes to `app`, in this process. In a header's value `{key}` stands for the key
        (`api-key = "{key}"` for Azure). Raises `ValueError` for an address, key, header, proxy or CA file that cannot
        be one, and where `stand-ins:` has no app.
        """
        self.settings = settings
        in_process = settings.base_url == STAND_INS
        if in_process and app is None:
            raise ValueError(f"endpoint {settings.name} is {STAND_INS} and no app was given to answer in this process")
        address = _IN_PROCESS if in_process else _checked(settings)
        proxy = None if in_process else _proxy(settings)
        headers = _headers(settings, address)
        self.base_url = _without_login(address)
        self.redaction = Redaction(settings, headers, proxy)
        transport: httpx2.AsyncBaseTransport
        if app is not None and in_process:
            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        else:
            transport = AiohttpTransport(settings, self.redaction, _tls(settings), proxy, body_limit)

        http, query = HttpClient(transport, headers), dict(settings.query)

        class Client(AsyncOpenAI):
            """The SDK's client, sending our headers and none that it finds in the environment."""

            @property
            def default_headers(self) -> Any:
                return headers

            # Where the SDK should once build requests under another name, it would build these too, only slower.
            def _build_request(self, options: Any, *, retries_taken: int = 0) -> httpx2.Request:
                if isinstance(options.content, bytes):
                    return http.ready_request(options.url, query, options.content)
                return super()._build_request(options, retries_taken=retries_taken)

        self.client = Client(
            api_key=settings.api_key or "none",
            base_url=self.base_url,
            max_retries=0,
            timeout=None,
            default_query=query or None,
            http_client=http,
        )

    async def post(self, path: str, body: bytes) -> httpx2.Response:
        """Post JSON to a path below the base URL, once; give the successful answer, or raise `TransportFault`."""
        try:
            # The whole address: given a path, the SDK takes its base URL apart for every call.
            return await self.client.post(
                f"{self.base_url}/{path}", content=body, cast_to=httpx2.Response, options=_NO_OPTIONS
            )
        except APIStatusError as error:
            fault = status_fault(error, self.redaction)
        # Raised out here so that the SDK's error, whose text may show the key, is no part of the traceback.
        raise fault

    async def close(self) -> None:
        """Close all connections."""
        await self.client.close()


def _headers(settings: EndpointSettings, address: str) -> dict[str, str]:
    """Give the headers of every request; raises `ValueError` for a key or header that can be none."""
    name, key, split = settings.name, settings.api_key, urlsplit(address)
    if key is not None and not _printable(key):
        raise ValueError(f"endpoint {name}: its key holds a character that no header may (a line break? a space?)")
    own: dict[str, str] = {}
    for header, value in settings.headers.items():
        if "{key}" in value and key is None:
            raise ValueError(f"endpoint {name}: its header {header} wants a key, and key_env names none")
        own[header] = value.replace("{key}", key or "")
        if not _TOKEN.fullmatch(header) or not _printable(own[header]):
            raise ValueError(f"endpoint {name}: its header {header!r} holds a character that no header may")
    keyed = any(header.lower() in _OWN_KEY_HEADERS for header in own)
    headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "valbench-dagster"}
    if split.username is not None and (keyed or key):
        raise ValueError(f"endpoint {name}: base_url holds a login and there is a key as well; leave one of them out")
    if split.username is not None:
        login = f"{unquote(split.username)}:{unquote(split.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    elif key and not keyed:
        headers["Authorization"] = f"Bearer {key}"
    taken = {header.lower() for header in own}
    return {header: value for header, value in headers.items() if header.lower() not in taken} | own


def _printable(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def _without_login(address: str) -> str:
    split = urlsplit(address)
    return urlunsplit(split._replace(netloc=split.netloc.rpartition("@")[2])).rstrip("/")


def _checked(settings: EndpointSettings) -> str:
    """Give the base URL; raises `ValueError`, which does not show it, where it is no address to send to."""
    split = _split(settings.base_url)
    if split is None or split.scheme not in ("http", "https"):
        raise ValueError(
            f"endpoint {settings.name}: its base_url is no address, expected one such as https://host:8000/v1"
        )
    if split.query or split.fragment:
        raise ValueError(f"endpoint {settings.name}: its base_url holds a `?` or `#`; parameters belong into query")
    return settings.base_url


def _proxy(settings: EndpointSettings) -> str | None:
    """Give the proxy of the roster, else the one that the environment has for this address."""
    split = urlsplit(settings.base_url)
    proxy = settings.proxy
    if proxy is None and not urllib.request.proxy_bypass(split.netloc.rpartition("@")[2]):
        found = urllib.request.getproxies()
        proxy = found.get(split.scheme) or found.get("all")
    if proxy is None:
        return None
    parsed = _split(proxy if "://" in proxy else f"http://{proxy}")
    if parsed is None or parsed.scheme not in ("http", "https"):
        where = "proxy" if settings.proxy is not None else "the proxy that the environment names"
        raise ValueError(f"endpoint {settings.name}: {where} is no HTTP proxy, expected one such as http://host:3128")
    return urlunsplit(parsed)


def _split(address: str) -> SplitResult | None:
    try:
        split = urlsplit(address)
        host = (split.hostname or "").encode("idna")
        return split if host and (split.port is None or split.port > 0) else None
    except ValueError:  # a port that is no number, half an IPv6 address, a name too long for any host
        return None


def _tls(settings: EndpointSettings) -> ssl.SSLContext | None:
    """Give what servers are checked against: the CA file alone where there is one; null for plain HTTP."""
    if settings.ca_file is not None:
        try:
            return ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise ValueError(f"endpoint {settings.name}: ca_file {settings.ca_file} cannot be read: {error}") from None
    if settings.base_url.startswith("http://"):
        return None
    return httpx2.create_ssl_context(verify=True, trust_env=True)
