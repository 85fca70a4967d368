"""Fetching dumps: whole or visibly unfinished, resumable at any byte, verified, polite to the server.

The server is a real one on loopback with faults that a test scripts; nobody waits, since waiting is handed in.
"""

import hashlib
import resource
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.dumps.catalogue import Catalogue, NotThereError, Offer, RemoteFile
from valbench_dagster.dumps.classic import ClassicCatalogue
from valbench_dagster.dumps.exports import ExportsCatalogue
from valbench_dagster.dumps.fetch import FetchedFile, FetchError, FetchProgress, fetch
from valbench_dagster.dumps.fetch_progress import Tally
from valbench_dagster.dumps.files import discover, list_files
from valbench_dagster.dumps.http import DumpServer, ServerSettings
from valbench_dagster.dumps.manifest import FETCHING, MANIFEST, Journal, ManifestError, read_manifest
from valbench_dagster.dumps.names import DumpFilesError
from valbench_dagster.dumps.part import HashMismatchError, Part, ReplacedError
from valbench_dagster.dumps.sources import Body, ForbiddenError, GaveUpError, Patience, Retries, Tell
from valbench_dagster.dumps.stores import open_store
from valbench_dagster_tests import servers
from valbench_dagster_tests.dump_server import (
    CutAfter,
    DumpServerHandle,
    Endless,
    Fault,
    HtmlErrorPage,
    IgnoreRange,
    NotFound,
    Replaced,
    StallAfter,
    Status,
    WrongBytes,
    WrongRange,
    dump_server,
)

DAY = date(2026, 10, 1)
KEY = "enwiki-20261001"
CONTACT = "tests@example.org"
ROOT = Path(__file__).resolve().parent.parent

PARTS = {
    f"enwiki-20261001-pages-articles-multistream{number}.xml-p{number}01p{number}99.bz2": Random(number).randbytes(size)
    for number, size in ((1, 300_000), (2, 5_000), (3, 70_001))
}
"""Bytes that only have to arrive; what is in them is not looked at."""

INDEXES = {name.replace("multistream", "multistream-index").replace(".xml", ".txt"): b"0:1:A" for name in PARTS}
FIRST, SECOND, THIRD = PARTS


def path_of(name: str) -> str:
    """Where the server has a file of the snapshot."""
    return f"/enwiki/20261001/{name}"


@pytest.fixture
def server() -> Iterator[DumpServerHandle]:
    """A server with a classic snapshot of three parts."""
    with dump_server() as handle:
        handle.add_classic("enwiki", DAY, PARTS)
        yield handle


@contextmanager
def client(
    url: str, waits: list[float] | None = None, *, mirror: str | None = None, connections: int = 1, attempts: int = 8
) -> Iterator[DumpServer]:
    """A client whose waits are entered into a list instead."""
    made = DumpServer(
        ServerSettings(server=url, mirror=mirror, contact=CONTACT, connections=connections),
        patience=Patience(attempts=attempts),
        wait=(waits if waits is not None else []).append,
        rng=Random(0),
    )
    try:
        yield made
    finally:
        made.close()


def offered(url: str, catalogue: Callable[[DumpServer], Catalogue] = ClassicCatalogue) -> Offer:
    """What the server has of the snapshot."""
    with client(url) as asking:
        offer = catalogue(asking).offer("enwiki", "20261001")
    assert offer is not None
    return offer


def fetched(
    server: DumpServerHandle, folder: Path, waits: list[float] | None = None, offer: Offer | None = None
) -> list[FetchedFile]:
    """Fetch the snapshot into the folder of dumps, on one connection, so that requests have an order."""
    asked = offer or offered(server.url)
    server.forget()
    with client(server.url, waits) as asking:
        return fetch(asked, folder / KEY, asking, reserve_bytes=0)


def assert_whole(folder: Path, parts: dict[str, bytes] = PARTS) -> None:
    """The snapshot is whole, every byte is right, and its manifest says so."""
    assert {path.name: path.read_bytes() for path in list_files(folder, KEY)} == {
        name: data for name, data in parts.items() if ".xml" in name
    }
    assert KEY in discover(folder)
    manifest = read_manifest(folder / KEY)
    assert manifest is not None
    assert {file.name: file.sha256 for file in manifest.files} == {
        name: hashlib.sha256(data).hexdigest() for name, data in parts.items()
    }
    assert {path.name for path in (folder / KEY).iterdir()} == {MANIFEST, *parts}


def assert_unfinished(folder: Path) -> None:
    """Nobody takes the snapshot for whole."""
    assert discover(folder) == {}
    with pytest.raises(DumpFilesError, match="not whole"):
        list_files(folder, KEY)


def ranges(server: DumpServerHandle, name: str) -> list[str | None]:
    """The ranges in which a file was asked for, in order."""
    return [request.range for request in server.requests_for(path_of(name)) if request.method == "GET"]


