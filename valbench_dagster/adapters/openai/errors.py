"""Faults: what went wrong with a try, named from the errors of aiohttp and the SDK.

The kind says what the engine may make of it, the message what a reader must know: no secret and no address. Which
faults are worth another try is `llm/retry.py`.
"""

import errno
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime

import aiohttp
from openai import APIStatusError

from valbench_dagster.adapters.openai.redaction import Redaction
from valbench_dagster.llm.endpoint import EndpointSettings, TransportFault
from valbench_dagster.llm.rate_hints import read_rate_hints, retry_after_seconds

PAGE_LIMIT = 16_000
"""Characters of a page of HTML that are looked at for its text: finding tags that never end takes their square."""

_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.IGNORECASE | re.DOTALL)


def connection_fault(error: BaseException, settings: EndpointSettings, redaction: Redaction) -> TransportFault:
    """Give the fault of a try that ended without a whole answer, by an error of aiohttp or the operating system.

    `unreachable` where nothing was sent, `timeout` where the server was silent for too long, else `connection`.
    """
    match error:
        case aiohttp.ClientHttpProxyError(status=407):
            return TransportFault("status", 407, "the proxy wants a login")
        case aiohttp.ClientHttpProxyError():
            return TransportFault("unreachable", None, f"the proxy lets nothing through (HTTP {error.status})")
        case aiohttp.ClientProxyConnectionError():
            return TransportFault("unreachable", None, f"no connection to the proxy ({_reason(error.os_error)})")
        case aiohttp.ClientConnectorDNSError():
            return TransportFault("unreachable", None, "no such host")
        case aiohttp.ClientSSLError():
            # OpenSSL's word for it, without the place in its source.
            reason = re.sub(r"\s*\(_ssl\.c:[0-9]+\)|^\[[^]]*\]\s*", "", str(error.os_error.args[-1]))
            return TransportFault("unreachable", None, redaction.clean(f"no TLS connection ({reason})"))
        case aiohttp.ClientConnectorError():
            return TransportFault("unreachable", None, f"no connection ({_reason(error.os_error)})")
        case aiohttp.ConnectionTimeoutError():
            return TransportFault("unreachable", None, f"no connection within {settings.connect_timeout_s:g} s")
        case aiohttp.SocketTimeoutError():
            return TransportFault("timeout", None, f"the server was silent for {settings.first_byte_timeout_s:g} s")
        case aiohttp.ServerDisconnectedError():
            return TransportFault("connection", None, "the server closed the connection without an answer")
        case aiohttp.ClientPayloadError():
            broken = "broke off" if "not completed" in str(error) else "cannot be unpacked"
            return TransportFault("connection", None, f"the answer {broken}")
        case aiohttp.ClientResponseError():
            return TransportFault("connection", None, redaction.clean(f"the answer is no HTTP: {error.message}"))
        case OSError(errno=int()):
            return TransportFault("connection", None, f"the connection broke ({_reason(error)})")
        case OSError():
            return TransportFault("connection", None, "the connection broke while the request was sent")
        case _:
            return TransportFault("connection", None, redaction.clean(str(error) or type(error).__name__))


def status_fault(error: APIStatusError, redaction: Redaction) -> TransportFault:
    """Give the fault of an answer with an error status: the server's message, and when it wants to be asked again."""
    now, headers = datetime.now(UTC), error.response.headers
    return TransportFault(
        "status",
        error.status_code,
        redaction.clean(_server_message(error.body)),
        retry_after_seconds(headers, now),
        read_rate_hints(headers.raw, now),
    )


def _reason(error: OSError) -> str:
    """Give the system's word for an error; its full text would name the address."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{os.strerror(error.errno)}: raise `ulimit -n`, or lower the endpoint's concurrency"
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _server_message(body: object) -> str:
    """Find the message in an error body: OpenAI's and vLLM's `message` with its code, FastAPI's `detail`, or all."""
    if isinstance(body, Mapping):
        message = body.get("message") or body.get("detail") or dict(body)
        code = body.get("code") or body.get("type")
        return f"{code}: {message}" if isinstance(code, str) else str(message)
    text = str(body or "")
    if _PAGE.match(text):
        text = f"a page of HTML: {_UNSEEN.sub(' ', text[:PAGE_LIMIT]).strip()}"
    return text or "no message"
