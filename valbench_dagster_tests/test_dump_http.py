"""The client of a dump server: who asks, what is refused before a socket is opened, documents and redirects."""

from random import Random

import pytest

from valbench_dagster.dumps.catalogue import Documents, NotThereError
from valbench_dagster.dumps.http import (
    MOST_TEXT_BYTES,
    ContactMissingError,
    DumpServer,
    ServerSettings,
    ServerSettingsError,
)
from valbench_dagster.dumps.sources import ForbiddenError, GaveUpError, TransferError
from valbench_dagster_tests.dump_server import CutAfter, DumpServerHandle, Status, dump_server

CONTACT = "https://example.org/about-us"


def client(server: DumpServerHandle, waits: list[float] | None = None, mirror: str | None = None) -> DumpServer:
    """A client whose waits are entered into a list instead."""
    settings = ServerSettings(server=server.url, mirror=mirror, contact=CONTACT, connections=1)
    return DumpServer(settings, wait=(waits if waits is not None else []).append, rng=Random(0))


@pytest.mark.parametrize(
    "contact", [None, "", "me", "@", "a b@c", "a@b\r\nX-Other: 1", "ä@example.org", "https://", "a@(b)"]
)
def test_without_a_contact_there_is_no_client_and_no_request(contact: str | None) -> None:
    with dump_server() as server:
        with pytest.raises(ContactMissingError, match=r"set VALBENCH_CONTACT .* No request was made\."):
            DumpServer(ServerSettings(server=server.url, contact=contact))
        assert server.requests == []


@pytest.mark.parametrize("contact", ["me@example.org", "https://example.org/~me", "mailto:me@example.org"])
def test_a_contact_is_an_address_of_mail_or_a_page(contact: str) -> None:
    with dump_server() as server:
        server.put({"/x.txt": b"text"})
        asking = DumpServer(ServerSettings(server=server.url, contact=contact))
        assert asking.text("/x.txt") == "text"
        asking.close()
        assert server.requests[0].headers["user-agent"].endswith(f"(VAL-Bench, arXiv 2510.05465; {contact})")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://dumps.wikimedia.org",
            "http://127.0.0.1.example.org",
            "ftp://x",
            "dumps.wikimedia.org",
            "",
            "https://",
        ),
        *("https://me:pw@x", "https://x?a=1", "https://[x"),
    ],
)
def test_an_address_that_is_not_https_is_refused_but_on_this_machine(url: str) -> None:
    with pytest.raises(ServerSettingsError, match="expected https://HOST"):
        ServerSettings(server=url)
    with pytest.raises(ServerSettingsError, match="The mirror"):
        ServerSettings(mirror=url)


def test_https_and_loopback_are_taken() -> None:
    ServerSettings()
    ServerSettings(mirror="https://mirror.example.org/mirror/dumps/")
    ServerSettings(server="http://localhost:8000", mirror="http://127.0.0.1:1")


@pytest.mark.parametrize("connections", [0, 4, 100])
def test_more_connections_than_the_server_allows_are_refused(connections: int) -> None:
    with pytest.raises(ServerSettingsError, match=r"expected 1 to 3\. The dump server allows"):
        ServerSettings(connections=connections)


def test_documents_and_sizes_are_read() -> None:
    with dump_server() as server:
        server.put({"/enwiki/x.txt": "Übersicht\n".encode(), "/enwiki/y.bz2": b"x" * 12_345})
        asking: Documents = client(server)
        assert asking.text("/enwiki/x.txt") == "Übersicht\n"
        assert "x.txt" in asking.text("/enwiki/")
        assert asking.size("/enwiki/y.bz2") == 12_345
        for ask in (asking.text, asking.size):
            with pytest.raises(NotThereError, match=r"/dewiki/: .* 404"):
                ask("/dewiki/")
        assert [request.method for request in server.requests] == ["GET", "GET", "HEAD", "GET", "HEAD"]


def test_documents_are_asked_for_with_patience() -> None:
    waits: list[float] = []
    with dump_server() as server:
        server.put({"/x.txt": b"text"})
        server.script("/x.txt", Status(503, retry_after=9), CutAfter(2), Status(500), CutAfter(0, wordless=True))
        assert client(server, waits).text("/x.txt") == "text"
        assert waits[0] == 9.0
        assert len(waits) == 4
        server.script("/x.txt", *[Status(500)] * 8)
        with pytest.raises(GaveUpError, match=r"500 .*gave up after 8 failed tries"):
            client(server).text("/x.txt")
        server.script("/x.txt", Status(403))
        with pytest.raises(ForbiddenError, match="VALBENCH_CONTACT"):
            client(server).text("/x.txt")


def test_a_server_that_is_not_there_is_given_up() -> None:
    waits: list[float] = []
    with dump_server() as server:
        asking = client(server, waits)
    with pytest.raises(GaveUpError, match=r"127\.0\.0\.1"):
        asking.text("/x.txt")
    assert len(waits) == 7


@pytest.mark.parametrize(
    "path", ["x", "//example.org/x", "/a?b", "/a b", "/a/../b", "/a#b", "https://example.org/", "/a\n"]
)
def test_a_path_that_could_lead_elsewhere_is_not_asked_for(path: str) -> None:
    with dump_server() as server:
        with pytest.raises(TransferError, match="is no path of a dump server"):
            client(server).text(path)
        assert server.requests == []


def test_a_document_that_is_no_text_or_too_long_is_an_error() -> None:
    with dump_server() as server:
        server.put({"/x": b"ab\xff", "/y": b"x" * (MOST_TEXT_BYTES + 1)})
        with pytest.raises(TransferError, match="expected UTF-8, found 0xff at byte 2"):
            client(server).text("/x")
        with pytest.raises(TransferError, match="at most 67108864 bytes of text"):
            client(server).text("/y")


def test_an_answer_in_another_encoding_than_asked_is_an_error() -> None:
    with dump_server() as server:
        server.script("/x", Status(200, headers=(("Content-Encoding", "gzip"),)))
        with pytest.raises(TransferError, match="found them encoded as 'gzip'"):
            client(server).text("/x")


def redirect(to: str) -> Status:
    """A redirect to that place."""
    return Status(302, headers=(("Location", to),))


def test_redirects_are_followed_on_the_server_and_to_the_mirror_only() -> None:
    with dump_server() as server, dump_server() as mirror, dump_server() as other:
        server.put({"/x": b"here"})
        mirror.put({"/x": b"there"})
        other.put({"/x": b"nowhere"})
        server.script("/a", redirect("/b"))
        server.script("/b", redirect(f"{server.url}/x"))
        server.script("/c", redirect(f"{mirror.url}/x"))
        server.script("/d", redirect(f"{other.url}/x"), redirect("http://dumps.wikimedia.org/x"), redirect("file:///x"))
        server.script("/e", redirect("https://["))
        asking = client(server, mirror=mirror.url)
        assert asking.text("/a") == "here"
        assert asking.text("/c") == "there"
        for _ in range(3):
            with pytest.raises(TransferError, match=r"redirected to .*, which was not followed"):
                asking.text("/d")
        with pytest.raises(TransferError, match="redirected to 'https://\\[', which was not followed"):
            asking.text("/e")
        assert other.requests == []


def test_redirects_in_a_circle_end() -> None:
    with dump_server() as server:
        server.script("/a", *[redirect("/a")] * 10)
        with pytest.raises(TransferError, match="more than 5 redirects"):
            client(server).text("/a")
        assert len(server.requests) == 6
