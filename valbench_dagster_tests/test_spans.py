"""Spans of a dump file are together the whole of it, whatever the cut; every fault is told, nothing sound is lost."""

import bz2
import gzip
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valbench_dagster.dumps.bzip2_blocks import (
    BLOCK,
    END,
    block_starts,
    combined,
    combined_of,
    end_before,
    last_blocks_end,
    open_bits,
)
from valbench_dagster.dumps.bzip2_decoder import CHUNK_BYTES, LARGEST_DECODED, Decoder, UndecodedError, decode
from valbench_dagster.dumps.bzip2_splice import Splice
from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.dumps.span_reader import Damage, SpanEnd, SpanReader, check_spans
from valbench_dagster.dumps.spans import Span, spans

DECODERS: list[Decoder] = ["rapidgzip", "bz2"]
if find_spec("indexed_bzip2") is not None:  # it has no build for Python 3.14
    DECODERS.append("indexed_bzip2")
if shutil.which("lbzip2") is not None:  # a program of the distribution; CI installs it
    DECODERS.append("lbzip2")
both = pytest.mark.parametrize("decoder", DECODERS)
on_disk = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

PAGES = [
    b"<page><id>%d.%d</id><text>Item %d, not %d</text></page>\n" % (*divmod(n, 97), n * n % 89, n % 83)
    for n in range(8000)
]
XML = b"<mediawiki>" + b"".join(PAGES) + b"</mediawiki>"  # 444 kB; no byte four times in a row
ONE = bz2.compress(XML, 1)  # five blocks of about 5 kB
HALVES = [XML[:180_000], XML[180_000:]]
MANY = b"".join(bz2.compress(part, 1) for part in HALVES)  # two streams, of two blocks and three
FIRST = len(bz2.compress(HALVES[0], 1))


def test_the_samples_have_several_blocks() -> None:
    assert (len(starts(ONE)), len(starts(MANY))) == (5, 5)


def put(folder: Path, data: bytes, name: str = "x.xml.bz2") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def as_bits(data: bytes) -> str:
    return f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"


@cache
def starts(data: bytes) -> list[int]:
    """The bit of every block's marker, looked for in the plainest way."""
    return [found.start() for found in re.finditer(f"{BLOCK:048b}", as_bits(data))]


def cut(path: Path, span_bytes: int, kind: str | None = None) -> list[Span]:
    """The spans of a file; as blocks even where it has many streams, if so told."""
    found = spans(path, span_bytes)
    return [replace(span, kind="blocks") for span in found] if kind == "blocks" else found


def read(all_spans: list[Span], decoder: Decoder = "auto") -> tuple[bytes, list[Damage]]:
    """All that the spans give, in order, and every damage, that of their ends last."""
    pieces: list[bytes] = []
    damages: list[Damage] = []
    ends: list[SpanEnd] = []
    for span in all_spans:
        reader = SpanReader(span, decoder)
        for found in reader:
            if isinstance(found, Damage):
                damages.append(found)
            else:
                assert 0 < len(found) <= CHUNK_BYTES
                pieces.append(found)
        ends.append(reader.end)
    whole = [end for end in ends if end.begin < end.end]
    if not damages:
        assert all(before.end == after.begin for before, after in pairwise(whole))
    return b"".join(pieces), damages + check_spans(all_spans[0].path, ends)


# Sound files

texts = st.sampled_from([b"", b"a", b"<x/>\n" * 30, XML[:90_000], XML[:210_000], b"a" * 300_000, bytes(range(256)) * 9])


