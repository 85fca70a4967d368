"""Damaged dumps: by default nothing is given out as whole that is not; if damage is kept, all that is sound is mined,
and what is lost is told: its kind, the pages around it, and by the index which pages.
"""

import bz2
import gzip
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valbench_dagster.records import DumpDamage
from valbench_dagster_tests.dump_content import (
    CLOSING_XML,
    WrittenPage,
    corrupted,
    export_xml,
    multistream,
    opening_xml,
    page_xml,
    stream_spans,
    truncated,
    with_garbage,
    with_stream_corrupted,
    with_stream_doubled,
    without_stream,
)
from valbench_dagster_tests.mining_runs import WHOLE, Outcome, mine

MULTISTREAM = "enwiki-20261001-pages-articles-multistream.xml.bz2"
INDEX = "enwiki-20261001-pages-articles-multistream-index.txt.bz2"
HTML = b"<!DOCTYPE html>\n<html><body>Service unavailable</body></html>\n"
IDS = list(range(10, 310, 10))

spans_of_both_sizes = pytest.mark.parametrize("span_bytes", [900, WHOLE])


def pages_of(ids: Sequence[int], words: int) -> list[WrittenPage]:
    """Pages with a section each; words hardly repeat, and no byte stands four times in a row but for indentation."""
    rng = random.Random(7)
    text = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(words * len(ids))]
    return [
        WrittenPage(n, f"T{n}", f"== Criticism ==\n{' '.join(text[at * words : (at + 1) * words])}", n)
        for at, n in enumerate(ids)
    ]


PAGES = pages_of(IDS, 30)
DATA, LINES = multistream(PAGES, 3)  # stream 0 is the header, 1 holds 10, 20 and 30, 10 ends with 300, 11 is the end
XML = export_xml(PAGES)
LARGE_PAGES = pages_of(range(10, 710, 10), 1000)
ONE_STREAM = bz2.compress(export_xml(LARGE_PAGES), 1)  # six blocks
A_BLOCK = 100_000 / len(page_xml(LARGE_PAGES[0]))
"""Pages that a block of 100 kB holds: about 13, of 7.6 kB each."""


def put(folder: Path, data: bytes, *, name: str = MULTISTREAM, index: str | bytes | None = LINES) -> Path:
    """Write a file, and beside it an index: its lines, or its bytes as they lie."""
    (folder / name).write_bytes(data)
    if index is not None:
        (folder / INDEX).write_bytes(index if isinstance(index, bytes) else bz2.compress(index.encode()))
    return folder / name


def brief(damages: Sequence[DumpDamage]) -> list[tuple[str, int | None, int | None, int | None]]:
    """Kind, the page before, the page after, and how many the index misses there."""
    return [(each.kind, each.after_page_id, each.before_page_id, each.missing_pages) for each in damages]


@cache
def sound(path: Path) -> Outcome:
    return mine(path)


def assert_fails(path: Path, *words: str, **options: Any) -> None:
    """By default mining ends with one sentence that names the file and a place in it, and gives no counts."""
    found = mine(path, **options)
    assert found.error is not None
    for word in (path.name, "byte ", "--damaged keep", *words):
        assert word in found.error
    assert found.drops == ()


def kept(path: Path, lost: Sequence[int] = (), *, ids: Sequence[int] = IDS, closed: bool, **options: Any) -> Outcome:
    """Mine what is sound: every page but those that are lost."""
    found = mine(path, on_damage="keep", **options)
    left = [page_id for page_id in ids if page_id not in lost]
    assert (found.error, found.places) == (None, [(page_id, 1) for page_id in left])
    assert found.reasons == {"kept": len(left)}
    [file] = found.files
    assert (file.pages, file.closed, file.damages) == (len(left), closed, len(found.damages))
    assert (file.first_page_id, file.last_page_id) == (left[0], left[-1])
    assert [damage.number for damage in found.damages] == list(range(len(found.damages)))
    size = path.stat().st_size
    assert all(0 <= damage.byte_offset <= size for damage in found.damages)
    return found