# Whole snapshots


def test_a_classic_snapshot_is_fetched_with_its_indexes_and_verified(tmp_path: Path) -> None:
    with dump_server() as server:
        server.add_classic("enwiki", DAY, {**PARTS, **INDEXES})
        files = fetched(server, tmp_path)
        url = server.url
    assert_whole(tmp_path, {**PARTS, **INDEXES})
    assert [file.path.name for file in files] == [*PARTS, *INDEXES]
    assert [file.role for file in files] == ["articles"] * 3 + ["index"] * 3
    # Classic dumps publish MD5 and SHA-1; the stronger one is compared, and SHA-256 is ours.
    assert [file.published.kind for file in files if file.published] == ["sha1"] * 6
    assert all(file.fetched and file.bytes == file.path.stat().st_size for file in files)
    manifest = read_manifest(tmp_path / KEY)
    assert manifest is not None
    assert (manifest.snapshot, manifest.layout, manifest.source) == (KEY, "classic", url)


def test_an_exports_snapshot_is_fetched_and_verified_by_sha256(tmp_path: Path) -> None:
    parts = {f"enwiki-2026-10-01-p{at}p{at + 9}.xml.bz2": Random(at).randbytes(9_000) for at in (1, 20, 300)}
    with dump_server() as server:
        server.add_exports("enwiki", DAY, parts)
        files = fetched(server, tmp_path, offer=offered(server.url, ExportsCatalogue))
    assert_whole(tmp_path, parts)
    assert [file.published and (file.published.kind, file.published.value) for file in files] == [
        ("sha256", hashlib.sha256(data).hexdigest()) for data in parts.values()
    ]


def test_every_request_says_who_asks_and_wants_no_compression(server: DumpServerHandle, tmp_path: Path) -> None:
    fetched(server, tmp_path)
    assert len(server.requests) == 3
    for request in server.requests:
        assert request.headers["user-agent"].startswith("valbench_dagster/")
        assert f"; {CONTACT})" in request.headers["user-agent"]
        assert request.headers["accept-encoding"] == "identity"


def test_a_whole_snapshot_is_not_asked_for_again(server: DumpServerHandle, tmp_path: Path) -> None:
    first = fetched(server, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / KEY).iterdir()}
    again = fetched(server, tmp_path)
    assert server.requests == []
    assert [(file.path, file.sha256, file.fetched) for file in again] == [
        (file.path, file.sha256, False) for file in first
    ]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / KEY).iterdir()} == times


def test_only_what_is_missing_is_fetched(server: DumpServerHandle, tmp_path: Path) -> None:
    fetched(server, tmp_path)
    (tmp_path / KEY / SECOND).unlink()
    files = fetched(server, tmp_path)
    assert [request.path for request in server.requests] == [path_of(SECOND)]
    assert [file.fetched for file in files] == [False, True, False]
    assert_whole(tmp_path)


def test_no_more_connections_are_opened_than_set(tmp_path: Path) -> None:
    parts = {
        f"enwiki-20261001-pages-articles-multistream{at}.xml-p{at}1p{at}9.bz2": Random(at).randbytes(40_000)
        for at in range(1, 9)
    }
    with dump_server() as server:
        server.add_classic("enwiki", DAY, parts)
        offer = offered(server.url)
        server.forget()
        for name in parts:
            server.script(path_of(name), StallAfter(1_000))

        def release(_: FetchProgress) -> None:
            # Two bodies under way are what is allowed; from then on they go through one after the other.
            if server.most_connections == 2:
                server.release.set()

        with client(server.url, connections=2) as asking:
            fetch(offer, tmp_path / KEY, asking, reserve_bytes=0, progress=release)
        assert server.most_connections == 2
    assert_whole(tmp_path, parts)


# Resuming


@settings(max_examples=20)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 70_001), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=6
    )
)
def test_whatever_is_cut_wherever_the_file_comes_whole(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, bool, bool, bool]]
) -> None:
    # After how many bytes, by a reset, without a head, or by a server that heeds no range.
    tmp_path = tmp_path_factory.mktemp("cut")
    faults: list[Fault] = [
        IgnoreRange() if ignoring else CutAfter(at, reset=reset, wordless=wordless)
        for at, reset, wordless, ignoring in cuts
    ]
    with dump_server() as server:
        server.add_classic("enwiki", DAY, {THIRD: PARTS[THIRD]})
        server.script(path_of(THIRD), *faults, method="GET")
        fetched(server, tmp_path)
    assert_whole(tmp_path, {THIRD: PARTS[THIRD]})


