"""What an endpoint's secrets are, and how they are kept out of every message.

A server may echo a key anywhere: in its error message, escaped, cut short, in a page of HTML. Here belongs finding it
there. Where an endpoint is (its address) is kept out of messages too: the endpoint's name says which one is meant.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit

from valbench_dagster.llm.endpoint import EndpointSettings

MESSAGE_LIMIT = 1000
"""Characters kept of a server's error message."""

_SECRET_LENGTH = 6
"""Header values shorter than this are words like `true`, not secrets."""

_PIECE = 12
"""Characters in a row of a secret that are taken for a part of it."""

_SECRET_NAMES = re.compile(r"key|token|secret|password|auth|sig|code", re.IGNORECASE)


class Redaction:
    """Takes the secrets and the address of one endpoint out of texts."""

    def __init__(self, settings: EndpointSettings, headers: Mapping[str, str], proxy: str | None) -> None:
        """Learn what to take out; `headers` are those that the roster's come to, `proxy` is the one in use."""
        secrets = sorted(set(_spellings(_secrets(settings, headers, proxy))), key=len, reverse=True)
        self._secrets = tuple(secrets)
        self._pieces = tuple(
            tuple(secret[start : start + _PIECE] for start in range(len(secret) - _PIECE + 1))
            for secret in secrets
            if len(secret) > _PIECE
        )
        self._addresses = tuple(sorted(set(_addresses(settings, proxy)), key=len, reverse=True))

    def clean(self, text: str) -> str:
        """Give a text on one line, without secrets and address, and not longer than `MESSAGE_LIMIT` and a mark.

        Secrets go before the text is cut: the other way round would leave the beginning of one.
        """
        text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        for pieces in self._pieces:
            if any(piece in text for piece in pieces):
                text = _without_pieces(text, pieces)
        for address in self._addresses:
            text = text.replace(address, "[address]")
        return text if len(text) <= MESSAGE_LIMIT else text[:MESSAGE_LIMIT] + " [cut]"


def _secrets(settings: EndpointSettings, headers: Mapping[str, str], proxy: str | None) -> Iterator[str]:
    """Give what must not show: the key, all but the shortest header values, and passwords in addresses."""
    yield settings.api_key or ""
    for value in (headers[name] for name in settings.headers):
        if len(value) >= _SECRET_LENGTH:
            yield value
        yield from (word for word in value.split() if len(word) >= 16)
    yield from (value for name, value in settings.query.items() if _SECRET_NAMES.search(name))
    for url in (settings.base_url, settings.proxy or "", proxy or ""):
        split = urlsplit(url)
        if split.password:
            yield split.password
            yield unquote(split.password)
            login = f"{unquote(split.username or '')}:{unquote(split.password)}"
            yield base64.b64encode(login.encode()).decode()


def _spellings(secrets: Iterable[str]) -> Iterator[str]:
    """Give each secret as it is and as servers may write it: folded, as JSON, HTML, or part of an address."""
    for secret in secrets:
        folded = " ".join(secret.split())
        for plain in {secret, folded} - {""}:
            yield plain
            yield json.dumps(plain)[1:-1]
            yield plain.replace("/", "\\/")
            yield html.escape(plain)
            yield quote(plain, safe="")


def _addresses(settings: EndpointSettings, proxy: str | None) -> Iterator[str]:
    for url in (settings.base_url, settings.proxy or "", proxy or ""):
        split = urlsplit(url)
        if not split.hostname:
            continue
        yield url
        yield split.netloc
        yield split.netloc.rpartition("@")[2]
        # A bare word such as `localhost` or `gateway` may be any word of a message.
        if "." in split.hostname or ":" in split.hostname:
            yield split.hostname


def _without_pieces(text: str, pieces: tuple[str, ...]) -> str:
    """Take out every stretch of a text that is made of pieces of a secret."""
    covered: list[tuple[int, int]] = []
    for piece in pieces:
        start = text.find(piece)
        while start >= 0:
            covered.append((start, start + len(piece)))
            start = text.find(piece, start + 1)
    kept: list[str] = []
    end = 0
    for begin, stop in sorted(covered):
        if begin > end or not kept:
            kept.append(text[end:begin] + "[secret]")
        end = max(end, stop)
    return "".join(kept) + text[end:]
