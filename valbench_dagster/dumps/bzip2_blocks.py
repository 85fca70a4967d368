"""Where streams and blocks begin in a bzip2 file: its marks, its bits, and how its checksums combine.

A stream is four bytes (`BZh` and a level), blocks, and an end marker with the checksum of all its blocks, filled up
to a byte; a block begins at any bit with a marker and its own checksum. Here belongs what is known of that layout and
how marks are found fast. What the bits mean is the decoder's (`bzip2_decoder.py`); which part of a file one process
takes is `spans.py`.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BLOCK = 0x314159265359
END = 0x177245385090
MARK_BITS = 48
CRC_BITS = 32
HEADER_BITS = 32

LARGEST_BLOCK = 5 << 19
"""Bytes that hold any block: 900,001 symbols of at most 20 bits, and its tables."""

_WINDOW = 1 << 18
_STREAM = re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)")
_STREAM_BYTES = 10
_FIRST_BITS, _NEEDLE = range(1, 9), b"\1\2\3\4"
_PLACES = bytes.maketrans(
    bytes(BLOCK >> (MARK_BITS - 8 - bit - 8 * place) & 0xFF for place in range(4) for bit in _FIRST_BITS),
    bytes(place + 1 for place in range(4) for _ in _FIRST_BITS),
)
"""A block's marker begins at any bit: its first whole byte is one of eight, the next one of eight others, and so on.

No byte can stand in two of these four places, so that each byte is put by its place, and all eight are found at once.
"""


@dataclass(frozen=True, slots=True)
class BitFile:
    """A file that is read at any place, by byte or by bit; it keeps no position, and nothing of what was read."""

    descriptor: int
    size: int

    @property
    def bits_in_all(self) -> int:
        """The bit past the last."""
        return 8 * self.size

    def read(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop`, cut off where the file ends. Raises `OSError` where the disk fails."""
        pieces, at = [], start
        while at < stop and (piece := os.pread(self.descriptor, stop - at, at)):
            pieces.append(piece)
            at += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def bits(self, at: int, count: int) -> int | None:
        """`count` bits from bit `at` on as a number, the first bit highest; null where the file ends before."""
        if at < 0 or at + count > self.bits_in_all:
            return None
        stop = -(-(at + count) // 8)
        value = int.from_bytes(self.read(at // 8, stop), "big") >> (8 * stop - at - count)
        return value & ((1 << count) - 1)


@contextmanager
def open_bits(path: Path) -> Iterator[BitFile]:
    """Open the file at `path`; it is closed at the end of the block. Raises `OSError` where it cannot be opened."""
    with path.open("rb", buffering=0) as file:
        yield BitFile(file.fileno(), os.fstat(file.fileno()).st_size)


def starts_stream(head: bytes) -> bool:
    """Whether `head`, of ten bytes or more, begins with a stream's header and the marker of a block or of its end."""
    return _STREAM.match(head) is not None


def next_stream(file: BitFile, start: int, stop: int) -> int | None:
    """The byte where the first stream in bytes `start` to `stop` begins; null where none does."""
    for at in range(start, stop, _WINDOW):
        upto = min(at + _WINDOW, stop)
        if found := _STREAM.search(file.read(at, upto + _STREAM_BYTES - 1)):
            return at + found.start()
    return None


def block_starts(file: BitFile, start: int) -> Iterator[int]:
    """The bit of every block's marker from byte `start` on, in order.

    The 48 bits of a marker may stand inside a block by chance, once in 35 TB, so a start may be a false one.
    """
    for at in range(start, file.size, _WINDOW):
        data = file.read(at, at + _WINDOW + 6)
        places = data.translate(_PLACES)
        hit = places.find(_NEEDLE)
        while hit >= 0:
            for bit in range(max(0, 8 * hit - 8), min(8 * hit, 8 * _WINDOW)):
                if _marks_block(data, bit):
                    yield 8 * at + bit
            hit = places.find(_NEEDLE, hit + 1)


def _marks_block(data: bytes, bit: int) -> bool:
    around = data[bit // 8 : bit // 8 + 7]
    spare = 8 * len(around) - bit % 8 - MARK_BITS
    return spare >= 0 and (int.from_bytes(around, "big") >> spare) & ((1 << MARK_BITS) - 1) == BLOCK


def header_before(file: BitFile, block: int) -> int | None:
    """The bit of the stream header right before the block at bit `block`; null where there is none."""
    at = block - HEADER_BITS
    header = b"" if block % 8 or at < 0 else file.read(at // 8, block // 8)
    return at if re.fullmatch(rb"BZh[1-9]", header) else None


def end_before(file: BitFile, byte: int) -> int | None:
    """The bit of the marker that ends a stream whose last byte is the one before `byte`; null where none ends there."""
    for filling in range(8):
        at = 8 * byte - filling - CRC_BITS - MARK_BITS
        if file.bits(at, MARK_BITS) == END and (not filling or file.bits(8 * byte - filling, filling) == 0):
            return at
    return None


def last_blocks_end(file: BitFile, byte: int) -> int | None:
    """As `end_before`, for the last stream before `byte` that holds a block: streams without one are passed over."""
    while (at := end_before(file, byte)) is not None:
        header = header_before(file, at)
        if header is None:
            return at
        byte = header // 8
    return None


def combined(crc: int, part: int, blocks: int) -> int:
    """The checksum of a stream whose first blocks give `crc` and whose next `blocks` blocks alone give `part`."""
    turn = blocks % CRC_BITS
    return ((crc << turn | crc >> (CRC_BITS - turn)) & 0xFFFFFFFF) ^ part


def combined_of(file: BitFile, blocks: list[int]) -> int:
    """The checksum of the blocks at these bits, from the checksum that each carries."""
    crc = 0
    for block in blocks:
        crc = combined(crc, file.bits(block + MARK_BITS, CRC_BITS) or 0, 1)
    return crc