@pytest.mark.parametrize("at", [0, 1, 4_999, 100_000, 262_144, 299_999])
def test_after_a_cut_only_the_rest_is_asked_for(server: DumpServerHandle, tmp_path: Path, at: int) -> None:
    waits: list[float] = []
    server.script(path_of(FIRST), CutAfter(at))
    fetched(server, tmp_path, waits)
    assert ranges(server, FIRST) == [None, f"bytes={at}-" if at else None]
    assert len(waits) == 1
    assert_whole(tmp_path)


@pytest.mark.parametrize("there", [1, 150_000, 299_999])
def test_what_an_attempt_before_has_left_is_gone_on_from(server: DumpServerHandle, tmp_path: Path, there: int) -> None:
    left(tmp_path, PARTS[FIRST][:there])
    fetched(server, tmp_path)
    assert ranges(server, FIRST) == [f"bytes={there}-"]
    assert_whole(tmp_path)


def left(folder: Path, data: bytes) -> None:
    """Leave the first part as an attempt before would."""
    (folder / KEY).mkdir(parents=True)
    (folder / KEY / FETCHING).write_bytes(b"")
    (folder / KEY / f"{FIRST}.part").write_bytes(data)


def test_a_part_that_is_all_there_is_only_verified(server: DumpServerHandle, tmp_path: Path) -> None:
    left(tmp_path, PARTS[FIRST])
    fetched(server, tmp_path)
    assert ranges(server, FIRST) == []
    assert_whole(tmp_path)


def test_garbage_in_a_part_is_noticed_and_fetched_anew(server: DumpServerHandle, tmp_path: Path) -> None:
    left(tmp_path, b"\0" * 1_000)
    fetched(server, tmp_path)
    assert ranges(server, FIRST) == ["bytes=1000-", None]
    assert_whole(tmp_path)


def test_a_part_longer_than_the_file_is_fetched_anew(server: DumpServerHandle, tmp_path: Path) -> None:
    left(tmp_path, PARTS[FIRST] + b"more")
    fetched(server, tmp_path)
    assert ranges(server, FIRST) == [None]
    assert_whole(tmp_path)


def test_an_answer_that_heeds_no_range_starts_the_file_over(server: DumpServerHandle, tmp_path: Path) -> None:
    server.script(path_of(FIRST), CutAfter(100_000), IgnoreRange())
    fetched(server, tmp_path)
    assert ranges(server, FIRST) == [None, "bytes=100000-"]
    assert_whole(tmp_path)


class Forgetful:
    """A source that heeds no offset and ends after 100 bytes each time."""

    has_mirror = False

    def __init__(self) -> None:
        self.waits: list[float] = []

    @contextmanager
    def body(self, place: str, offset: int, *, from_mirror: bool) -> Iterator[Body]:
        """The start of the file."""
        yield Body(start=0, total=200, validator=None, host="forgetful", chunks=iter([b"x" * 60, b"x" * 40]))

    def retries(self, tell: Tell | None = None) -> Retries:
        """Count tries, and waits."""
        return Retries(Patience(), self.waits.append, Random(0), tell)

    def interrupt(self) -> None:
        """There is nothing to end."""


def test_bytes_that_were_there_before_are_no_progress(tmp_path: Path) -> None:
    source = Forgetful()
    file = RemoteFile("x.xml", "/x.xml", 200, None, None, None, "articles", None, None)
    tally = Tally({file.name: 200}, time.monotonic)
    with pytest.raises(GaveUpError, match="after 100; gave up after 8 failed tries"):
        Part(file, tmp_path, source, Journal(tmp_path, "classic"), tally, lambda: None).fetch()
    assert len(source.waits) == 7


def test_an_answer_of_another_range_is_not_written(server: DumpServerHandle, tmp_path: Path) -> None:
    server.script(path_of(FIRST), CutAfter(100_000), WrongRange(later_by=5))
    fetched(server, tmp_path)
    assert ranges(server, FIRST) == [None, "bytes=100000-", "bytes=100000-"]
    assert_whole(tmp_path)


def test_progress_sets_the_count_of_failed_tries_back(server: DumpServerHandle, tmp_path: Path) -> None:
    waits: list[float] = []
    server.script(path_of(FIRST), *[CutAfter(10_000)] * 20)
    fetched(server, tmp_path, waits)
    assert len(waits) == 20
    assert max(waits) <= 1.0  # each is a first one
    assert_whole(tmp_path)


def test_tries_without_a_byte_gained_wait_longer_each_time_and_end(server: DumpServerHandle, tmp_path: Path) -> None:
    waits: list[float] = []
    server.script(path_of(FIRST), *[CutAfter(0, wordless=True)] * 8)
    with pytest.raises(FetchError, match=f"2 of 3 files are whole.*valbench snapshot fetch {KEY}") as raised:
        fetched(server, tmp_path, waits)
    assert [type(fault) for fault in raised.value.faults] == [GaveUpError]
    # Between half and all of 1, 2, 4, ... 60 seconds (the eighth failure is the last).
    for wait, longest in zip(waits, [1, 2, 4, 8, 16, 32, 60], strict=True):
        assert longest / 2 <= wait <= longest
    assert_unfinished(tmp_path)
    fetched(server, tmp_path)
    assert [request.path for request in server.requests] == [path_of(FIRST)]
    assert_whole(tmp_path)


