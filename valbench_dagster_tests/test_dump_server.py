"""The tests' dump server and the dumps it serves keep to the formats and rules of the real ones."""

import bz2
import http.client
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from valbench_dagster.dumps.pages import read_export
from valbench_dagster.project_files import package_file
from valbench_dagster_tests import dump_content as content
from valbench_dagster_tests.dump_content import WrittenPage, written_pages
from valbench_dagster_tests.dump_lists import JobStatus, exports, with_listed, write_tree
from valbench_dagster_tests.dump_server import (
    CutAfter,
    DumpServerHandle,
    Endless,
    Fault,
    HtmlErrorPage,
    IgnoreRange,
    Normal,
    NotFound,
    Replaced,
    StallAfter,
    Status,
    WrongBytes,
    WrongRange,
    dump_server,
    served_folder,
)

OCTOBER = date(2026, 10, 1)
AGENT = {"User-Agent": "valbench_dagster/0.1 (VAL-Bench; someone@example.org)"}
FILE = "/x/file.bz2"
DATA = bytes(range(256)) * 4


class Answer:
    """A response read to its end; `cut` names the error where the connection ended before the body did."""

    def __init__(self, url: str, path: str, method: str, headers: dict[str, str]) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        self.cut = ""
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            self.status, self.headers = response.status, response.headers
            try:
                self.body = response.read()
            except http.client.IncompleteRead as error:
                self.body, self.cut = error.partial, "IncompleteRead"
        except ConnectionError as error:
            self.status, self.body, self.cut = 0, b"", type(error).__name__
        finally:
            connection.close()


