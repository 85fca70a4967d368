"""HTTP: documents and bytes of a dump server, asked for as its operators want it; only here is `requests` known.

The rules of the server (wikipedia.md, section 4) are kept here and nowhere else: https only, a User-Agent that names
the operator, few connections, no compression on the way. Proxies and certificates are those that `requests` takes from
the environment; `urllib3` beneath it is asked for what came of a body before it broke, and to end one at once. What a
document says is `catalogue.py`, what is done with the bytes of a file `part.py`.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from queue import LifoQueue
from random import Random
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from valbench_dagster.dumps.catalogue import NotThereError
from valbench_dagster.dumps.server_settings import (
    ContactMissingError,
    ServerSettings,
    ServerSettingsError,
    may_be_asked,
    user_agent,
)
from valbench_dagster.dumps.sources import (
    Body,
    ForbiddenError,
    InterruptedTransferError,
    PassingError,
    Patience,
    RangeRefusedError,
    Retries,
    Tell,
    TransferError,
)
from valbench_dagster.llm.rate_hints import retry_after_seconds

__all__ = ["ContactMissingError", "DumpServer", "ServerSettings", "ServerSettingsError"]

T = TypeVar("T")

CHUNK_BYTES = 1 << 18
MOST_TEXT_BYTES = 64 << 20
"""Longest document that is taken into memory; the largest real ones have about a megabyte."""
MOST_REDIRECTS = 5
TIMEOUTS_S = (20.0, 60.0)
"""For a connection, and between two pieces of an answer."""

_PATH = re.compile(r"/(?!/)[A-Za-z0-9._~/+-]*")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_UNMET_RANGE = re.compile(r"bytes \*/([0-9]{1,18})")


class DumpServer:
    """A dump server, and a mirror where one is set: the documents of a catalogue, and a source of bytes.

    Names, lists and hashes come from the server, bytes of files from the mirror. There are never more connections than
    set, over all threads: each is a session with one socket, handed from request to request.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        patience: Patience | None = None,
        wait: Callable[[float], object] | None = None,
        rng: Random | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open nothing yet; `wait` returns after that many seconds. Raises `ContactMissingError`."""
        agent = user_agent(settings.contact)
        self.settings = settings
        self._patience = patience or Patience()
        self._interrupted = threading.Event()
        self._wait = wait or self._interrupted.wait
        self._rng = rng or Random()
        self._now = now
        self._open: set[requests.Response] = set()
        self._idle: LifoQueue[requests.Session] = LifoQueue()
        for _ in range(settings.connections):
            self._idle.put(_session(agent))

    @property
    def has_mirror(self) -> bool:
        """Whether bytes of files come from a mirror."""
        return self.settings.mirror is not None

    def text(self, path: str) -> str:
        """The document at `path`, which is UTF-8; raises `NotThereError` and `TransferError`."""
        return self._patiently(lambda: self._text(path))

    def size(self, path: str) -> int | None:
        """The bytes of the file at `path`, null where the server does not say; raises as `text` does."""

        def ask() -> int | None:
            with self._answer("HEAD", self._url(path)) as response:
                return _length(response)

        return self._patiently(ask)

    @contextmanager
    def body(self, place: str, offset: int, *, from_mirror: bool) -> Iterator[Body]:
        """Open the bytes of the file at the path `place`; see `Source.body`."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._answer("GET", self._url(place, from_mirror=from_mirror), headers) as response:
            validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
            start, total = _place(response, offset)
            host = urlsplit(response.url).netloc
            yield Body(start=start, total=total, validator=validator, host=host, chunks=_chunks(response))

    def retries(self, tell: Tell | None = None) -> Retries:
        """Begin to count the tries for one file."""
        return Retries(self._patience, self._wait, self._rng, tell)

    def interrupt(self) -> None:
        """End every wait and every open body at once; later requests raise `InterruptedTransferError`.

        A request whose answer has not begun ends with that, or by its timeout.
        """
        self._interrupted.set()
        for response in list(self._open):
            # Where the answer has just ended there is nothing to end.
            with suppress(OSError, RuntimeError, ValueError):
                response.raw.shutdown()

    def close(self) -> None:
        """Close idle connections."""
        for _ in range(self._idle.qsize()):
            session = self._idle.get()
            session.close()
            self._idle.put(session)

    def _url(self, path: str, *, from_mirror: bool = False) -> str:
        if not _PATH.fullmatch(path) or ".." in path:
            raise TransferError(
                f"{path!r} is no path of a dump server, such as /enwiki/20261101/; it was not asked for"
            )
        return ((from_mirror and self.settings.mirror) or self.settings.server).rstrip("/") + path

    def _text(self, path: str) -> str:
        with self._answer("GET", url := self._url(path)) as response:
            found = bytearray()
            for chunk in _chunks(response):
                found += chunk
                if len(found) > MOST_TEXT_BYTES:
                    raise TransferError(f"{url}: expected at most {MOST_TEXT_BYTES} bytes of text, found more")
        try:
            return found.decode("utf-8")
        except UnicodeDecodeError as error:
            found_byte = error.object[error.start]
            raise TransferError(f"{url}: expected UTF-8, found {found_byte:#04x} at byte {error.start}") from None

    def _patiently(self, ask: Callable[[], T]) -> T:
        retries = self.retries()
        while True:
            try:
                return ask()
            except PassingError as fault:
                retries.wait_after(fault)

    @contextmanager
    def _answer(self, method: str, url: str, headers: dict[str, str] | None = None) -> Iterator[requests.Response]:
        """A good answer (200, 206), on a connection of its own until the end of the block."""
        session = self._idle.get()
        try:
            with closing(self._ask(session, method, url, headers or {})) as response:
                _raise_for(response, self._now())
                self._open.add(response)
                try:
                    if self._interrupted.is_set():
                        raise InterruptedTransferError(f"{url}: interrupted")
                    yield response
                finally:
                    self._open.discard(response)
        finally:
            self._idle.put(session)

    def _ask(self, session: requests.Session, method: str, url: str, headers: dict[str, str]) -> requests.Response:
        for _ in range(1 + MOST_REDIRECTS):
            if self._interrupted.is_set():
                raise InterruptedTransferError(f"{url}: interrupted")
            try:
                response = session.request(
                    method, url, headers=headers, stream=True, allow_redirects=False, timeout=TIMEOUTS_S
                )
            except requests.RequestException as error:
                raise _fault(url, error) from error
            if not response.is_redirect:
                return response
            response.close()
            url = self._followed(url, response.headers["Location"])
        raise TransferError(f"{url}: more than {MOST_REDIRECTS} redirects; look at the address of the server or mirror")

    def _followed(self, url: str, location: str) -> str:
        known = {urlsplit(each).netloc for each in (self.settings.server, self.settings.mirror) if each}
        with suppress(ValueError):  # of a location that is no URL
            target = urljoin(url, location)
            if may_be_asked(target) and urlsplit(target).netloc in known:
                return target
        expected = f"expected https and {' or '.join(sorted(known))}"
        raise TransferError(f"{url}: redirected to {location!r}, which was not followed: {expected}")