# A server that is busy, refuses or lacks


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(
    server: DumpServerHandle, tmp_path: Path, status: int
) -> None:
    waits: list[float] = []
    server.script(path_of(FIRST), Status(status, retry_after=30), Status(status, retry_date_in_s=40), Status(status))
    fetched(server, tmp_path, waits)
    assert waits[0] == 30.0
    assert 30 < waits[1] <= 41
    assert 2.0 <= waits[2] <= 4.0  # not said: the third failure in a row
    assert_whole(tmp_path)


def test_nobody_is_kept_waiting_longer_than_the_limit(server: DumpServerHandle, tmp_path: Path) -> None:
    waits: list[float] = []
    beyond_all_calendars = f"Mon, 01 Jan {10**20} 00:00:00 GMT"
    asked = (86_400, "soon", beyond_all_calendars)
    server.script(path_of(FIRST), *(Status(503, retry_after=each) for each in asked))
    fetched(server, tmp_path, waits)
    assert waits[0] == 600.0
    assert waits[1] <= 2.0
    assert waits[2] <= 4.0


@pytest.mark.parametrize("status", [500, 502, 504, 408])
def test_other_errors_of_the_server_are_tried_again(server: DumpServerHandle, tmp_path: Path, status: int) -> None:
    server.script(path_of(FIRST), CutAfter(100), Status(status))
    fetched(server, tmp_path)
    assert ranges(server, FIRST) == [None, "bytes=100-", "bytes=100-"]
    assert_whole(tmp_path)


def test_a_refusal_is_final_at_once_for_all_files(server: DumpServerHandle, tmp_path: Path) -> None:
    waits: list[float] = []
    server.script(path_of(FIRST), Status(403))
    with pytest.raises(FetchError, match="VALBENCH_CONTACT") as raised:
        fetched(server, tmp_path, waits)
    assert isinstance(raised.value.faults[0], ForbiddenError)
    assert waits == []
    assert [request.path for request in server.requests] == [path_of(FIRST)]
    assert_unfinished(tmp_path)


def test_no_other_file_is_begun_once_two_were_given_up(server: DumpServerHandle, tmp_path: Path) -> None:
    for name in (FIRST, SECOND):
        server.script(path_of(name), *[Status(500)] * 8)
    with pytest.raises(FetchError, match="0 of 3 files are whole") as raised:
        fetched(server, tmp_path)
    assert len(raised.value.faults) == 2
    assert server.requests_for(path_of(THIRD)) == []


def test_a_file_that_is_gone_fails_alone_and_the_others_are_kept(server: DumpServerHandle, tmp_path: Path) -> None:
    offer = offered(server.url)
    server.script(path_of(SECOND), NotFound())
    with pytest.raises(FetchError, match="404") as raised:
        fetched(server, tmp_path, offer=offer)
    assert isinstance(raised.value.faults[0], NotThereError)
    assert str(raised.value).endswith(f"Run: valbench snapshot fetch {KEY}")
    assert (tmp_path / KEY / FIRST).exists()
    assert (tmp_path / KEY / THIRD).exists()
    assert_unfinished(tmp_path)
    fetched(server, tmp_path, offer=offer)
    assert [request.path for request in server.requests] == [path_of(SECOND)]
    assert_whole(tmp_path)


def test_all_failed_files_are_named_in_one_error(server: DumpServerHandle, tmp_path: Path) -> None:
    offer = offered(server.url)
    server.script(path_of(FIRST), NotFound())
    server.script(path_of(THIRD), WrongBytes(), WrongBytes())
    with pytest.raises(FetchError) as raised:
        fetched(server, tmp_path, offer=offer)
    assert len(raised.value.problems) == 2
    assert FIRST in raised.value.problems[0]
    assert THIRD in raised.value.problems[1]


# Bytes that are wrong


def test_wrong_bytes_are_fetched_once_more_from_the_start(server: DumpServerHandle, tmp_path: Path) -> None:
    server.script(path_of(FIRST), WrongBytes())
    fetched(server, tmp_path)
    assert ranges(server, FIRST) == [None, None]
    assert_whole(tmp_path)