@on_disk
@given(
    st.lists(st.tuples(texts, st.sampled_from([1, 9])), min_size=1, max_size=4),
    st.one_of(st.integers(20, 60_000), st.just(1 << 21)),
    st.sampled_from([None, "blocks"]),
    st.sampled_from(DECODERS),
)
def test_the_spans_together_are_the_file(
    tmp_path: Path, streams: list[tuple[bytes, int]], span_bytes: int, kind: str | None, decoder: Decoder
) -> None:
    data = b"".join(bz2.compress(text, level) for text, level in streams)
    span_bytes = max(span_bytes, len(data) // 40)
    assert read(cut(put(tmp_path, data), span_bytes, kind), decoder) == (bz2.decompress(data), [])


@both
@pytest.mark.parametrize("span_bytes", [1000, 4096, 7777, 20_000, 1 << 30])
@pytest.mark.parametrize(("data", "kind"), [(ONE, "blocks"), (MANY, "streams"), (MANY, "blocks")])
def test_every_cut_of_the_samples(tmp_path: Path, decoder: Decoder, span_bytes: int, data: bytes, kind: str) -> None:
    found = cut(put(tmp_path, data), span_bytes, kind)
    assert {span.kind for span in found} == {kind}
    assert read(found, decoder) == (XML, [])


@both
def test_streams_of_one_byte_and_of_none(tmp_path: Path, decoder: Decoder) -> None:
    data = b"".join(bz2.compress(XML[n : n + n % 3 // 2]) for n in range(90))
    for span_bytes in (10, 500, 1 << 20):
        assert read(spans(put(tmp_path, data), span_bytes), decoder) == (bz2.decompress(data), [])


@both
def test_empty_streams_before_between_and_after_blocks(tmp_path: Path, decoder: Decoder) -> None:
    empty = bz2.compress(b"")
    data = empty * 2 + ONE + empty * 3 + ONE + empty
    for span_bytes in (3000, 9000):
        assert read(cut(put(tmp_path, data), span_bytes, "blocks"), decoder) == (XML + XML, [])


@both
@pytest.mark.parametrize(
    "text",
    [
        *(b"x" + b"a" * n + b"y" for n in (3, 4, 5, 254, 255, 256, 259, 260, 510)),
        *(b"a" * n for n in (899_980, 899_981, 900_000, 10_000_000)),
        b"".join(b"%c" % (n % 7 + 65) * (n % 520) for n in range(3000)),
    ],
    ids=len,
)
def test_long_runs_of_one_byte(tmp_path: Path, decoder: Decoder, text: bytes) -> None:
    for level in (1, 9):
        path = put(tmp_path, bz2.compress(text, level))
        for share in (1, 3):
            given, damages = read(spans(path, path.stat().st_size // share), decoder)
            assert damages == []
            assert given == text


def test_the_last_spans_of_a_file_are_cut_finer(tmp_path: Path) -> None:
    # 444 kB in 12 spans of 37 kB; the last four, 148 kB, in spans of 10 kB at most: 15 of them.
    path = put(tmp_path, XML, "x.xml")
    found = spans(path, 10_000, 2500)
    sizes = [span.stop - span.start for span in found]
    assert (len(found), found[-1].last, sum(span.last for span in found)) == (23, True, 1)
    assert (min(sizes[:8]) > 30_000, max(sizes[8:]) <= 10_000) == (True, True)
    assert read(found) == (XML, [])
    assert spans(path, 10_000, 10_000) == spans(path, 10_000)  # no finer than the others
    assert len(spans(path, 1 << 20, 2500)) == 45  # a file of fewer spans: all of it
    (whole,) = spans(put(tmp_path, gzip.compress(XML), "x.xml.gz"), 100, 10)
    assert whole.last


@pytest.mark.parametrize("span_bytes", [1, 10_000, 1 << 20])
def test_plain_xml_is_cut_at_any_byte(tmp_path: Path, span_bytes: int) -> None:
    text = XML[:200] if span_bytes == 1 else XML
    found = spans(put(tmp_path, text, "x.xml"), span_bytes)
    assert len(found) == -(-len(text) // (4 * span_bytes))
    assert read(found) == (text, [])


def test_gzip_is_one_span(tmp_path: Path) -> None:
    (span,) = spans(put(tmp_path, gzip.compress(XML), "x.xml.gz"), 100)
    assert span.kind == "whole"
    assert read([span]) == (XML, [])


def test_spans_are_even_and_without_gaps(tmp_path: Path) -> None:
    found = spans(put(tmp_path, MANY), 1000)
    assert [found[0].start, found[-1].stop] == [0, len(MANY)]
    assert all(before.stop == after.start for before, after in pairwise(found))
    assert max(s.stop - s.start for s in found) - min(s.stop - s.start for s in found) <= 1
    assert [span.last for span in found] == [False] * (len(found) - 1) + [True]
    assert len(spans(put(tmp_path, MANY), 1 << 20)) == 1


@pytest.mark.parametrize("data", [b"", b"no xml", b"\xfd7zXZ\x00....", b"BZh9", b"0" * 40 + ONE])
def test_what_is_no_dump_is_refused_in_the_words_of_the_reference_reader(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DumpError, match=r"^x\.xml\.bz2: "):
        spans(put(tmp_path, data))


def test_a_span_of_no_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="span_bytes: expected 1 or more, found 0"):
        spans(put(tmp_path, ONE), 0)


def test_the_end_of_a_span_is_not_known_before(tmp_path: Path) -> None:
    reader = SpanReader(spans(put(tmp_path, ONE))[0])
    with pytest.raises(RuntimeError, match="read it to its end first"):
        _ = reader.end


@both
def test_a_bomb_is_decoded_a_piece_at_a_time(tmp_path: Path, decoder: Decoder) -> None:
    # 100 MB are three blocks of 46 MB at most, in 113 bytes: chunks stay small.
    path = put(tmp_path, bz2.compress(b"<" * 100_000_000))
    chunks = iter(SpanReader(spans(path)[0], decoder))
    assert all(isinstance(chunk, bytes) and len(chunk) <= CHUNK_BYTES for chunk in (next(chunks) for _ in range(20)))


# Faults


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 128 >> bit % 8]) + data[bit // 8 + 1 :]


def all_of(stream: bytes) -> bytes:
    """What the whole blocks of a stream that may be cut short decode to."""
    decoder = bz2.BZ2Decompressor()
    given = decoder.decompress(stream)
    while not decoder.eof and (more := decoder.decompress(b"")):  # what fits no buffer comes later
        given += more
    return given


@cache
def blocks_of(data: bytes) -> list[tuple[int, bytes]]:
    """The start of every block and what it decodes to: a block comes out once all its bits are in."""
    blocks, at = [], 0
    while at < len(data):
        stream = bz2.BZ2Decompressor()
        stream.decompress(data[at:])
        size = len(data) - at - len(stream.unused_data)
        edges = [*starts(data[at : at + size]), 8 * size]
        pieces = [all_of(data[at : at - edge // -8]) for edge in edges]
        blocks += [(8 * at + edges[n], pieces[n + 1][len(pieces[n]) :]) for n in range(len(edges) - 1)]
        at += size
    return blocks


@both
@pytest.mark.parametrize("span_bytes", [3000, 1 << 20])
@pytest.mark.parametrize(("data", "kind"), [(ONE, "blocks"), (MANY, "streams"), (MANY, "blocks")])
@pytest.mark.parametrize("number", [0, 1, 2, 3, -1])
@pytest.mark.parametrize("place", [10, 60, 90, 5000], ids=["marker", "checksum", "head", "middle"])
def test_a_corrupt_block_costs_itself_and_is_told_once(
    tmp_path: Path, decoder: Decoder, span_bytes: int, data: bytes, kind: str, number: int, place: int
) -> None:
    if (number, place) == (0, 10):
        return  # no bzip2 at all: the file is refused
    blocks = blocks_of(data)
    hit = blocks[number][0]
    path = put(tmp_path, data)
    all_spans = cut(path, span_bytes, kind)
    path.write_bytes(flipped(data, hit + place))
    given, damages = read(all_spans, decoder)
    assert given == b"".join(text for start, text in blocks if start != hit)
    assert [(damage.kind, damage.offset) for damage in damages] == [("corrupt", hit // 8)]
    assert "expected" in damages[0].detail
    assert "found" in damages[0].detail


@both
@pytest.mark.parametrize("span_bytes", [3000, 1 << 20])
@pytest.mark.parametrize("kept", [3, 100, 1000, -12, -11, -8, -5, -3, -1])
@pytest.mark.parametrize(("data", "kind"), [(ONE, "blocks"), (MANY, "streams"), (MANY, "blocks")])
def test_a_file_cut_inside_a_block_or_an_end_is_cut_short(
    tmp_path: Path, decoder: Decoder, span_bytes: int, kept: int, data: bytes, kind: str
) -> None:
    blocks = blocks_of(data)
    size = blocks[-1][0] // 8 + kept if kept > 0 else len(data) + kept
    given, damages = read(cut(put(tmp_path, data[:size]), span_bytes, kind), decoder)
    with open_bits(put(tmp_path, data, "whole")) as file:
        end = end_before(file, file.size)
    assert end is not None
    assert given == (XML if 8 * size >= end else b"".join(text for _, text in blocks[:-1]))
    assert [damage.kind for damage in damages] == ["cut_short"]
    assert blocks[-1][0] // 8 <= damages[0].offset <= size


@both
def test_a_file_cut_between_two_streams_is_sound(tmp_path: Path, decoder: Decoder) -> None:
    assert read(spans(put(tmp_path, MANY + MANY[:FIRST]), 3000), decoder) == (XML + HALVES[0], [])


@both
@pytest.mark.parametrize("extra", [b"\0" * 7, b"\0" * 9000, b"<html>503</html>", b"BZ", b"\x17rE8P\x90"])
@pytest.mark.parametrize(("data", "kind"), [(ONE, "blocks"), (MANY, "streams"), (MANY, "blocks")])
@pytest.mark.parametrize("span_bytes", [3000, 1 << 20])
def test_garbage_after_the_end_is_told(
    tmp_path: Path, decoder: Decoder, span_bytes: int, extra: bytes, data: bytes, kind: str
) -> None:
    given, damages = read(cut(put(tmp_path, data + extra), span_bytes, kind), decoder)
    assert given == XML
    wanted = "cut_short" if extra == b"BZ" else "garbage"  # the first bytes of another stream
    assert [(damage.kind, damage.offset) for damage in damages] == [(wanted, len(data))]


@both
@pytest.mark.parametrize("kind", ["streams", "blocks"])
@pytest.mark.parametrize("span_bytes", [3000, 1 << 20])
def test_garbage_between_two_streams_is_told(tmp_path: Path, decoder: Decoder, kind: str, span_bytes: int) -> None:
    data = MANY[:FIRST] + b"<html>" * 1000 + MANY[FIRST:]
    given, damages = read(cut(put(tmp_path, data), span_bytes, kind), decoder)
    assert given == XML
    assert [(damage.kind, damage.offset) for damage in damages] == [("garbage", FIRST)]


@both
@pytest.mark.parametrize("kind", ["streams", "blocks"])
@pytest.mark.parametrize("span_bytes", [3000, 1 << 20])
def test_a_damaged_header_or_checksum_of_a_stream_is_told_and_costs_nothing(
    tmp_path: Path, decoder: Decoder, kind: str, span_bytes: int
) -> None:
    for bit in (8 * FIRST + 3, 8 * FIRST - 20):  # in `BZh1` of the second; in the checksum of the first
        given, damages = read(cut(put(tmp_path, flipped(MANY, bit)), span_bytes, kind), decoder)
        assert given == XML
        assert [damage.kind for damage in damages] == ["corrupt"]
        assert FIRST - 12 <= damages[0].offset <= FIRST


@pytest.mark.parametrize("span_bytes", [3000, 1 << 20])
def test_the_checksum_of_a_stream_in_many_spans_is_compared(tmp_path: Path, span_bytes: int) -> None:
    given, damages = read(spans(put(tmp_path, flipped(ONE, 8 * len(ONE) - 20)), span_bytes))
    assert given == XML
    assert [damage.kind for damage in damages] == ["corrupt"]
    assert "checksum" in damages[0].detail


def sound_outside(given: bytes, whole: bytes, pieces: list[bytes]) -> bool:
    """Whether `given` is `whole` without some of its pieces."""
    for piece in pieces:
        given = given.removeprefix(piece)
    return not given


@on_disk
@given(st.integers(0, 8 * min(len(ONE), len(MANY)) - 1), st.sampled_from(["one", "streams", "blocks"]), st.data())
def test_a_flipped_bit_anywhere_never_gives_wrong_bytes_and_never_costs_two_blocks(
    tmp_path: Path, bit: int, sample: str, data: st.DataObject
) -> None:
    packed = ONE if sample == "one" else MANY
    blocks = [text for _, text in blocks_of(packed)]
    path = put(tmp_path, packed)
    all_spans = cut(path, data.draw(st.sampled_from([2000, 9000, 1 << 20])), None if sample == "one" else sample)
    path.write_bytes(flipped(packed, bit))
    given, damages = read(all_spans, data.draw(st.sampled_from(DECODERS)))
    assert sound_outside(given, XML, blocks)
    assert len(given) >= len(XML) - 99_982
    assert len(damages) == 1 or (not damages and given == XML)  # some bits mean nothing


@on_disk
@given(
    st.integers(200, min(len(ONE), len(MANY)) - 200),
    st.integers(1, 9000),
    st.sampled_from(["drop", "zero", "insert"]),
    st.sampled_from(["one", "streams", "blocks"]),
    st.data(),
)
def test_bytes_lost_zeroed_or_put_in_are_told_and_all_else_is_given(
    tmp_path: Path, at: int, count: int, how: str, sample: str, data: st.DataObject
) -> None:
    packed = ONE if sample == "one" else MANY
    count = min(count, len(packed) - 100 - at)
    put_in = {"drop": b"", "zero": b"\0" * count, "insert": b"?" * count + packed[at : at + count]}[how]
    path = put(tmp_path, packed)
    all_spans = cut(path, 1 << 20, None if sample == "one" else sample)
    path.write_bytes(packed[:at] + put_in + packed[at + count :])
    if data.draw(st.booleans()):
        all_spans = cut(path, 2000, all_spans[0].kind)
    given, damages = read(all_spans, data.draw(st.sampled_from(DECODERS)))
    assert damages or given == XML  # a zero may take the place of a zero
    blocks = blocks_of(packed)
    assert sound_outside(given, XML, [text for _, text in blocks])
    first, last = 8 * at, 8 * (at + (0 if how == "insert" else count))
    edges = [start for start, _ in blocks[1:]] + [8 * len(packed)]
    for (start, text), edge in zip(blocks, edges, strict=True):
        if edge < first or start > last:  # untouched
            assert text in given
            given = given[given.index(text) + len(text) :]


def test_a_plain_file_that_became_shorter_is_cut_short(tmp_path: Path) -> None:
    path = put(tmp_path, XML, "x.xml")
    first, *_ = spans(path, 100_000)
    path.write_bytes(XML[:1000])
    found = list(SpanReader(replace(first, last=False)))
    assert found[0] == XML[:1000]
    assert isinstance(found[1], Damage)
    assert (found[1].kind, found[1].offset) == ("cut_short", 1000)


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda data: data[:-20], "cut_short"),
        (lambda data: data + b"<html>", "garbage"),
        (lambda data: flipped(data, 8 * len(data) - 60), "corrupt"),
    ],
    ids=["cut", "garbage", "corrupt"],
)
def test_the_faults_of_gzip_are_told(tmp_path: Path, damage: Callable[[bytes], bytes], kind: str) -> None:
    data = damage(gzip.compress(XML))
    given, damages = read(spans(put(tmp_path, data, "a 7: corrupt 3.gz")))
    assert XML.startswith(given)
    assert [found.kind for found in damages] == [kind]
    assert 0 <= damages[0].offset <= len(data)


# Markers that stand inside a block by chance


def with_bits_in_block(data: bytes, block: int, mark: str) -> bytes:
    """The one stream `data` with `mark` inside a block, which decodes to the same.

    The table of selectors is a run of unary numbers, 0, 10, 110 and so on, and may hold more of them than are used. A
    marker reads as such numbers too, after a 0 at its end; only their count must follow.
    """
    bits = as_bits(data)
    groups = block + 48 + 32 + 1 + 24 + 16 + 16 * bits[block + 105 : block + 121].count("1")
    count = int(bits[groups + 3 : groups + 18], 2)
    at = groups + 18
    for _ in range(count):
        at = bits.index("0", at) + 1
    more = mark + "0"
    assert max(map(len, more.split("0"))) < int(bits[groups : groups + 3], 2)
    count += more.count("0")
    body = bits[: groups + 3] + f"{count:015b}" + bits[groups + 18 : at] + more + bits[at:]
    end = body.rindex(f"{END:048b}") + 80
    body = body[:end] + "0" * (-end % 8)
    return int(body, 2).to_bytes(len(body) // 8, "big")


@both
@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_marker_inside_a_block_deceives_nobody(tmp_path: Path, decoder: Decoder, number: int) -> None:
    data = with_bits_in_block(ONE, starts(ONE)[number], f"{BLOCK:048b}")
    assert bz2.decompress(data) == XML
    false = starts(data)[number + 1]
    assert len(starts(data)) == 6
    path = put(tmp_path, data)
    assert read(spans(path), decoder) == (XML, [])
    edges = [0, false // 8, len(data)]  # the false start is the first at or after the second span's first byte
    two = [Span(path, n, edges[n], edges[n + 1], "blocks", n == 1) for n in range(2)]
    assert read(two, decoder) == (XML, [])


# What the spans are together


def ends_of(path: Path, span_bytes: int) -> list[SpanEnd]:
    ends = []
    for span in spans(path, span_bytes):
        reader = SpanReader(span)
        list(reader)
        ends.append(reader.end)
    return ends


@pytest.mark.parametrize("data", [ONE, MANY, XML], ids=["blocks", "streams", "plain"])
def test_a_span_left_out_doubled_or_out_of_order_is_found(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path, data)
    ends = ends_of(path, 9000)
    assert check_spans(path, ends) == []
    full = [n for n, end in enumerate(ends) if end.begin < end.end]
    for n in full:
        assert check_spans(path, ends[:n] + ends[n + 1 :])
        assert check_spans(path, ends[: n + 1] + ends[n:])
    assert check_spans(path, ends[::-1])
    assert check_spans(path, [])
    changed = [replace(end, size=end.size + (end.number > 0)) for end in ends]
    assert any("as before" in damage.detail for damage in check_spans(path, changed))


WINDOW = 1 << 18  # bytes that are searched for marks at a time


@on_disk
@given(st.lists(st.integers(0, 8 * WINDOW + 400), max_size=6), st.binary(max_size=60), st.integers(0, 80))
def test_marks_of_blocks_are_found_at_any_bit(
    tmp_path: Path, places: list[int], noise: bytes, behind_the_border: int
) -> None:
    bits = as_bits(noise.ljust(60, b"\x31") * (WINDOW // 60 + 2))
    for place in (*places, 8 * WINDOW - 40 + behind_the_border):
        bits = f"{bits[:place]}{BLOCK:048b}{bits[place + 48 :]}"
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    with open_bits(put(tmp_path, data)) as file:
        assert list(block_starts(file, 0)) == starts(data)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=80), st.integers(0, 80))
def test_checksums_of_parts_combine_to_that_of_the_whole(crcs: list[int], cut_at: int) -> None:
    def of(part: list[int]) -> int:
        crc = 0
        for one in part:
            crc = ((crc << 1 | crc >> 31) & 0xFFFFFFFF) ^ one
        return crc

    parts = crcs[:cut_at], crcs[cut_at:]
    assert combined(of(parts[0]), of(parts[1]), len(parts[1])) == of(crcs)


def test_the_blocks_of_a_stream_give_the_checksum_it_carries(tmp_path: Path) -> None:
    with open_bits(put(tmp_path, ONE + bz2.compress(b"") * 2)) as file:
        end = last_blocks_end(file, file.size)
        assert end is not None
        assert end == end_before(file, len(ONE))
        assert file.bits(end + 48, 32) == combined_of(file, list(block_starts(file, 0)))
        assert file.bits(8 * file.size - 3, 4) is None


# Pieces of the machinery


@on_disk
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)), max_size=6), st.integers(1, 50))
def test_a_splice_is_its_bits_in_order(tmp_path: Path, ranges: list[tuple[int, int]], size: int) -> None:
    data = zlib.compress(bytes(range(90)))
    bits = as_bits(data)
    with open_bits(put(tmp_path, data)) as file:
        splice, wanted = Splice(file), ""
        for begin, width in ranges:
            filling = (begin - len(wanted)) % 8
            splice.add_bits(filling > 0, filling)
            wanted += f"{1:0{filling}b}" if filling else ""
            splice.add_file(begin, begin + width)
            wanted += bits[begin : begin + width]
        splice.close_bits()
        wanted += "0" * (-len(wanted) % 8)
        joined = b"".join(iter(lambda: splice.read(size), b""))
        assert "".join(f"{byte:08b}" for byte in joined) == wanted
        assert splice.length == splice.tell() == len(joined)
        splice.seek(-1, 2)
        assert splice.read() == joined[-1:] if joined else True
        splice.seek(0)
        with pytest.raises(ValueError, match="expected to go on at bit 0"):
            splice.add_file(1, 9)


@both
@pytest.mark.parametrize("data", [ONE[:-1], ONE[: len(ONE) // 2], ONE[:-10], ONE + b"\0" * 20, MANY + b"BZh"])
def test_a_decoder_that_comes_not_to_the_end_says_so(tmp_path: Path, decoder: Decoder, data: bytes) -> None:
    with open_bits(put(tmp_path, data)) as file:
        splice = Splice(file)
        splice.add_file(0, file.bits_in_all)
        given: list[bytes] = []

        def take() -> Iterator[bytes]:
            yield from decode(splice, decoder)

        with pytest.raises(UndecodedError):
            given.extend(take())
        assert XML.startswith(b"".join(given))


@both
def test_what_is_given_before_a_fault_far_behind_is_sound(tmp_path: Path, decoder: Decoder) -> None:
    # 140 MB before the fault are three blocks and a bit: more than any decoder holds back.
    whole = b"<" * 140_000_000 + XML
    data = bz2.compress(whole[:140_000_000]) + flipped(ONE, starts(ONE)[-1] + 5000)
    given = 0

    def take(splice: Splice) -> None:
        nonlocal given
        for chunk in decode(splice, decoder):
            assert chunk == whole[given : given + len(chunk)]
            given += len(chunk)

    with open_bits(put(tmp_path, data)) as file:
        splice = Splice(file)
        splice.add_file(0, file.bits_in_all)
        with pytest.raises(UndecodedError):
            take(splice)
    assert given >= 50_000_000


@pytest.mark.skipif("lbzip2" not in DECODERS, reason="lbzip2 is not installed: apt-get install lbzip2")
def test_arguments_that_the_environment_has_for_lbzip2_do_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LBZIP2", "BZIP2", "BZIP"):
        monkeypatch.setenv(name, "--test")
    assert read(spans(put(tmp_path, ONE)), "lbzip2") == (XML, [])


def test_no_block_decodes_to_more_than_the_largest() -> None:
    # 900,000 less 19 bytes hold 179,996 runs of 255 in five bytes each, and a byte that is left.
    assert LARGEST_DECODED >= 179_996 * 255
