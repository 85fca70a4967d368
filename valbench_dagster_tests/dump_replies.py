"""What a dump server answers: by the rules of the real one, or by a fault that a test scripted.

Here belong replies as values, made without a socket: `dump_server` sends them. Rules: wikipedia.md, section 4; ranges,
conditions and pages of folders as nginx has them.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from html import escape
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

HTML_PAGE = b"<html>\n<head><title>Error</title></head>\n<body><h1>Our servers are busy</h1></body>\n</html>\n"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_GENERIC = re.compile(r"\s*(?:python|curl|wget|java|go-http|okhttp|aiohttp|httpx|libwww)", re.IGNORECASE)
_CONTACT = re.compile(r"\([^)]*(?:@|https?://)[^)]*\)")
_KINDS = {".html": "text/html", ".txt": "text/plain", ".json": "application/json"}


@dataclass(frozen=True, slots=True)
class Content:
    """A file as it is served; `read` gives the bytes from a start to a stop. A page made on the way has no ETag."""

    size: int
    read: Callable[[int, int], bytes]
    kind: str
    etag: str | None = None
    modified: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: the path decoded and without its query, names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: `content` from `start` to `stop`, and what happens on the way, in bytes of the body sent before it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    content: Content
    start: int
    stop: int
    measured: bool = True
    cut_after: int | None = None
    stall_after: int | None = None
    reset: bool = False
    wordless: bool = False


@dataclass(frozen=True, slots=True)
class CutAfter:
    """The connection ends after that many bytes of this body, by a good-bye or a `reset`; `wordless` without a head.

    After a reset the client may find fewer bytes: those that the system had not passed on yet are gone.
    """

    sent: int
    reset: bool = False
    wordless: bool = False


@dataclass(frozen=True, slots=True)
class StallAfter:
    """After that many bytes of this body nothing comes until the server's `release` is set; then the rest does."""

    sent: int


@dataclass(frozen=True, slots=True)
class Status:
    """Another status, with a small page; `retry_after` as it stands, or as the date so many seconds from now."""

    code: int
    retry_after: int | str | None = None
    retry_date_in_s: float | None = None
    body: bytes = HTML_PAGE
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class WrongBytes:
    """One byte of the file is another: the one at that offset, or the one in the middle."""

    at: int | None = None


@dataclass(frozen=True, slots=True)
class IgnoreRange:
    """The whole file with 200, whatever range was asked."""


@dataclass(frozen=True, slots=True)
class WrongRange:
    """A range that starts so many bytes later than asked, and says so; the whole file where none was asked."""

    later_by: int = 1


@dataclass(frozen=True, slots=True)
class Replaced:
    """From this request on the file is another one, under another ETag."""

    data: bytes
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Endless:
    """The file over and over, of no stated length, up to `limit` bytes."""

    limit: int = 64 << 20


@dataclass(frozen=True, slots=True)
class NotFound:
    """404, as for a file that was taken away."""


@dataclass(frozen=True, slots=True)
class HtmlErrorPage:
    """200 and an HTML page instead of the file."""

    body: bytes = HTML_PAGE


@dataclass(frozen=True, slots=True)
class Normal:
    """As ever: for a request between two faults."""


Fault = (
    CutAfter
    | StallAfter
    | Status
    | WrongBytes
    | IgnoreRange
    | WrongRange
    | Replaced
    | Endless
    | NotFound
    | HtmlErrorPage
    | Normal
)