def test_wrong_bytes_twice_are_an_error_with_both_hashes_and_nothing_stays(
    server: DumpServerHandle, tmp_path: Path
) -> None:
    server.script(path_of(FIRST), WrongBytes(7), WrongBytes(7))
    with pytest.raises(FetchError) as raised:
        fetched(server, tmp_path)
    fault = raised.value.faults[0]
    data = PARTS[FIRST]
    wrong = data[:7] + bytes([data[7] ^ 0xFF]) + data[8:]
    assert isinstance(fault, HashMismatchError)
    for told in (FIRST, "300000 bytes", hashlib.sha1(data).hexdigest(), hashlib.sha1(wrong).hexdigest()):  # noqa: S324 - what is published
        assert told in str(fault)
    assert not (tmp_path / KEY / FIRST).exists()
    assert not (tmp_path / KEY / f"{FIRST}.part").exists()
    assert_unfinished(tmp_path)


def test_a_body_without_end_is_cut_and_is_an_error(server: DumpServerHandle, tmp_path: Path) -> None:
    server.script(path_of(FIRST), Endless(), Endless())
    with pytest.raises(FetchError, match=r"expected 300000 bytes from .*, found more"):
        fetched(server, tmp_path)
    # Of 64 MiB each time, what fits into buffers on the way.
    assert sum(request.bytes_sent for request in server.requests_for(path_of(FIRST))) < 32 << 20
    assert not (tmp_path / KEY / f"{FIRST}.part").exists()


def test_a_page_in_place_of_the_file_is_not_taken(server: DumpServerHandle, tmp_path: Path) -> None:
    server.script(path_of(FIRST), HtmlErrorPage())
    fetched(server, tmp_path)
    assert_whole(tmp_path)


def test_a_file_that_was_replaced_by_another_of_that_size_is_started_over(
    server: DumpServerHandle, tmp_path: Path
) -> None:
    # The list names the new file; the old one was begun.
    offer, data = offered(server.url), PARTS[FIRST]
    server.put({path_of(FIRST): b"x" * len(data)}, etag='"old"')
    server.script(path_of(FIRST), CutAfter(1_000), Replaced(data, etag='"new"'))
    fetched(server, tmp_path, offer=offer)
    assert ranges(server, FIRST) == [None, "bytes=1000-", None]
    assert_whole(tmp_path)


def test_a_file_that_is_replaced_between_two_attempts_is_started_over(server: DumpServerHandle, tmp_path: Path) -> None:
    offer, data = offered(server.url), PARTS[FIRST]
    server.put({path_of(FIRST): b"x" * len(data)}, etag='"old"')
    server.script(path_of(FIRST), CutAfter(1_000), Status(403))
    with pytest.raises(FetchError):
        fetched(server, tmp_path, offer=offer)
    server.put({path_of(FIRST): data}, etag='"new"')
    fetched(server, tmp_path, offer=offer)
    assert ranges(server, FIRST) == ["bytes=1000-", None]
    assert_whole(tmp_path)


def test_a_file_that_is_replaced_again_and_again_is_an_error_naming_both(
    server: DumpServerHandle, tmp_path: Path
) -> None:
    data = PARTS[FIRST]
    server.put({path_of(FIRST): data}, etag='"a"')
    cut = CutAfter(1_000)
    server.script(path_of(FIRST), cut, Replaced(data, '"b"'), cut, Replaced(data, '"c"'))
    with pytest.raises(FetchError, match='expected "b", found "c"') as raised:
        fetched(server, tmp_path)
    assert isinstance(raised.value.faults[0], ReplacedError)


@pytest.mark.parametrize("size", [200_000, 400_000])
def test_a_file_of_another_size_than_listed_is_an_error_naming_both(
    server: DumpServerHandle, tmp_path: Path, size: int
) -> None:
    offer = offered(server.url)
    server.put({path_of(FIRST): b"x" * size})
    with pytest.raises(FetchError, match=f"expected 300000 bytes, found {size} at 127.0.0.1"):
        fetched(server, tmp_path, offer=offer)
    assert len(ranges(server, FIRST)) == 2


def test_a_file_that_ends_before_what_lies_there_is_an_error(server: DumpServerHandle, tmp_path: Path) -> None:
    offer = offered(server.url)
    left(tmp_path, PARTS[FIRST][:200_000])
    server.put({path_of(FIRST): b"x" * 100_000})
    with pytest.raises(FetchError, match="expected 300000 bytes, found 100000"):
        fetched(server, tmp_path, offer=offer)
    assert ranges(server, FIRST) == ["bytes=200000-", None]


# The mirror


def test_bytes_come_from_the_mirror_and_lists_from_the_server(server: DumpServerHandle, tmp_path: Path) -> None:
    with dump_server(connections=None) as mirror:
        mirror.add_classic("enwiki", DAY, PARTS, lists=False)
        server.forget()
        with client(server.url, mirror=mirror.url) as asking:
            offer = ClassicCatalogue(asking).offer("enwiki", "20261001")
            assert offer is not None
            fetch(offer, tmp_path / KEY, asking, reserve_bytes=0)
        assert [request.path for request in server.requests] == [path_of("dumpstatus.json")]
        assert sorted(request.path for request in mirror.requests) == sorted(map(path_of, PARTS))
    assert_whole(tmp_path)