def test_the_sound_files_are_sound(tmp_path: Path) -> None:
    found = kept(put(tmp_path, DATA), closed=True)
    assert found.damages == ()
    [file] = found.files
    assert (file.indexed_pages, file.missing_pages, file.unlisted_pages) == (30, 0, 0)
    assert sound(put(tmp_path, DATA)).sections == found.sections
    assert kept(put(tmp_path, XML, name="x.xml"), closed=True).files[0].indexed_pages is None


# Compressed data that disagrees with itself.


@spans_of_both_sizes
@pytest.mark.parametrize("decoder", ["rapidgzip", "bz2", *(["lbzip2"] if shutil.which("lbzip2") else [])])
def test_a_corrupt_stream_costs_its_pages_which_the_index_names(tmp_path: Path, span_bytes: int, decoder: str) -> None:
    data = with_stream_corrupted(DATA, 5)
    start, stop = stream_spans(DATA)[5]
    path = put(tmp_path, data)
    options: dict[str, Any] = {"span_bytes": span_bytes, "decoder": decoder, "processes": 2}
    assert_fails(path, "corrupt at or after", "page 120", **options)
    found = kept(path, [130, 140, 150], closed=True, **options)
    assert brief(found.damages) == [("corrupt", 120, 160, 3)]
    assert start <= found.damages[0].byte_offset < stop
    assert found.damages[0].detail.endswith("lost by the index: page 130, 140, 150")
    assert (found.files[0].indexed_pages, found.files[0].missing_pages, found.files[0].unlisted_pages) == (30, 3, 0)


@spans_of_both_sizes
def test_without_an_index_a_corrupt_stream_costs_pages_that_nobody_can_name(tmp_path: Path, span_bytes: int) -> None:
    path = put(tmp_path, with_stream_corrupted(DATA, 5), index=None)
    found = kept(path, [130, 140, 150], closed=True, span_bytes=span_bytes)
    assert brief(found.damages) == [("corrupt", 120, 160, None)]


@spans_of_both_sizes
def test_two_places_are_two_damages_and_the_first_and_last_pages_may_be_lost(tmp_path: Path, span_bytes: int) -> None:
    data = corrupted(with_stream_corrupted(DATA, 10), stream_spans(DATA)[1][0] + 10)
    assert_fails(put(tmp_path, data), "no page is whole", span_bytes=span_bytes)
    found = kept(put(tmp_path, data), [10, 20, 30, 280, 290, 300], closed=True, span_bytes=span_bytes)
    assert brief(found.damages) == [("corrupt", None, 40, 3), ("corrupt", 270, None, 3)]


@pytest.mark.parametrize("span_bytes", [20_000, 60_000, WHOLE])
@pytest.mark.parametrize("place", [0.4, 0.7])
def test_a_corrupt_block_of_a_single_stream_costs_the_pages_that_lie_in_it(
    tmp_path: Path, span_bytes: int, place: float
) -> None:
    ids = [page.page_id for page in LARGE_PAGES]
    path = put(tmp_path, corrupted(ONE_STREAM, int(len(ONE_STREAM) * place)), name="x.xml.bz2", index=None)
    assert_fails(path, "corrupt", span_bytes=span_bytes, processes=2)
    found = mine(path, span_bytes=span_bytes, on_damage="keep")
    left = [page_id for page_id, _ in found.places]
    lost = [page_id for page_id in ids if page_id not in left]
    assert A_BLOCK - 1 <= len(lost) <= A_BLOCK + 2  # one may begin and one may end in it
    found = kept(path, lost, ids=ids, closed=True, span_bytes=span_bytes)
    assert brief(found.damages) == [("corrupt", lost[0] - 10, lost[-1] + 10, None)]
    assert lost == list(range(lost[0], lost[-1] + 10, 10))
    assert ids[0] < lost[0] < lost[-1] < ids[-1]


