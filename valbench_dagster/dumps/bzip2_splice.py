"""A part of a bzip2 file as a complete bzip2 file of its own, without moving its bits.

Decoders want whole streams. The blocks of a span begin and end at any bit, so here a header is put before them, and an
end with the checksum of just these blocks behind them. To keep the bits of the file where they lie in their bytes, a
small block of known text comes first, as long as needed; `Splice.lead` says how many decoded bytes that gives. What
lies between is read from the file when the decoder asks. Which bits those are is `spans.py`.
"""

import bz2
import io
from bisect import bisect_right
from functools import cache
from itertools import count

from valbench_dagster.dumps.bzip2_blocks import (
    CRC_BITS,
    END,
    MARK_BITS,
    BitFile,
    combined,
    combined_of,
    end_before,
    header_before,
    last_blocks_end,
)
from valbench_dagster.dumps.span_checks import StreamPart
from valbench_dagster.dumps.spans import Extent, Kind

_HEADER = (int.from_bytes(b"BZh9", "big"), 32)


class SpliceError(Exception):
    """The marks of the extent do not add up to whole streams; what is wrong, a slower reader finds out."""


class Splice(io.RawIOBase):
    """A file for reading, joined from bits of a file on disk and from others; complete once `close_bits` was called.

    `lead`: how many decoded bytes come first that are not the file's.
    """

    def __init__(self, file: BitFile) -> None:
        super().__init__()
        self.lead = 0
        self._file = file
        self._pieces: list[bytes | tuple[int, int]] = []  # bytes, or a range of bytes of the file
        self._starts = [0]
        self._open = (0, 0)  # the bits after the last whole byte: value and count
        self._at = 0

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self._starts[-1]

    def add_bits(self, value: int, width: int) -> None:
        """Append `width` bits, the highest of `value` first."""
        value |= self._open[0] << width
        width += self._open[1]
        whole, rest = divmod(width, 8)
        self._open = (value & ((1 << rest) - 1), rest)
        self._add((value >> rest).to_bytes(whole, "big"), whole)

    def add_file(self, begin: int, end: int) -> None:
        """Append bits `begin` to `end` of the file, which come to lie in their bytes as they do there."""
        if begin % 8 != self._open[1]:
            raise ValueError(f"expected to go on at bit {self._open[1]} of a byte, found bit {begin}")
        first = -(-begin // 8)
        self._add_few(begin, min(8 * first, end))
        if end > 8 * first:
            self._add((first, end // 8), end // 8 - first)
            self._add_few(end - end % 8, end)

    def close_bits(self) -> None:
        """Fill up the last byte."""
        self.add_bits(0, -self._open[1] % 8)

    def _add_few(self, begin: int, end: int) -> None:
        self.add_bits(self._file.bits(begin, end - begin) or 0, end - begin)

    def _add(self, piece: bytes | tuple[int, int], length: int) -> None:
        if length:
            self._pieces.append(piece)
            self._starts.append(self._starts[-1] + length)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The byte that `read` gives next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As for any file."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.length}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """`size` bytes from here, fewer at the end only; all for a negative size."""
        stop = self.length if size < 0 else min(self._at + size, self.length)
        taken = []
        while self._at < stop:
            number = bisect_right(self._starts, self._at) - 1
            piece, skip = self._pieces[number], self._at - self._starts[number]
            wanted = min(stop, self._starts[number + 1]) - self._at
            if isinstance(piece, bytes):
                taken.append(piece[skip : skip + wanted])
            else:
                taken.append(self._file.read(piece[0] + skip, piece[0] + skip + wanted))
            if len(taken[-1]) < wanted:
                raise OSError("the file became shorter while it was read")
            self._at += wanted
        return taken[0] if len(taken) == 1 else b"".join(taken)


def spliced(file: BitFile, extent: Extent, kind: Kind) -> tuple[Splice, tuple[StreamPart, ...]]:
    """The extent as a bzip2 file, and those of its streams that are not whole in it.

    Raises `SpliceError` where a stream's end is missing before the next stream or the end of the file.
    """
    splice = Splice(file)
    if extent.end == file.bits_in_all or kind == "streams":
        _wanted(end_before(file, extent.end // 8), extent.end)
    if kind == "streams":
        splice.add_file(extent.begin, extent.end)
        return splice, ()
    at, crc, parts = extent.begin, 0, []
    marks = [*extent.blocks, *([extent.end] if extent.end < file.bits_in_all else [])]
    headers = [header for block in marks if (header := header_before(file, block)) is not None and header >= at]
    if at:
        crc = _lead(splice, at % 8)
        stop = headers[0] if headers else extent.end
        blocks = [block for block in extent.blocks if block < stop]
        alone = combined_of(file, blocks)
        crc = combined(crc, alone, len(blocks))
        stored = ends_at = None
        if headers or stop == file.bits_in_all:
            ends_at = _wanted(last_blocks_end(file, stop // 8), stop)
            stored = file.bits(ends_at + MARK_BITS, CRC_BITS)
            splice.add_file(at, ends_at + MARK_BITS)
            splice.add_bits(crc, CRC_BITS)
            at = ends_at + MARK_BITS + CRC_BITS
        parts.append(StreamPart(False, len(blocks), alone, stored, ends_at, sound=True))
    splice.add_file(at, extent.end)
    if extent.end < file.bits_in_all:
        if headers:
            blocks = [block for block in extent.blocks if block > headers[-1]]
            crc = combined_of(file, blocks)
            parts.append(StreamPart(True, len(blocks), crc, None, None, sound=True))
        splice.add_bits(END << CRC_BITS | crc, MARK_BITS + CRC_BITS)
        splice.close_bits()
    return splice, tuple(parts)


def _wanted(found: int | None, before: int) -> int:
    if found is None:
        raise SpliceError(f"no end of a stream before bit {before}")
    return found


def _lead(splice: Splice, bit: int) -> int:
    """Begin a stream such that the next block stands `bit` bits into a byte; the checksum so far."""
    value, width, crc, splice.lead = _leads()[bit]
    splice.add_bits(*_HEADER)
    splice.add_bits(value, width)
    return crc


@cache
def _leads() -> dict[int, tuple[int, int, int, int]]:
    """By where they end in a byte: a small block as a number, its bits, its checksum, and its decoded bytes."""
    leads: dict[int, tuple[int, int, int, int]] = {}
    for length in count(1):
        packed = bz2.compress(bytes(range(length)))
        bits, stream = 8 * len(packed), int.from_bytes(packed, "big")
        tail = next(n for n in range(80, 88) if stream >> (n - MARK_BITS) & ((1 << MARK_BITS) - 1) == END)
        width = bits - tail - 32
        block = stream >> tail & ((1 << width) - 1)
        crc = block >> (width - MARK_BITS - CRC_BITS) & 0xFFFFFFFF
        leads.setdefault(width % 8, (block, width, crc, length))
        if len(leads) == 8:
            return leads
    raise AssertionError("unreachable: the lengths of blocks take every remainder")