def test_what_the_mirror_lacks_or_has_otherwise_comes_from_the_server(server: DumpServerHandle, tmp_path: Path) -> None:
    offer = offered(server.url)
    told: list[FetchProgress] = []
    with dump_server(connections=None) as mirror:
        mirror.add_classic("enwiki", DAY, {**PARTS, SECOND: b"x" * 5_000, THIRD: b"x" * 100}, lists=False)
        mirror.remove(path_of(FIRST))
        server.forget()
        with client(server.url, mirror=mirror.url) as asking:
            fetch(offer, tmp_path / KEY, asking, reserve_bytes=0, progress=told.append)
        assert len(mirror.requests) == 3
    assert [request.path for request in server.requests] == [path_of(name) for name in PARTS]
    assert told[-1].mirror_misses == 3
    assert_whole(tmp_path)


# Refused before a byte is fetched


def refused(server: DumpServerHandle, folder: Path, offer: Offer, match: str, *, free: int = 1 << 40) -> None:
    """Fetching is refused with that sentence, and nothing is asked of the server."""
    server.forget()
    with client(server.url) as asking, pytest.raises(FetchError, match=match):
        fetch(offer, folder / KEY, asking, reserve_bytes=1_000, free_bytes=lambda _: free)
    assert server.requests == []


def test_a_disk_that_is_too_small_is_refused_with_both_numbers(server: DumpServerHandle, tmp_path: Path) -> None:
    offer = offered(server.url)
    refused(server, tmp_path, offer, "expected 376001 bytes free .* found 376000", free=376_000)
    assert not (tmp_path / KEY).exists()
    left(tmp_path, PARTS[FIRST][:100_000])
    refused(server, tmp_path, offer, "expected 276001 bytes free .* found 276000", free=276_000)
    with client(server.url) as asking:
        fetch(offer, tmp_path / KEY, asking, reserve_bytes=1_000, free_bytes=lambda _: 276_001)
    assert_whole(tmp_path)


def test_an_offer_that_is_not_complete_is_refused(server: DumpServerHandle, tmp_path: Path) -> None:
    server.set_status("enwiki", DAY, "in-progress")
    refused(server, tmp_path, offered(server.url), "not complete at its source: Job articlesmultistreamdump")
    assert not (tmp_path / KEY).exists()


def test_another_layout_under_the_same_key_is_refused(server: DumpServerHandle, tmp_path: Path) -> None:
    fetched(server, tmp_path)
    server.add_exports("enwiki", DAY, {"enwiki-2026-10-01-p1p9.xml.bz2": b"x"})
    exports = offered(server.url, ExportsCatalogue)
    refused(server, tmp_path, exports, "is of layout classic, the offer of layout exports: .* never changes")
    (tmp_path / KEY / FETCHING).write_text('{"layout": "classic"}')
    (tmp_path / KEY / MANIFEST).unlink()
    refused(server, tmp_path, exports, "is of layout classic, the offer of layout exports")


def test_files_that_a_person_put_there_are_not_taken_over(server: DumpServerHandle, tmp_path: Path) -> None:
    (tmp_path / KEY).mkdir()
    (tmp_path / KEY / FIRST).write_bytes(PARTS[FIRST])
    refused(server, tmp_path, offered(server.url), "is of layout folder, the offer of layout classic")


def test_a_finished_file_of_another_size_is_an_error_naming_both(server: DumpServerHandle, tmp_path: Path) -> None:
    fetched(server, tmp_path)
    (tmp_path / KEY / SECOND).write_bytes(b"short")
    refused(server, tmp_path, offered(server.url), f"{SECOND} has 5 bytes, expected 5000: delete it")


def test_a_finished_file_whose_published_hash_has_changed_is_an_error(server: DumpServerHandle, tmp_path: Path) -> None:
    fetched(server, tmp_path)
    server.add_classic("enwiki", DAY, {**PARTS, SECOND: b"y" * 5_000})
    refused(server, tmp_path, offered(server.url), "files of a snapshot never change under its key")


@pytest.mark.parametrize("name", ["enwiki-20261001-pages.xml.bz2", "old.bz2.part", "x.tmp"])
def test_a_file_that_is_not_of_the_offer_is_an_error(server: DumpServerHandle, tmp_path: Path, name: str) -> None:
    (tmp_path / KEY).mkdir()
    (tmp_path / KEY / name).write_bytes(b"x")
    refused(server, tmp_path, offered(server.url), "none of the files of the offer")


