"""Decoding: every container gives the bytes that went in; every fault names the file and the place."""

import bz2
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.dumps.decode import READ_BYTES, DumpError, decoded, open_decoded

XML = b"<mediawiki>" + b"some text, " * 400 + b"</mediawiki>"


def decode(data: bytes) -> bytes:
    return b"".join(decoded(io.BytesIO(data), "x.xml.bz2"))


def multistream(*pieces: bytes) -> bytes:
    return b"".join(bz2.compress(piece) for piece in pieces)


class OneByteAtATime(io.RawIOBase):
    """A pipe at its worst."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # the protocol of buffers has no type in 3.11
        return self._rest.readinto(view[:1])


@given(
    st.lists(st.binary(max_size=200), max_size=5).map(lambda pieces: [b"<", *pieces]),
    st.sampled_from([multistream, lambda *pieces: gzip.compress(b"".join(pieces)), lambda *pieces: b"".join(pieces)]),
)
def test_every_container_gives_what_went_in(pieces: list[bytes], pack: object) -> None:
    assert callable(pack)
    assert decode(pack(*pieces)) == b"".join(pieces)


def test_members_of_gzip_follow_each_other() -> None:
    assert decode(gzip.compress(b"<a") + gzip.compress(b">")) == b"<a>"


def test_the_name_does_not_decide(tmp_path: Path) -> None:
    for name, data in (("a.xml", bz2.compress(XML)), ("b.bz2", gzip.compress(XML)), ("c.gz", XML)):
        (tmp_path / name).write_bytes(data)
        with open_decoded(tmp_path / name) as chunks:
            assert b"".join(chunks) == XML


@pytest.mark.parametrize("data", [XML, multistream(XML[:50], XML[50:]), gzip.compress(XML)], ids=["xml", "bz2", "gz"])
def test_short_reads_are_no_ends(data: bytes) -> None:
    assert b"".join(decoded(io.BufferedReader(OneByteAtATime(data), 1), "pipe")) == XML


def test_a_byte_order_mark_and_blank_lines_may_come_first() -> None:
    assert decode(b"\xef\xbb\xbf\n<a>") == b"\xef\xbb\xbf\n<a>"


class Counting(io.BytesIO):
    """A file that says how far it was read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_a_bomb_is_decoded_a_piece_at_a_time() -> None:
    # 40 MB of blanks are 40 bytes of bzip2 and 40 kB of gzip: no chunk may hold more than READ_BYTES.
    bomb = b"<" + b" " * 40_000_000
    for packed in (bz2.compress(bomb), gzip.compress(bomb)):
        chunks: Iterator[bytes] = decoded(io.BytesIO(packed), "bomb")
        sizes = [len(next(chunks)) for _ in range(20)]
        assert max(sizes) <= READ_BYTES


def test_the_file_is_read_as_far_as_the_chunks_are_taken() -> None:
    source = Counting(b"<" + bytes(range(1, 250)) * 40_000)
    chunks = decoded(source, "large.xml")
    next(chunks)
    assert source.taken <= 2 * READ_BYTES


@pytest.mark.parametrize("cut", [1, 5, 11, 40, 80, 119])
def test_a_cut_off_bzip2_file_says_where_it_ends_and_which_stream(cut: int) -> None:
    data = multistream(XML, XML)
    half = len(data) // 2
    assert half > 80
    with pytest.raises(DumpError) as error:
        decode(data[: half + min(cut, half - 1)])
    if cut < 10:  # too short to tell a stream from garbage
        assert f"garbage at compressed byte {half}" in str(error.value)
    else:
        assert f"starts at byte {half}" in str(error.value)
        assert f"ends at compressed byte {half + min(cut, half - 1)}" in str(error.value)


def test_all_before_the_cut_is_given_out_first() -> None:
    data = multistream(XML, XML)
    chunks = decoded(io.BytesIO(data[:-3]), "x")
    assert next(chunks) == XML
    with pytest.raises(DumpError, match="cut short"):
        list(chunks)


def test_a_cut_off_gzip_file_is_found() -> None:
    with pytest.raises(DumpError, match=r"x\.xml\.bz2: cut short.*gzip stream that starts at byte 0"):
        decode(gzip.compress(XML)[:-4])


@pytest.mark.parametrize("at", [12, -12, -6])  # the block's checksum, its last symbols, the stream's checksum
def test_a_flipped_bit_is_found(at: int) -> None:
    data = bytearray(multistream(XML, XML))
    half = len(data) // 2
    data[half + at if at > 0 else at] ^= 0x10
    with pytest.raises(DumpError, match=rf"corrupt bzip2 data .* stream that starts at byte {half}"):
        decode(bytes(data))


def test_a_wrong_checksum_of_gzip_is_found() -> None:
    data = bytearray(gzip.compress(XML))
    data[-7] ^= 1
    with pytest.raises(DumpError, match="corrupt gzip data"):
        decode(bytes(data))


@pytest.mark.parametrize("garbage", [b"\0", b"garbage", b"BZh9", b"BZh9 and more than that", b"\n", XML], ids=repr)
def test_what_follows_the_last_stream_is_an_error(garbage: bytes) -> None:
    data = bz2.compress(XML)
    with pytest.raises(DumpError, match=rf"garbage at compressed byte {len(data)}"):
        decode(data + garbage)
    with pytest.raises(DumpError, match="garbage"):
        decode(gzip.compress(XML) + garbage)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, world", "begins with b'hello, wor'"),
        (b"\xfd7zXZ\x00\x00\x04 and so on", "xz data; decompress it first"),
        (b"7z\xbc\xaf\x27\x1c and so on", "7-Zip data; decompress it first"),
        (b"\x28\xb5\x2f\xfd and so on", "Zstandard data; decompress it first"),
        (b"PK\x03\x04 and so on", "ZIP data; decompress it first"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_export_is_named(data: bytes, message: str) -> None:
    with pytest.raises(DumpError) as error:
        decode(data)
    assert message in str(error.value)


def test_the_file_is_closed_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(XML)
    with open_decoded(path) as chunks:
        next(chunks)
    with pytest.raises(ValueError, match="closed"):
        next(chunks)


def test_a_stream_is_read_from_where_it_stands() -> None:
    source: BinaryIO = io.BytesIO(b"garbage" + bz2.compress(XML))
    source.seek(7)
    assert b"".join(decoded(source, "x")) == XML