def ask(server: DumpServerHandle, path: str = FILE, method: str = "GET", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(server.url, path, method, {**AGENT, **named})


@pytest.fixture
def server() -> Iterator[DumpServerHandle]:
    with dump_server() as handle:
        handle.put({FILE: DATA})
        yield handle


def _sample() -> str:
    [path] = package_file("sample").glob("*.xml")
    return path.read_text(encoding="utf-8")


def test_a_document_opens_as_the_bundled_export_does() -> None:
    opening = content.opening_xml("enwiki").replace("en.wikipedia.org", "sample.example.org")
    opening = opening.replace(">enwiki<", ">sample<").replace(">Wikipedia<", ">Sample Encyclopaedia<")
    assert _sample().startswith(opening + "  <page>\n")


def test_a_page_is_written_as_in_the_bundled_export() -> None:
    def field(page: str, pattern: str) -> str:
        found = re.search(pattern, page, re.DOTALL)
        assert found is not None
        return unescape(found[1])

    compared = 0
    for page in re.findall(r"  <page>.*?</page>\n", _sample(), re.DOTALL):
        # Those with parts that our pages do not have lose them first.
        page = re.sub(r"      <(?:parentid>[^\n]*|minor />)\n", "", page)
        page = re.sub(r"<comment>[^<]*<", "<comment>new source<", page)
        page = re.sub(r"(</username>\n        <id>)\d+", r"\g<1>12", page)
        if (
            "<username>" not in page
            or "<comment>" not in page
            or 'deleted="deleted"' in page
            or "/>\n      <sha1" in page
        ):
            continue
        redirect = re.search(r'<redirect title="(.*?)" />', page)
        ours = WrittenPage(
            page_id=int(field(page, r"\n    <id>(\d+)<")),
            title=field(page, r"<title>(.*?)</title>"),
            text=field(page, r'xml:space="preserve">(.*?)</text>'),
            revision_id=int(field(page, r"\n      <id>(\d+)<")),
            ns=int(field(page, r"<ns>(\d+)<")),
            redirect=unescape(redirect[1]) if redirect else None,
            model=field(page, r"<model>(.*?)<"),
            timestamp=field(page, r"<timestamp>(.*?)<"),
            username=field(page, r"<username>(.*?)<"),
        )
        assert content.page_xml(ours).splitlines() == page.splitlines()
        compared += 1
    assert compared >= 5


def test_both_layouts_hold_the_pages_that_were_written() -> None:
    pages = [
        *written_pages(7),
        WrittenPage(200, 'Talk:A: <"B">', "a < b & c", 5, ns=1),
        WrittenPage(201, "Empty", "", 6),
        WrittenPage(202, "Hidden", None, 7),
    ]
    classic = content.classic_snapshot("enwiki", OCTOBER, pages, numbers=(1, 1, 2), pages_a_stream=2)
    multistreams = [data for name, data in classic.items() if "index" not in name]
    single = content.exports_snapshot("enwiki", OCTOBER, pages, parts=3)
    written = [(page.page_id, page.title, page.text, page.revision_id, page.ns) for page in pages]
    for files in (multistreams, list(single.values())):
        read = [page for data in files for page in read_export(BytesIO(data), "x.bz2")]
        assert [(page.page_id, page.title, page.text, page.revision_id, page.namespace) for page in read] == written
    # Ten pages in three parts: 3, 3 and 4. The ids of seven come from the seed, those of three from above.
    third, sixth = pages[2].page_id, pages[5].page_id
    assert [name.partition("multistream")[2] for name in content.without_indexes(classic)] == [
        f"1.xml-p1p{third}.bz2",
        f"1.xml-p{third + 1}p{sixth}.bz2",
        f"2.xml-p{sixth + 1}p202.bz2",
    ]
    assert next(iter(single)) == f"enwiki-2026-10-01-p{pages[0].page_id}p{third}.xml.bz2"


def test_an_index_line_gives_the_stream_that_its_page_is_in() -> None:
    pages = [*written_pages(5), WrittenPage(900, "A: B & C", "text", 1)]
    data, index = content.multistream(pages, pages_a_stream=4)
    starts = [start for start, _ in content.stream_spans(data)]
    lines = [line.split(":", 2) for line in index.splitlines()]
    assert [int(offset) for offset, _, _ in lines] == [starts[1]] * 4 + [starts[2]] * 2
    assert lines[-1][1:] == ["900", "A: B &amp; C"]
    assert len(starts) == 4  # the head, two of pages, the closing tag
    for offset, page_id, title in lines:
        stream = bz2.BZ2Decompressor().decompress(data[int(offset) :]).decode()
        assert stream.startswith("  <page>\n")
        assert f"<title>{title}</title>\n    <ns>0</ns>\n    <id>{page_id}</id>" in stream
    assert bz2.decompress(data) == content.export_xml(pages)


def test_what_is_broken_is_broken_in_one_way() -> None:
    pages = written_pages(6)
    data, _ = content.multistream(pages, pages_a_stream=2)
    xml = bz2.decompress(data)
    two = "".join(map(content.page_xml, pages[2:4])).encode()
    assert bz2.decompress(content.without_stream(data, 2)) == xml.replace(two, b"")
    assert bz2.decompress(content.with_stream_doubled(data, 2)) == xml.replace(two, two + two)
    assert bz2.decompress(content.without_stream(data, -1)) == xml.removesuffix(b"</mediawiki>\n")
    for number, (start, stop) in enumerate(content.stream_spans(data)):
        # Each stream alone: bz2.decompress takes what fails after a good stream for leftovers, and says nothing.
        with pytest.raises(OSError, match="Invalid data"):
            bz2.BZ2Decompressor().decompress(content.with_stream_corrupted(data, number)[start:stop])
    assert content.truncated(data, 10) == data[:10]
    assert content.with_garbage(data).startswith(data)
    assert content.corrupted(b"abc", 1) == b"a\x9dc"  # b is 0x62, and 0x62 ^ 0xff is 0x9d


@pytest.mark.parametrize(
    "agent", ["", "python-requests/2.32.3", "curl/8.5 (me@example.org)", "valbench/1", "valbench/1 (no contact)"]
)
def test_who_does_not_say_who_asks_gets_403(server: DumpServerHandle, agent: str) -> None:
    server.script(FILE, NotFound())
    assert ask(server, User_Agent=agent).status == 403
    assert [ask(server).status for _ in range(2)] == [404, 200]  # the fault was still to come
    assert ask(server, User_Agent="name/1 (https://example.org/me)").status == 200


def test_the_fourth_request_at_once_gets_503(server: DumpServerHandle) -> None:
    server.script(FILE, *[StallAfter(3)] * 3)
    threads = [threading.Thread(target=ask, args=(server,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    server.wait_until(lambda: [request.bytes_sent for request in server.requests] == [3, 3, 3])
    assert ask(server).status == 503
    server.release.set()
    for thread in threads:
        thread.join()
    assert ask(server).status == 200
    assert server.most_connections == 4
    assert sorted(request.bytes_sent for request in server.requests if request.status == 200) == [1024] * 4
    server.forget()
    assert (server.requests, server.most_connections) == ([], 0)


@pytest.mark.parametrize(
    ("asked", "status", "expected", "said"),
    [
        ("bytes=1000-", 206, DATA[1000:], "bytes 1000-1023/1024"),
        ("bytes=2-4", 206, DATA[2:5], "bytes 2-4/1024"),
        ("bytes=2-9999", 206, DATA[2:], "bytes 2-1023/1024"),
        ("bytes=-5", 206, DATA[-5:], "bytes 1019-1023/1024"),
        ("bytes=1024-", 416, None, "bytes */1024"),
        ("lines=1-", 200, DATA, None),
    ],
)
def test_a_range_is_answered(
    server: DumpServerHandle, asked: str, status: int, expected: bytes | None, said: str | None
) -> None:
    answer = ask(server, Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (status, said)
    assert expected is None or answer.body == expected
    [request] = server.requests
    assert (request.range, request.status, request.bytes_sent) == (asked, status, len(answer.body))


def test_head_tells_what_get_would_and_conditions_hold(server: DumpServerHandle) -> None:
    head, got = ask(server, method="HEAD"), ask(server, Accept_Encoding="gzip, bzip2")
    assert (head.status, head.body, got.body) == (200, b"", DATA)
    for name in ("Content-Length", "ETag", "Last-Modified", "Content-Encoding"):
        assert head.headers[name] == got.headers[name]
    assert (head.headers["Content-Length"], head.headers["Content-Encoding"]) == ("1024", None)
    etag = got.headers["ETag"]
    assert ask(server, If_None_Match=etag).status == 304
    assert ask(server, If_Modified_Since=got.headers["Last-Modified"]).status == 304
    assert ask(server, Range="bytes=1-", If_Range=etag).status == 206
    server.put({FILE: DATA[::-1]})
    assert ask(server, Range="bytes=1-", If_Range=etag).body == DATA[::-1]
    assert ask(server, "/x/other").status == 404
    assert ask(server, method="DELETE").status == 501


def test_a_classic_snapshot_becomes_done_and_runs_again(server: DumpServerHandle) -> None:
    parts = content.classic_snapshot("enwiki", OCTOBER, written_pages(4), numbers=(1, 2))
    name = next(iter(parts))
    other: dict[str, JobStatus] = {"metacurrentdump": "waiting"}
    server.add_classic("enwiki", OCTOBER, parts, status="waiting", jobs=other)

    def job() -> tuple[str, object, int]:
        said = json.loads(ask(server, "/enwiki/20261001/dumpstatus.json").body)
        assert said["version"] == "0.8"
        assert said["jobs"]["metacurrentdump"].keys() == {"status", "updated"}
        entry = said["jobs"]["articlesmultistreamdump"]
        assert re.fullmatch(r"2026-10-02 1\d:00:00", entry["updated"])
        return entry["status"], entry.get("files", {}).get(name), ask(server, f"/enwiki/20261001/{name}").status

    half = {"size": len(parts[name]) // 2}
    assert job() == ("waiting", None, 404)
    server.set_status("enwiki", OCTOBER, "in-progress")
    assert job() == ("in-progress", half, 404)
    server.set_status("enwiki", OCTOBER, "done")
    status, entry, code = job()
    assert isinstance(entry, dict)
    assert (status, code, set(entry)) == ("done", 200, {"size", "url", "md5", "sha1"})
    assert ask(server, entry["url"]).body == parts[name]
    assert f"{entry['sha1']}  {name}\n" in ask(server, "/enwiki/20261001/enwiki-20261001-sha1sums.txt").body.decode()
    assert f"{entry['md5']}  {name}\n" in ask(server, "/enwiki/20261001/enwiki-20261001-md5sums.txt").body.decode()
    etag = ask(server, entry["url"]).headers["ETag"]
    server.set_status("enwiki", OCTOBER, "in-progress")
    assert job() == ("in-progress", half, 200)  # the files of the first run are still there
    assert ask(server, entry["url"]).headers["ETag"] == etag
    assert b'href="20261001/"' in ask(server, "/enwiki/").body
    server.remove("/enwiki/20261001/")
    assert ask(server, "/enwiki/").status == 404


def test_jobs_are_told_by_the_names_of_their_files(server: DumpServerHandle) -> None:
    names = [
        "enwiki-20261001-pages-articles-multistream1.xml-p1p9.bz2",
        "enwiki-20261001-pages-articles-multistream-index1.txt-p1p9.bz2",
        "enwiki-20261001-pages-articles-multistream.xml.bz2",
        "enwiki-20261001-pages-articles.xml.bz2",
    ]
    server.add_classic("enwiki", OCTOBER, dict.fromkeys(names, b"x"))
    jobs = json.loads(ask(server, "/enwiki/20261001/dumpstatus.json").body)["jobs"]
    assert {job: list(said["files"]) for job, said in jobs.items()} == {
        "articlesmultistreamdump": names[:2],
        "articlesmultistreamdumprecombine": names[2:3],
        "articlesdump": names[3:],
    }
    with pytest.raises(ValueError, match="no job"):
        server.add_classic("enwiki", OCTOBER, {"enwiki-20261001-stub-meta-history.xml.gz": b""})


def test_an_exports_snapshot_is_complete_when_its_checksums_are_there(server: DumpServerHandle) -> None:
    parts = content.exports_snapshot("simplewiki", OCTOBER, written_pages(4))
    folder = "/other/mediawiki_content_current/simplewiki/2026-10-01/xml/bzip2/"
    server.add_exports("simplewiki", OCTOBER, parts, complete=False)
    assert ask(server, f"{folder}SHA256SUMS").status == 404
    server.add_exports("simplewiki", OCTOBER, parts)
    sums = ask(server, f"{folder}SHA256SUMS").body
    assert sorted(line.split("  ")[1] for line in sums.decode().splitlines()) == sorted(parts)
    page = ask(server, folder).body.decode()
    assert re.findall('href="([^"]+bz2)"', page) == sorted(parts)
    assert b'href="2026-10-01/"' in ask(server, "/other/mediawiki_content_current/simplewiki/").body
    moved = ask(server, "/other/mediawiki_content_current/simplewiki")
    assert (moved.status, moved.headers["Location"][-12:]) == (301, "/simplewiki/")
    server.put({f"{folder}SHA256SUMS": with_listed(sums, "../../etc/x")})
    assert ask(server, f"{folder}SHA256SUMS").body.endswith(b"  ../../etc/x\n")


def test_a_mirror_has_the_files_without_lists() -> None:
    parts = content.classic_snapshot("simplewiki", OCTOBER, written_pages(2))
    with dump_server(connections=None, strict=False) as mirror:
        mirror.add_classic("simplewiki", OCTOBER, parts, lists=False)
        assert ask(mirror, "/simplewiki/20261001/dumpstatus.json").status == 404
        for name, data in parts.items():
            assert ask(mirror, f"/simplewiki/20261001/{name}", User_Agent="curl/8").body == data


FLIPPED = DATA[:512] + b"\xff" + DATA[513:]  # the middle byte, 0 there

FAULTS: list[tuple[Fault, int, bytes, str]] = [
    (CutAfter(100), 206, DATA[24:124], "IncompleteRead"),
    (CutAfter(0), 206, b"", "IncompleteRead"),
    (CutAfter(5, wordless=True), 0, b"", "RemoteDisconnected"),
    (CutAfter(5, wordless=True, reset=True), 0, b"", "ConnectionResetError"),
    (Status(429, body=b"slow"), 429, b"slow", ""),
    (WrongBytes(), 206, FLIPPED[24:], ""),
    (WrongBytes(at=3), 206, DATA[24:], ""),
    (IgnoreRange(), 200, DATA, ""),
    (WrongRange(2), 206, DATA[26:], ""),
    (Endless(3000), 200, (DATA * 3)[:3000], ""),
    (HtmlErrorPage(b"<html>"), 200, b"<html>", ""),
]


@pytest.mark.parametrize(("fault", "status", "body", "cut"), FAULTS)
def test_a_fault_happens_once(server: DumpServerHandle, fault: Fault, status: int, body: bytes, cut: str) -> None:
    server.script(FILE, fault)
    answer = ask(server, Range="bytes=24-")
    assert (answer.status, answer.body, answer.cut) == (status, body, cut)
    [request] = server.requests
    assert (request.status or 0, request.bytes_sent) == (status, len(body))
    assert ask(server).body == DATA


def test_a_reset_in_the_body_is_no_good_bye(server: DumpServerHandle) -> None:
    server.script(FILE, CutAfter(100, reset=True))
    answer = ask(server)
    assert (answer.status, answer.cut) == (0, "ConnectionResetError")


def test_faults_come_in_their_order_and_to_their_method(server: DumpServerHandle) -> None:
    server.script(FILE, NotFound(), Normal(), Status(503), method="GET")
    assert ask(server, method="HEAD").status == 200
    assert [ask(server).status for _ in range(4)] == [404, 200, 503, 200]
    assert [request.method for request in server.requests_for(FILE)] == ["HEAD"] + ["GET"] * 4


def test_retry_after_is_told_in_seconds_or_as_a_date(server: DumpServerHandle) -> None:
    server.script(FILE, Status(503, retry_after=7), Status(429, retry_date_in_s=90), Status(503))
    assert ask(server).headers["Retry-After"] == "7"
    said = parsedate_to_datetime(ask(server).headers["Retry-After"])
    assert 60 < (said - datetime.now(UTC)).total_seconds() <= 90
    assert ask(server).headers["Retry-After"] is None


def test_a_replaced_file_stays_replaced(server: DumpServerHandle) -> None:
    before = ask(server)
    server.script(FILE, Replaced(b"new"))
    after = [ask(server), ask(server)]
    assert [answer.body for answer in after] == [b"new", b"new"]
    assert before.headers["ETag"] != after[0].headers["ETag"] == after[1].headers["ETag"]


def test_closing_waits_for_no_stalled_idle_or_slow_client() -> None:
    threads = threading.active_count()
    connections = []
    with dump_server(bytes_per_second=1000) as server:
        server.put({FILE: DATA, "/idle": b"", "/slow": DATA})
        server.script(FILE, StallAfter(0))
        for path in (FILE, "/idle", "/slow"):
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
            connection.request("GET", path, headers=AGENT)
            connections.append((connection, connection.getresponse()))
        server.wait_until(lambda: 0 < server.requests_for("/slow")[0].bytes_sent < 500)
    assert threading.active_count() == threads
    for connection, response in connections:
        if response.length:
            with pytest.raises(http.client.IncompleteRead):
                response.read()
        response.close()
        connection.close()


def test_a_client_that_leaves_a_stalled_reply_is_no_longer_counted(server: DumpServerHandle) -> None:
    server.script(FILE, *[StallAfter(0)] * 3)
    for _ in range(3):
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
        connection.request("GET", FILE, headers=AGENT)
        connection.getresponse().close()
        connection.close()
        server.wait_until(lambda: not server.under_way)
    assert ask(server).body == DATA
    assert server.most_connections == 1


def test_a_folder_is_served_by_a_process_as_it_is_at_each_request(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    parts = content.exports_snapshot("simplewiki", OCTOBER, written_pages(2))
    files = exports("simplewiki", OCTOBER, parts)
    (tmp_path / "secret").write_bytes(b"x")
    with served_folder(tree, tmp_path / "cwd", "dumps", "--bytes-per-second", "1000000") as (url, child):
        first = next(iter(files))
        assert Answer(url, first, "GET", AGENT).status == 404
        write_tree(tree, files)
        for path, data in files.items():
            answer = Answer(url, path, "GET", {**AGENT, "Range": "bytes=1-"})
            assert (answer.status, answer.body) == (206, data[1:])
        assert first.rpartition("/")[2] in Answer(url, first.rpartition("/")[0] + "/", "GET", AGENT).body.decode()
        assert Answer(url, "/../secret", "GET", AGENT).status == 404
        assert Answer(url, first, "GET", {}).status == 403
        told = [json.loads(line) for line in child.printed().splitlines()[1:]]
        assert [request["status"] for request in told] == [404, *[206] * len(files), 200, 404, 403]