@pytest.mark.parametrize(
    "name", ["../x.xml", "/etc/x.xml", "a/b.xml", "..", "", ".x.xml", "_MANIFEST.json", "x.xml.part", "a\\b", "a\nb"]
)
def test_a_name_that_would_leave_the_folder_or_hide_in_it_is_refused(
    server: DumpServerHandle, tmp_path: Path, name: str
) -> None:
    file = RemoteFile(name, path_of(FIRST), 1, None, None, None, "articles", None, None)
    refused(server, tmp_path, Offer("enwiki", "20261001", "classic", True, "", (file,), ()), "no name that a file")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / f".{KEY}.lock"]


def test_a_folder_of_another_name_is_refused(server: DumpServerHandle, tmp_path: Path) -> None:
    with client(server.url) as asking, pytest.raises(FetchError, match="is no folder for enwiki-20261001"):
        fetch(offered(server.url), tmp_path / "dewiki-20261001", asking)


def test_a_manifest_that_cannot_be_read_is_an_error_and_stays(server: DumpServerHandle, tmp_path: Path) -> None:
    fetched(server, tmp_path)
    (tmp_path / KEY / MANIFEST).write_text('{"version": 2}')
    with pytest.raises(ManifestError, match=r"_MANIFEST\.json is no manifest of this version: .*Move the folder"):
        fetched(server, tmp_path)
    assert (tmp_path / KEY / MANIFEST).read_text() == '{"version": 2}'


# Being interrupted, killed, or out of disk


def test_an_interruption_ends_stalled_bodies_and_waits_at_once(server: DumpServerHandle, tmp_path: Path) -> None:
    offer = offered(server.url)
    server.forget()
    server.script(path_of(FIRST), StallAfter(100_000))
    server.script(path_of(SECOND), Status(503, retry_after=500))

    def interrupt(progress: FetchProgress) -> None:
        if progress.bytes_done >= 100_000 and progress.waiting == "the server asks to wait 500 s":
            raise KeyboardInterrupt

    real_waits = DumpServer(ServerSettings(server=server.url, contact=CONTACT))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch(offer, tmp_path / KEY, real_waits, reserve_bytes=0, progress=interrupt)
    assert time.monotonic() - began < 20
    real_waits.close()
    assert_unfinished(tmp_path)
    fetched(server, tmp_path, offer=offer)
    assert ranges(server, FIRST)[-1] == "bytes=100000-"  # the server may not have noticed the end of the one before
    assert_whole(tmp_path)