class _Session(requests.Session):
    """A session that leaves redirects alone: the library's own would read all of their bodies, however long."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - the library's signature
        """None: they are followed by `DumpServer`."""
        return


def _session(agent: str) -> requests.Session:
    session = _Session()
    session.headers.clear()
    session.headers.update({"User-Agent": agent, "Accept": "*/*", "Accept-Encoding": "identity"})
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)  # the socket to one host ends when another is asked
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _chunks(response: requests.Response) -> Iterator[bytes]:
    if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise TransferError(f"{response.url}: expected the bytes as they lie, found them encoded as {encoding!r}")
    # By what has come, not by full chunks as `iter_content` does: what came before a cut is not lost.
    try:
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
            yield chunk
    except HTTPError as error:
        raise PassingError(f"{response.url}: {error}") from error


def _fault(url: str, error: requests.RequestException) -> TransferError:
    what = f"{url}: {type(error).__name__}: {error}"
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return TransferError(f"{what}; the certificate is not trusted (REQUESTS_CA_BUNDLE names another file of CAs)")
    # What `requests` finds wrong with the request itself is a ValueError too; the rest happened on the way.
    return TransferError(what) if isinstance(error, ValueError) else PassingError(what)


def _raise_for(response: requests.Response, now: datetime) -> None:
    """Raise what a status other than 200 and 206 means."""
    status, url = response.status_code, response.url
    if status in (200, 206):
        return
    answered = f"{url}: the server answered {status} {response.reason}"
    if status in (404, 410):
        raise NotThereError(answered)
    if status == 403:
        raise ForbiddenError(
            f"{answered}. It refuses a User-Agent without a contact, plain http, and addresses that asked too much: "
            "check VALBENCH_CONTACT, whether something between you and the server changes requests, and whether your "
            "address is blocked (write to the operators of the server). Not asked again."
        )
    if status == 416:
        unmet = _UNMET_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        raise RangeRefusedError(answered, int(unmet[1]) if unmet else None)
    if status in (429, 503):
        raise PassingError(answered, busy=True, hold=_hold(response, now))
    if status in (408, 425) or status >= 500:
        raise PassingError(answered)
    raise TransferError(answered)


def _hold(response: requests.Response, now: datetime) -> float | None:
    try:
        return retry_after_seconds({"retry-after": response.headers.get("Retry-After", "")}, now)
    except OverflowError:  # a date beyond all calendars
        return None


def _place(response: requests.Response, offset: int) -> tuple[int, int | None]:
    """Where the bytes of an answer start, and the size of the whole file where it says so."""
    if response.status_code == 200:
        return 0, _length(response)
    told = response.headers.get("Content-Range", "")
    found = _CONTENT_RANGE.fullmatch(told)
    if found is None or int(found[1]) != offset:
        raise PassingError(f"{response.url}: expected bytes from {offset} on, found Content-Range {told!r}")
    return offset, None if found[3] == "*" else int(found[3])


def _length(response: requests.Response) -> int | None:
    told = response.headers.get("Content-Length", "")
    return int(told) if re.fullmatch("[0-9]{1,18}", told) else None