def reply_to(asked: Asked, content: Content | None, fault: Fault) -> Reply:
    """Give the reply to a request for `content` (null: there is none) under a fault, which `Normal` is not."""
    match fault:
        case Status(code, after, date_in_s, body, headers):
            if date_in_s is not None:
                after = formatdate(time.time() + date_in_s, usegmt=True)
            return page(code, body, (*headers, *([("Retry-After", str(after))] if after is not None else [])))
        case NotFound():
            return page(404)
        case HtmlErrorPage(body):
            return page(200, body)
    if content is None:
        return page(404)
    match fault:
        case CutAfter(sent, reset, wordless):
            return replace(_file(asked, content), cut_after=sent, reset=reset, wordless=wordless)
        case StallAfter(sent):
            return replace(_file(asked, content), stall_after=sent)
        case WrongBytes(at):
            return _file(asked, _with_wrong_byte(content, content.size // 2 if at is None else at))
        case IgnoreRange():
            return _file(Asked(asked.method, asked.path, {}), content)
        case WrongRange(later_by):
            return _shifted(_file(asked, content), later_by)
        case Endless(limit):
            return replace(_file(Asked("GET", asked.path, {}), _over_and_over(content, limit)), measured=False)
    return _file(asked, content)


def page(code: int, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()) -> Reply:
    """Give a reply of that status with an HTML page, by default one that names the status."""
    if not body and code != HTTPStatus.NOT_MODIFIED:
        title = f"{code} {HTTPStatus(code).phrase}"
        body = f"<html>\n<head><title>{title}</title></head>\n<body><h1>{title}</h1></body>\n</html>\n".encode()
    return Reply(code, (("Content-Type", "text/html"), *headers), in_memory(body, ".html"), 0, len(body))


def anonymous(asked: Asked) -> bool:
    """Whether a request does not say who asks: no User-Agent, a library's own, or none with a contact."""
    agent = asked.headers.get("user-agent", "")
    return not _CONTACT.search(agent) or bool(_GENERIC.match(agent))


def in_memory(data: bytes, suffix: str = "", etag: str | None = None, modified: float = 0.0) -> Content:
    """Serve bytes."""
    return Content(len(data), lambda start, stop: data[start:stop], _kind(suffix), etag, modified)


def on_disk(path: Path) -> Content:
    """Serve a file as it is at each moment; its ETag changes with its size and time."""
    facts = path.stat()

    def read(start: int, stop: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    etag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
    return Content(facts.st_size, read, _kind(path.suffix), etag, facts.st_mtime)


def listing(path: str, entries: Mapping[str, Content | None]) -> Content:
    """Give the page of a folder: a link to each file and, ending in `/`, to each folder (null) in it."""
    lines = []
    for name, content in sorted(entries.items()):
        shown = name if content else f"{name}/"
        when = time.strftime("%d-%b-%Y %H:%M", time.gmtime(content.modified if content else 0))
        lines.append(f'<a href="{quote(shown)}">{escape(shown)}</a>  {when}  {content.size if content else "-"}\n')
    title = f"Index of {escape(path)}"
    html = f'<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1><hr><pre><a href="../">../</a>\n'
    return in_memory(f"{html}{''.join(lines)}</pre><hr></body>\n</html>\n".encode(), ".html")


def _kind(suffix: str) -> str:
    return _KINDS.get(suffix, "application/octet-stream")


def _file(asked: Asked, content: Content) -> Reply:
    headers = [("Content-Type", content.kind)]
    whole = Reply(200, tuple(headers), content, 0, content.size)
    if content.etag is None:
        return whole
    modified = formatdate(content.modified, usegmt=True)
    headers += [("Last-Modified", modified), ("ETag", content.etag), ("Accept-Ranges", "bytes")]
    if asked.headers.get("if-none-match") == content.etag or (
        "if-none-match" not in asked.headers and asked.headers.get("if-modified-since") == modified
    ):
        return page(304, headers=headers[1:])
    span = _RANGE.fullmatch(asked.headers.get("range", ""))
    if not span or span[0] == "bytes=-" or asked.headers.get("if-range", content.etag) not in (content.etag, modified):
        return replace(whole, headers=tuple(headers))
    if span[1]:
        start, stop = int(span[1]), min(int(span[2] or content.size) + 1, content.size)
    else:
        start, stop = max(content.size - int(span[2]), 0), content.size
    if start >= stop:
        return page(416, headers=[("Content-Range", f"bytes */{content.size}")])
    return Reply(206, (*headers, _content_range(start, stop, content)), content, start, stop)


def _content_range(start: int, stop: int, content: Content) -> tuple[str, str]:
    return "Content-Range", f"bytes {start}-{stop - 1}/{content.size}"


def _shifted(reply: Reply, later_by: int) -> Reply:
    if reply.status != 206:
        return reply
    start = min(reply.start + later_by, reply.stop - 1)
    return replace(reply, headers=(*reply.headers[:-1], _content_range(start, reply.stop, reply.content)), start=start)


def _with_wrong_byte(content: Content, at: int) -> Content:
    def read(start: int, stop: int) -> bytes:
        data = bytearray(content.read(start, stop))
        if start <= at < stop:
            data[at - start] ^= 0xFF
        return bytes(data)

    return replace(content, read=read)


def _over_and_over(content: Content, limit: int) -> Content:
    def read(start: int, stop: int) -> bytes:
        data, at = bytearray(), start
        while at < stop:
            offset = at % content.size
            data += content.read(offset, min(content.size, offset + stop - at))
            at = start + len(data)
        return bytes(data)

    return replace(content, size=limit, read=read)