FETCHES = """
    import resource, sys
    from pathlib import Path
    from valbench_dagster.dumps.classic import ClassicCatalogue
    from valbench_dagster.dumps.fetch import fetch
    from valbench_dagster.dumps.http import DumpServer, ServerSettings

    server = DumpServer(ServerSettings(server=sys.argv[1], contact="tests@example.org", connections=1))
    offer = ClassicCatalogue(server).offer("enwiki", "20261001")
    print("READY", flush=True)
    fetch(offer, Path(sys.argv[2]), server, reserve_bytes=0)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_process_that_is_ended_in_the_middle_is_gone_on_from(
    server: DumpServerHandle, tmp_path: Path, number: signal.Signals
) -> None:
    dumps, command = tmp_path / "dumps", [sys.executable, "-c", textwrap.dedent(FETCHES)]
    server.script(path_of(SECOND), StallAfter(4_000))
    part = dumps / KEY / f"{FIRST}"
    with servers.started(
        [*command, server.url, str(dumps / KEY)], tmp_path / "child", {"PYTHONPATH": str(ROOT)}, "child"
    ) as child:
        child.wait_until(lambda: part.exists() and bool(sent(server, SECOND)), within_s=60)
        child.send(number)
        child.ends(30, code=None)
        assert child.process.returncode != 0
    assert_unfinished(dumps)
    assert (dumps / KEY / FIRST).read_bytes() == PARTS[FIRST]
    there = (dumps / KEY / f"{SECOND}.part").stat().st_size
    fetched(server, dumps)
    assert ranges(server, FIRST) == []
    assert ranges(server, SECOND)[-1] == (f"bytes={there}-" if there else None)
    assert_whole(dumps)


def sent(server: DumpServerHandle, name: str) -> int:
    """How much of a file was sent, all requests together."""
    return sum(request.bytes_sent for request in server.requests_for(path_of(name)))


def test_two_fetches_of_one_snapshot_do_not_meet(server: DumpServerHandle, tmp_path: Path) -> None:
    offer, met = offered(server.url), []

    def second(_: FetchProgress) -> None:
        with client(server.url) as asking, pytest.raises(FetchError, match="another process is fetching it"):
            fetch(offer, tmp_path / KEY, asking, reserve_bytes=0)
        met.append(True)

    with client(server.url) as asking:
        fetch(offer, tmp_path / KEY, asking, reserve_bytes=0, progress=second)
    assert met
    assert_whole(tmp_path)


def test_a_full_disk_ends_the_fetch_and_what_came_is_gone_on_from(server: DumpServerHandle, tmp_path: Path) -> None:
    # No file may grow beyond 200,000 bytes, which meets the first part (300,000) in its middle.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(FetchError, match="File too large") as raised:
            fetched(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(raised.value.faults[0], OSError)
    assert_unfinished(tmp_path)
    fetched(server, tmp_path)
    assert ranges(server, FIRST) != [None]
    assert_whole(tmp_path)


def test_a_file_that_got_its_name_before_its_note_is_hashed_and_kept(server: DumpServerHandle, tmp_path: Path) -> None:
    left(tmp_path, b"")
    (tmp_path / KEY / SECOND).write_bytes(PARTS[SECOND])
    fetched(server, tmp_path)
    assert ranges(server, SECOND) == []
    assert_whole(tmp_path)


def test_such_a_file_with_other_bytes_is_an_error_and_stays(server: DumpServerHandle, tmp_path: Path) -> None:
    left(tmp_path, b"")
    (tmp_path / KEY / SECOND).write_bytes(b"x" * 5_000)
    with pytest.raises(FetchError, match=r"lies there with other bytes: expected sha1 .* found .*; delete it"):
        fetched(server, tmp_path)
    assert (tmp_path / KEY / SECOND).read_bytes() == b"x" * 5_000
    assert_unfinished(tmp_path)


def test_the_folder_is_unfinished_between_two_files_too(server: DumpServerHandle, tmp_path: Path) -> None:
    seen: list[bool] = []

    def look(_: FetchProgress) -> None:
        seen.append((tmp_path / KEY / FETCHING).exists())
        assert discover(tmp_path) == {}

    with client(server.url) as asking:
        fetch(offered(server.url), tmp_path / KEY, asking, reserve_bytes=0, progress=look)
    assert len(seen) >= 2  # before the first byte and after the last
    assert all(seen)
    assert_whole(tmp_path)


# Progress


def test_progress_is_told_a_few_times_a_second_and_adds_up(server: DumpServerHandle, tmp_path: Path) -> None:
    told: list[FetchProgress] = []
    ticks = iter(range(10_000))  # a second passes whenever the clock is looked at
    left(tmp_path, PARTS[FIRST][:100_000])
    with client(server.url) as asking:
        fetch(
            offered(server.url),
            tmp_path / KEY,
            asking,
            reserve_bytes=0,
            progress=told.append,
            clock=lambda: float(next(ticks)),
        )
    last = told[-1]
    assert (last.bytes_done, last.bytes_total, last.parts_done, last.parts_total) == (375_001, 375_001, 3, 3)
    assert last.seconds_left == 0.0
    assert last.bytes_per_second is not None
    assert last.bytes_per_second * 2 <= 275_001  # what was read back from the disk was not received
    assert last.waiting is None
    assert [each.bytes_done for each in told] == sorted(each.bytes_done for each in told)


# Stores


@pytest.mark.parametrize("url", ["memory://dumps-of-test-fetch", None], ids=["memory", "folder"])
def test_a_snapshot_of_a_store_is_fetched_by_its_url(tmp_path: Path, url: str | None) -> None:
    import fsspec

    store = url or (tmp_path / "store").as_uri()
    for name, data in PARTS.items():
        with fsspec.open(f"{store}/{KEY}/{name}", "wb", auto_mkdir=True) as file:
            file.write(data)
    offer = open_store(store).offer("enwiki", "20261001")
    assert offer is not None
    (tmp_path / KEY).mkdir()
    (tmp_path / KEY / FETCHING).write_bytes(b"")
    (tmp_path / KEY / f"{FIRST}.part").write_bytes(PARTS[FIRST][:123_456])
    files = fetch(offer, tmp_path / KEY, None, reserve_bytes=0)
    assert [(file.published, file.fetched) for file in files] == [(None, True)] * 3
    assert_whole(tmp_path)
    manifest = read_manifest(tmp_path / KEY)
    assert manifest is not None
    assert (manifest.layout, manifest.source) == ("store", f"{store}/{KEY}")


def test_a_file_that_has_left_its_store_is_an_error(tmp_path: Path) -> None:
    store = tmp_path / "store" / KEY
    store.mkdir(parents=True)
    (store / FIRST).write_bytes(PARTS[FIRST])
    offer = open_store(str(tmp_path / "store")).offer("enwiki", "20261001")
    assert offer is not None
    (store / FIRST).unlink()
    with pytest.raises(FetchError, match="there is no such file"):
        fetch(offer, tmp_path / KEY, None, reserve_bytes=0)
    assert_unfinished(tmp_path)
