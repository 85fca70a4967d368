"""What lies on a dump server, what it shall do wrong, and what was asked of it: without a connection.

Here belongs what a test holds in its hand while a server runs. Connections are `dump_server`'s, single replies and
faults `dump_replies`'s, paths and lists of a snapshot `dump_lists`'s.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath

from valbench_dagster_tests.dump_lists import MULTISTREAM, ClassicSnapshot, JobStatus, classic, exports
from valbench_dagster_tests.dump_replies import (
    Asked,
    Content,
    Fault,
    Normal,
    Replaced,
    Reply,
    anonymous,
    in_memory,
    listing,
    on_disk,
    page,
    reply_to,
)

BEGAN = 1_790_000_000
"""When the first file in memory was last changed, Unix seconds; each later one a second later."""


@dataclass(slots=True)
class Visit:
    """A request and how far its reply has come; `allowed` unless too many were under way when it came."""

    asked: Asked
    fault: Fault
    allowed: bool
    status: int | None = None
    bytes_sent: int = 0
    under_way: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the server saw it; names of headers in lower case.

    `range` is the header of that name, null without. `bytes_sent` counts the body. The status is null before a head
    is sent, and stays so where the connection ended without one.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    range: str | None
    status: int | None
    bytes_sent: int


class DumpServerHandle:
    """A running server: what lies on it, what it shall do wrong, what was asked of it. Safe from any thread.

    `release` lets stalled replies go on. A request counts as under way until just before its last byte is sent, so
    that a client that has read everything may ask again at once.
    """

    def __init__(
        self,
        url: str,
        folder: Path | None,
        connections: int | None,
        bytes_per_second: int | None,
        strict: bool,
        ended: Callable[[Request], None],
    ) -> None:
        """Hold nothing but what lies in `folder`; see `dump_server` for the rest."""
        self.url = url
        self.bytes_per_second = bytes_per_second
        self.release = threading.Event()
        self.closing = threading.Event()
        self._folder, self._connections, self._strict, self._ended = folder, connections, strict, ended
        self._changed = threading.Condition()
        self._held: dict[str, Content] = {}
        self._written = 0
        self._classics: dict[tuple[str, date], tuple[ClassicSnapshot, bool]] = {}
        self._faults: dict[str, list[tuple[Fault, str | None]]] = defaultdict(list)
        self._visits: list[Visit] = []
        self._under_way = self._most = 0

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in the order in which they came, as they stand now."""
        with self._changed:
            return [request_of(visit) for visit in self._visits]

    def requests_for(self, path: str) -> list[Request]:
        """Those for one path."""
        return [request for request in self.requests if request.path == path]

    @property
    def most_connections(self) -> int:
        """Most requests that were under way at once, refused ones included."""
        return self._most

    @property
    def under_way(self) -> int:
        """Requests under way now."""
        return self._under_way

    def forget(self) -> None:
        """Forget the requests so far and how many were under way at once."""
        with self._changed:
            self._visits = [visit for visit in self._visits if visit.under_way]
            self._most = self._under_way

    def wait_until(self, condition: Callable[[], bool], within_s: float = 10.0) -> None:
        """Return once `condition` holds, which is looked at whenever a request comes, goes on or ends."""
        with self._changed:
            assert self._changed.wait_for(condition, within_s), f"not within {within_s} s: {self.requests}"

    def add_classic(
        self,
        wiki: str,
        day: date,
        parts: Mapping[str, bytes],
        *,
        status: JobStatus = "done",
        jobs: Mapping[str, JobStatus] | None = None,
        lists: bool = True,
    ) -> None:
        """Lay down a classic snapshot, its jobs all in `status` but for those in `jobs`; a mirror has no `lists`.

        Files of a job are there once it was done. Replaces a snapshot of that wiki and day.
        """
        with self._changed:
            if (wiki, day) in self._classics:
                for path in self._classics[wiki, day][0].served():
                    self._held.pop(path, None)
            self._classics[wiki, day] = (classic(wiki, day, parts, status, jobs or {}), lists)
            self._publish(wiki, day)

    def set_status(self, wiki: str, day: date, status: JobStatus, job: str = MULTISTREAM) -> None:
        """Let a job of a classic snapshot move on, or back."""
        with self._changed:
            snapshot, _ = self._classics[wiki, day]
            snapshot.jobs[job] = status
            snapshot.updates += 1
            self._publish(wiki, day)

    def add_exports(self, wiki: str, day: date, parts: Mapping[str, bytes], *, complete: bool = True) -> None:
        """Lay down an exports snapshot, its SHA256SUMS only when it is complete; again to complete it."""
        self.put(exports(wiki, day, parts, complete=complete))

    def put(self, files: Mapping[str, bytes], etag: str | None = None) -> None:
        """Lay down files by path, such as a list that another program would have written otherwise."""
        with self._changed:
            for path, data in files.items():
                self._written += 1
                suffix, tag = PurePosixPath(path).suffix, etag or f'"{self._written:x}-{len(data):x}"'
                self._held[path] = in_memory(data, suffix, tag, BEGAN + self._written)

    def remove(self, path: str) -> None:
        """Take away a file, or a folder (given with its last `/`) with all that is in it, that was laid down here."""
        with self._changed:
            gone = [held for held in self._held if held == path or (path.endswith("/") and held.startswith(path))]
            assert gone, f"nothing lies at {path}"
            for held in gone:
                del self._held[held]

    def script(self, path: str, *faults: Fault, method: str | None = None) -> None:
        """Let the next requests for `path` (those of `method`, where one is given) meet these faults, one each.

        Requests that the rules refuse use none up. After the last one service is normal.
        """
        with self._changed:
            self._faults[path] += [(fault, method) for fault in faults]

    def arrived(self, asked: Asked) -> Visit:
        """Enter a request in the book."""
        with self._changed:
            self._under_way += 1
            self._most = max(self._most, self._under_way)
            allowed = self._connections is None or self._under_way <= self._connections
            refused = not allowed or (self._strict and anonymous(asked))
            visit = Visit(asked, Normal() if refused else self._next_fault(asked), allowed)
            self._visits.append(visit)
            self._changed.notify_all()
            return visit

    def went_on(self, visit: Visit, sent: int = 0, *, status: int | None = None, ends: bool = False) -> None:
        """Note what was sent of a reply, and that it ends; ending twice is ending once."""
        with self._changed:
            visit.bytes_sent += sent
            visit.status = status or visit.status
            if ends and visit.under_way:
                visit.under_way = False
                self._under_way -= 1
                self._ended(request_of(visit))
            self._changed.notify_all()

    def reply(self, visit: Visit) -> Reply:
        """Give the reply to a request, by the rules and its fault."""
        asked = visit.asked
        if not visit.allowed:
            return page(503)
        if self._strict and anonymous(asked):
            return page(403, b"Please set a User-Agent that says who you are and how to reach you.\n")
        if isinstance(visit.fault, Replaced):
            self.put({asked.path: visit.fault.data}, visit.fault.etag)
        content = self._content(asked.path)
        if content is None and self._content(f"{asked.path}/") and isinstance(visit.fault, Normal):
            return page(301, headers=[("Location", f"{self.url}{asked.path}/")])
        return reply_to(asked, content, visit.fault)

    def _publish(self, wiki: str, day: date) -> None:
        snapshot, lists = self._classics[wiki, day]
        served = snapshot.served(lists=lists)
        self.put({path: data for path, data in served.items() if self._bytes_at(path) != data})

    def _bytes_at(self, path: str) -> bytes | None:
        content = self._held.get(path)
        return content.read(0, content.size) if content else None

    def _next_fault(self, asked: Asked) -> Fault:
        planned = self._faults[asked.path]
        for place, (fault, method) in enumerate(planned):
            if method in (None, asked.method):
                del planned[place]
                return fault
        return Normal()

    def _content(self, path: str) -> Content | None:
        with self._changed:
            held = dict(self._held)
        if path in held:
            return held[path]
        inside = PurePosixPath(path.lstrip("/"))
        place = None if self._folder is None or ".." in inside.parts else self._folder / inside
        if not path.endswith("/"):
            return on_disk(place) if place and place.is_file() else None
        entries: dict[str, Content | None] = {}
        if place and place.is_dir():
            entries = {below.name: None if below.is_dir() else on_disk(below) for below in place.iterdir()}
        for other in held:
            if other.startswith(path):
                name, deeper, _ = other.removeprefix(path).partition("/")
                entries[name] = None if deeper else held[other]
        return listing(path, entries) if entries else None


def request_of(visit: Visit) -> Request:
    """Give what is to be told of a visit as it stands now."""
    asked = visit.asked
    return Request(asked.method, asked.path, asked.headers, asked.headers.get("range"), visit.status, visit.bytes_sent)