def test_the_same_is_lost_of_a_single_stream_whatever_the_cut(tmp_path: Path) -> None:
    path = put(tmp_path, corrupted(ONE_STREAM, len(ONE_STREAM) // 2), name="x.xml.bz2", index=None)
    found = [mine(path, span_bytes=size, on_damage="keep", processes=2) for size in (5000, 17_000, 90_000, WHOLE)]
    assert len({each.sections for each in found}) == 1
    assert len({tuple(brief(each.damages)) for each in found}) == 1


@spans_of_both_sizes
def test_a_corrupt_end_of_the_document_is_told_though_no_page_is_lost(tmp_path: Path, span_bytes: int) -> None:
    path = put(tmp_path, with_stream_corrupted(DATA, 11))
    assert_fails(path, "page 300", span_bytes=span_bytes)
    found = kept(path, closed=False, span_bytes=span_bytes)
    assert brief(found.damages) == [("corrupt", 300, None, 0)]


def test_damaged_gzip_gives_what_comes_before_the_damage(tmp_path: Path) -> None:
    packed = gzip.compress(XML)
    path = put(tmp_path, truncated(packed, len(packed) // 2), name="x.xml.gz", index=None)
    assert_fails(path, "cut short at or after")
    found = mine(path, on_damage="keep")
    assert found.error is None
    assert 0 < len(found.sections) < 30
    assert found.sections == sound(put(tmp_path, XML, name="x.xml", index=None)).sections[: len(found.sections)]
    assert brief(found.damages) == [("cut_short", found.places[-1][0], None, None)]
    assert not found.files[0].closed


# Cut short.


def places_to_cut() -> Iterator[tuple[str, int, int]]:
    """Where a multistream file is cut, and the last page before that."""
    streams = stream_spans(DATA)
    yield "inside a stream", sum(streams[7]) // 2, 180
    yield "inside a stream's header", streams[7][0] + 2, 180
    yield "behind a stream's header", streams[7][0] + 4, 180
    yield "in the checksum of a stream whose blocks are whole", streams[7][1] - 1, 210
    yield "between two streams", streams[7][1], 210
    yield "between the last stream and the end", streams[10][1], 300
    yield "inside the end", streams[11][1] - 5, 300


@spans_of_both_sizes
@pytest.mark.parametrize(("where", "at", "last"), list(places_to_cut()), ids=str)
@pytest.mark.parametrize("with_index", [True, False])
def test_a_file_that_is_cut_short_gives_the_pages_before(
    tmp_path: Path, where: str, at: int, last: int, span_bytes: int, with_index: bool
) -> None:
    path = put(tmp_path, truncated(DATA, at), index=LINES if with_index else None)
    assert_fails(path, "cut short at or after", f"page {last}", span_bytes=span_bytes)
    lost = [page_id for page_id in IDS if page_id > last]
    found = kept(path, lost, closed=False, span_bytes=span_bytes)
    assert brief(found.damages) == [("cut_short", last, None, len(lost) if with_index else None)]
    if with_index and lost:
        assert f"page {', '.join(map(str, lost))}" in found.damages[0].detail


@pytest.mark.parametrize("span_bytes", [20_000, WHOLE])
def test_a_single_stream_that_is_cut_short_gives_the_blocks_before(tmp_path: Path, span_bytes: int) -> None:
    path = put(tmp_path, truncated(ONE_STREAM, len(ONE_STREAM) // 2), name="x.xml.bz2", index=None)
    assert_fails(path, "cut short at or after", span_bytes=span_bytes)
    found = mine(path, on_damage="keep", span_bytes=span_bytes)
    assert int(2 * A_BLOCK) - 1 <= len(found.sections) <= 2 * A_BLOCK  # the cut is in the third block
    last = found.places[-1][0]
    assert brief(found.damages) == [("cut_short", last, None, None)]
    kept(path, range(last + 10, 710, 10), ids=range(10, 710, 10), closed=False, span_bytes=span_bytes)


@pytest.mark.parametrize("on_damage", ["fail", "keep"])
@pytest.mark.parametrize("length", [0, 2, 4, 60, stream_spans(DATA)[0][1] - 20])
def test_a_file_that_is_cut_before_its_first_page_is_refused(tmp_path: Path, length: int, on_damage: str) -> None:
    found = mine(put(tmp_path, truncated(DATA, length)), on_damage=on_damage)  # type: ignore[arg-type]  # one of two
    assert MULTISTREAM in str(found.error)


def test_a_file_of_nothing_but_its_header_is_cut_short(tmp_path: Path) -> None:
    path = put(tmp_path, truncated(DATA, stream_spans(DATA)[0][1]), index=None)
    assert_fails(path, "cut short at or after", "no page is whole")
    found = mine(path, on_damage="keep")
    assert (found.sections, brief(found.damages)) == ((), [("cut_short", None, None, None)])
    assert (found.files[0].closed, found.files[0].first_page_id) == (False, None)


# Too little and too much, in whole streams.


@spans_of_both_sizes
def test_a_missing_stream_is_told_by_the_index(tmp_path: Path, span_bytes: int) -> None:
    path = put(tmp_path, without_stream(DATA, 5))
    assert_fails(path, "missing", "130, 140, 150", span_bytes=span_bytes)
    found = kept(path, [130, 140, 150], closed=True, span_bytes=span_bytes)
    assert brief(found.damages) == [("missing", 120, 160, 3)]
    assert found.damages[0].byte_offset <= stream_spans(DATA)[5][0]
    assert (found.files[0].indexed_pages, found.files[0].missing_pages) == (30, 3)


def test_missing_streams_at_both_ends_and_in_two_places_are_told_one_by_one(tmp_path: Path) -> None:
    data = DATA
    for number in (10, 6, 3, 1):
        data = without_stream(data, number)
    path = put(tmp_path, data)
    lost = [10, 20, 30, 70, 80, 90, 160, 170, 180, 280, 290, 300]
    for span_bytes in (900, WHOLE):
        found = kept(path, lost, closed=True, span_bytes=span_bytes)
        expected = [
            ("missing", None, 40, 3),
            ("missing", 60, 100, 3),
            ("missing", 150, 190, 3),
            ("missing", 270, None, 3),
        ]
        assert brief(found.damages) == expected


def test_without_an_index_a_missing_stream_shows_nowhere_in_the_file(tmp_path: Path) -> None:
    # Streams are whole, ids ascend with gaps as they always do: only the count of the snapshot before can tell, which
    # is the check `mined_files/fewer_pages_than_before`.
    found = kept(put(tmp_path, without_stream(DATA, 5), index=None), [130, 140, 150], closed=True)
    assert (found.damages, found.files[0].missing_pages) == ((), None)


@spans_of_both_sizes
@pytest.mark.parametrize("any_order", [True, False])
def test_a_doubled_stream_is_told_once_and_its_pages_are_taken_once(
    tmp_path: Path, span_bytes: int, any_order: bool
) -> None:
    path = put(tmp_path, with_stream_doubled(DATA, 5))
    options: dict[str, Any] = {"span_bytes": span_bytes, "any_order": any_order}
    assert_fails(path, "out of order", "page 130", **options)
    found = kept(path, closed=True, **options)
    assert brief(found.damages) == [("out_of_order", 150, 160, 0)]
    assert found.files[0].missing_pages == 0


def swapped(data: bytes) -> bytes:
    """Streams 4 and 6 in each other's place."""
    parts = [data[start:stop] for start, stop in stream_spans(data)]
    parts[4], parts[6] = parts[6], parts[4]
    return b"".join(parts)


@spans_of_both_sizes
def test_streams_in_each_others_place_lose_nothing_in_a_small_file(tmp_path: Path, span_bytes: int) -> None:
    found = kept(put(tmp_path, swapped(DATA), index=None), closed=True, span_bytes=span_bytes)
    assert found.damages == ()


@spans_of_both_sizes
def test_streams_in_each_others_place_are_damage_in_a_large_file(tmp_path: Path, span_bytes: int) -> None:
    path = put(tmp_path, swapped(DATA), index=None)
    assert_fails(path, "out of order", span_bytes=span_bytes, any_order=False)
    found = mine(path, span_bytes=span_bytes, any_order=False, on_damage="keep")
    # Pages 160 to 180 stand where 100 to 120 should: 130 to 150 and 100 to 120 come after them.
    assert [page_id for page_id, _ in found.places] == [n for n in IDS if not 100 <= n <= 150]
    assert brief(found.damages) == [("out_of_order", 180, 190, None)]


def test_a_page_that_two_files_hold_is_told(tmp_path: Path) -> None:
    files = [put(tmp_path, export_xml(PAGES[:20]), name="1.xml"), put(tmp_path, export_xml(PAGES[18:]), name="2.xml")]
    for any_order in (True, False):
        assert "2.xml: out of order" in str(mine(*files, any_order=any_order).error)
        found = mine(*files, any_order=any_order, on_damage="keep")
        assert found.places == [(page_id, 1) for page_id in IDS]
        assert [file.pages for file in found.files] == [20, 10]


def garbled(pack: Callable[[bytes], bytes]) -> bytes:
    return with_garbage(pack(XML), HTML)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (MULTISTREAM, with_garbage(DATA, HTML)),
        ("one.xml.bz2", garbled(bz2.compress)),
        ("x.xml.gz", garbled(gzip.compress)),
        ("x.xml", garbled(bytes)),
    ],
)
def test_anything_after_the_end_is_told_and_costs_no_page(tmp_path: Path, name: str, data: bytes) -> None:
    path = put(tmp_path, data, name=name)
    for span_bytes in (900, WHOLE):
        assert_fails(
            path,
            "garbage at or after",
            "Service unavailable" if name == "x.xml" else "<!DOCTYPE",
            span_bytes=span_bytes,
        )
        found = kept(path, closed=True, span_bytes=span_bytes)
        assert [each[:3] for each in brief(found.damages)] == [("garbage", 300, None)]
        assert found.damages[0].byte_offset <= len(data) - len(HTML)


def test_garbage_between_streams_costs_no_page(tmp_path: Path) -> None:
    start, _ = stream_spans(DATA)[5]
    path = put(tmp_path, DATA[:start] + HTML + DATA[start:])
    for span_bytes in (900, WHOLE):
        assert_fails(path, "garbage at or after", span_bytes=span_bytes)
        found = kept(path, closed=True, span_bytes=span_bytes)
        assert brief(found.damages) == [("garbage", 120, 130, 0)]


@pytest.mark.parametrize("on_damage", ["fail", "keep"])
@pytest.mark.parametrize("data", [HTML, b"", b"Service unavailable", b"\0" * 5000, b"PK\x03\x04" + b"x" * 100])
def test_what_is_no_export_is_refused(tmp_path: Path, data: bytes, on_damage: str) -> None:
    found = mine(put(tmp_path, data), on_damage=on_damage)  # type: ignore[arg-type]  # one of two
    assert MULTISTREAM in str(found.error)
    assert found.sections == ()


# The index.


@pytest.mark.parametrize(
    "index", [bz2.compress(LINES.encode())[:-30], LINES.encode(), HTML], ids=["cut short", "not packed", "a web page"]
)
def test_a_damaged_index_is_told_and_costs_no_page(tmp_path: Path, index: bytes) -> None:
    path = put(tmp_path, DATA, index=index)
    error = str(mine(path).error)
    assert error.startswith(f"{INDEX}: corrupt at or after byte 0: the index is damaged")
    found = kept(path, closed=True)
    assert [(damage.name, damage.kind, damage.missing_pages) for damage in found.damages] == [(INDEX, "corrupt", None)]
    assert (found.files[0].indexed_pages, found.files[0].missing_pages, found.files[0].unlisted_pages) == (None,) * 3


def test_the_index_of_another_file_misses_all_its_pages(tmp_path: Path) -> None:
    path = put(tmp_path, DATA, index=multistream(pages_of(range(1005, 1305, 10), 5), 3)[1])
    assert_fails(path, "missing", "1005, 1015")
    found = kept(path, closed=True)
    assert brief(found.damages) == [("missing", 300, None, 30)]
    assert (found.files[0].indexed_pages, found.files[0].missing_pages, found.files[0].unlisted_pages) == (30, 30, 30)


def test_pages_that_an_index_does_not_list_are_counted(tmp_path: Path) -> None:
    # An index cut between two lines is an index; that it lists too few is a check of the warehouse, and a line of the
    # summary.
    found = kept(put(tmp_path, DATA, index="".join(LINES.splitlines(keepends=True)[:20])), closed=True)
    assert (found.damages, found.files[0].unlisted_pages, found.files[0].indexed_pages) == ((), 10, 20)


# XML.


def torn_xml(number: int, length: int) -> bytes:
    """A plain document in which a page, counted from 0, ends after so many bytes and the next one begins."""
    written = [page_xml(page) for page in PAGES]
    written[number] = written[number][:length]
    return "".join([opening_xml("enwiki"), *written, CLOSING_XML]).encode()


@pytest.mark.parametrize("span_bytes", [100, 777, WHOLE])
@pytest.mark.parametrize("length", [9, 100, 700])
def test_a_torn_page_costs_itself(tmp_path: Path, length: int, span_bytes: int) -> None:
    path = put(tmp_path, torn_xml(12, length), name="x.xml", index=None)
    assert_fails(path, "malformed at or after", "page 120", span_bytes=span_bytes)
    found = kept(path, [130], closed=True, span_bytes=span_bytes)
    assert brief(found.damages) == [("malformed", 120, 140, None)]


@pytest.mark.parametrize("span_bytes", [100, 777, WHOLE])
def test_a_torn_last_page_is_malformed_if_the_document_ends_and_cut_short_if_it_does_not(
    tmp_path: Path, span_bytes: int
) -> None:
    xml = torn_xml(29, 500)
    found = kept(put(tmp_path, xml, name="x.xml", index=None), [300], closed=False, span_bytes=span_bytes)
    assert brief(found.damages) == [("malformed", 290, None, None)]
    xml = xml.removesuffix(CLOSING_XML.encode())
    found = kept(put(tmp_path, xml, name="x.xml", index=None), [300], closed=False, span_bytes=span_bytes)
    assert brief(found.damages) == [("cut_short", 290, None, None)]
    assert found.damages[0].byte_offset == len(xml)


MALFORMED = {
    "an element that is not closed": ("<model>", "<x><model>"),
    "an entity that nobody knows, beside a heading": ("== Criticism ==", "== Criticism == &unknown;"),
    "a character that is none, beside a heading": ("== Criticism ==", "== Criticism == \x01"),
    "a hole": ("== Criticism ==", "\0\0\0\0"),
    "no title": ("<title>T130</title>", ""),
    "an id that is no number": ("<id>130</id>\n    <revision>", "<id>x</id>\n    <revision>"),
    "an end tag too many": ("<ns>", "</ns><ns>"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_page_costs_itself(tmp_path: Path, what: str) -> None:
    old, new = MALFORMED[what]
    page = page_xml(PAGES[12])
    assert old in page
    xml = XML.replace(page.encode(), page.replace(old, new, 1).encode())
    files = [
        put(tmp_path, xml, name="x.xml", index=None),
        put(tmp_path, bz2.compress(xml), name="x.xml.bz2", index=None),
    ]
    for path in files:
        for span_bytes in (200, WHOLE):
            assert_fails(path, "malformed at or after", "page 120", span_bytes=span_bytes)
            found = kept(path, [130], closed=True, span_bytes=span_bytes)
            assert brief(found.damages) == [("malformed", 120, 140, None)]
            assert "well-formed" in found.damages[0].detail


def test_a_malformed_page_is_lost_by_the_index_too(tmp_path: Path) -> None:
    pages = [page_xml(page).replace("<title>T130</title>", "") for page in PAGES]
    groups = ["".join(pages[at : at + 3]) for at in range(0, 30, 3)]
    data = b"".join(bz2.compress(part.encode()) for part in (opening_xml("enwiki"), *groups, CLOSING_XML))
    found = kept(put(tmp_path, data), [130], closed=True)
    assert brief(found.damages) == [("malformed", 120, 140, 1)]


@pytest.mark.parametrize("span_bytes", [100, 777, WHOLE])
def test_what_stands_between_pages_is_told_and_costs_none(tmp_path: Path, span_bytes: int) -> None:
    page = page_xml(PAGES[12]).encode()
    for stray in (b"stray words\n", b"</mediawiki>\n<mediawiki>\n"):
        path = put(tmp_path, XML.replace(page, page + stray), name="x.xml", index=None)
        assert_fails(path, "malformed at or after", span_bytes=span_bytes)
        found = kept(path, closed=True, span_bytes=span_bytes)
        assert brief(found.damages) == [("malformed", 130, 140, None)]


def test_several_files_are_kept_each_for_itself(tmp_path: Path) -> None:
    parts = [export_xml(PAGES[:10]), export_xml(PAGES[10:20]), export_xml(PAGES[20:])]
    files = [
        put(tmp_path, bz2.compress(parts[0]), name="1.xml.bz2", index=None),
        put(tmp_path, parts[1][: len(parts[1]) // 2], name="2.xml", index=None),
        put(tmp_path, parts[2], name="3.xml", index=None),
    ]
    assert str(mine(*files).error).startswith("2.xml: cut short at or after byte ")
    found = mine(*files, on_damage="keep")
    left = [page_id for page_id, _ in found.places]
    assert left == [n for n in IDS if n <= left[left.index(210) - 1] or n > 200]
    assert brief(found.damages) == [("cut_short", left[left.index(210) - 1], None, None)]
    assert [(damage.part, damage.number, damage.name) for damage in found.damages] == [(1, 0, "2.xml")]
    assert [file.closed for file in found.files] == [True, False, True]


# Any damage.


def damaged(data: bytes, kind: str, at: int, length: int) -> bytes:
    noise = random.Random(at).randbytes(length)
    if kind == "flip":
        return corrupted(data, at)
    if kind == "cut":
        return data[:at] + data[at + length :]
    if kind == "insert":
        return data[:at] + noise + data[at:]
    return truncated(data, at)


def assert_never_silently_short(folder: Path, data: bytes, whole: Outcome, **options: Any) -> None:
    path = put(folder, data)
    strict = mine(path, **options)
    if strict.error is None:
        assert (strict.sections, strict.drops) == (whole.sections, whole.drops)
    else:
        assert MULTISTREAM in strict.error
    lenient = mine(path, **options, on_damage="keep")
    if lenient.error is not None:
        assert strict.error is not None
        return
    assert set(lenient.sections) <= set(whole.sections)
    assert len(lenient.sections) == len(set(lenient.sections))
    assert lenient.sections == whole.sections or lenient.damages
    assert bool(lenient.damages) == (strict.error is not None)
    assert sum(file.pages for file in lenient.files) == lenient.pages == len(lenient.sections)


FILES = {"multistream": DATA, "a single stream": bz2.compress(XML, 1), "a stream a page": multistream(PAGES, 1)[0]}
kinds = st.sampled_from(["flip", "cut", "insert", "truncate"])
law = given(
    st.sampled_from(sorted(FILES)),
    kinds,
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 2000),
    st.fixed_dictionaries({"span_bytes": st.sampled_from([700, WHOLE]), "any_order": st.booleans()}),
)
on_disk = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def assert_law(folder: Path, name: str, kind: str, place: float, length: int, options: dict[str, Any]) -> None:
    data = FILES[name]
    whole = sound(put(folder, DATA))
    assert_never_silently_short(folder, damaged(data, kind, int(place * len(data)), length), whole, **options)


@settings(max_examples=12, deadline=None, suppress_health_check=on_disk)
@law
def test_no_damage_is_silent(
    tmp_path: Path, name: str, kind: str, place: float, length: int, options: dict[str, Any]
) -> None:
    assert_law(tmp_path, name, kind, place, length, options)
