"""Reading damaged bzip2 block by block: every sound block is given, every fault told once.

Slow (each block is decoded three times) and exact: the end of a block is found by decoding it, not by looking for the
next, so a marker that stands inside a block by chance deceives nobody, and a damaged marker costs its own block only.
Here belongs what is done where the fast way (`bzip2_decoder.py`) fails.
"""

import bz2
from collections.abc import Iterator

from valbench_dagster.dumps.bzip2_blocks import (
    BLOCK,
    CRC_BITS,
    END,
    HEADER_BITS,
    LARGEST_BLOCK,
    MARK_BITS,
    BitFile,
    block_starts,
    combined,
    end_before,
    header_before,
    starts_stream,
)
from valbench_dagster.dumps.bzip2_decoder import CHUNK_BYTES
from valbench_dagster.dumps.span_checks import Damage, DamageKind, StreamPart
from valbench_dagster.dumps.spans import Extent, Kind

_STEP = 1 << 12


def _stream_of(block: int, width: int) -> bytes:
    """The block of `width` bits as a stream of its own."""
    crc = block >> (width - MARK_BITS - CRC_BITS) & 0xFFFFFFFF
    bits = HEADER_BITS + width + MARK_BITS + CRC_BITS
    value = ((int.from_bytes(b"BZh9", "big") << width | block) << MARK_BITS | END) << CRC_BITS | crc
    return (value << (-bits % 8)).to_bytes(-(-bits // 8), "big")


def _chunks(stream: bytes) -> Iterator[bytes]:
    """The decoded bytes of one stream, not compared until all were taken. Raises `OSError` where it is corrupt."""
    decoder = bz2.BZ2Decompressor()
    chunk = decoder.decompress(stream, CHUNK_BYTES)
    while chunk:
        yield chunk
        chunk = b"" if decoder.eof else decoder.decompress(b"", CHUNK_BYTES)
    if not decoder.eof:
        raise OSError("the stream has no end")


def _decodes(stream: bytes) -> bool:
    try:
        for _ in _chunks(stream):
            pass
    except OSError:
        return False
    return True


def _fed_until_output(body: bytes, start: int, step: int) -> int | None:
    """How many bytes of a block, `step` at a time after the first `start`, a decoder takes until it has all of it.

    Null where they are not enough. Raises `OSError` where they are corrupt.
    """
    decoder = bz2.BZ2Decompressor()
    decoder.decompress(b"BZh9" + body[:start], 1)
    for at in range(start, len(body), step):
        if decoder.decompress(body[at : at + step], 1):
            return at + step
    return None


def block_end(file: BitFile, at: int) -> int | DamageKind:
    """The bit past the block that begins at bit `at`; else why there is none: "corrupt", or "cut_short" by the end."""
    first, shift = at // 8, at % 8
    window = file.read(first, first + LARGEST_BLOCK)
    body = (int.from_bytes(window, "big") << shift).to_bytes(len(window) + 1, "big")[1:]
    try:
        about = _fed_until_output(body, 0, _STEP)
        taken = None if about is None else _fed_until_output(body[:about], about - _STEP, 1)
    except OSError:
        return "corrupt"
    if taken is None:
        at_end = first + len(window) == file.size
        whole = at_end and (end_before(file, file.size) or next(block_starts(file, first + 1), None))
        return "cut_short" if at_end and not whole else "corrupt"
    ends = range(8 * taken - 7, min(8 * taken, 8 * len(body) - shift) + 1)
    for end in sorted(ends, key=lambda end: file.bits(at + end, MARK_BITS) not in (BLOCK, END)):
        if _decodes(_stream_of(_bits(body, end), end)):
            return at + end
    return "corrupt"


def _bits(body: bytes, width: int) -> int:
    size = -(-width // 8)
    return int.from_bytes(body[:size], "big") >> (8 * size - width)


class Salvage:
    """What is sound of one extent, and a `Damage` before what follows a fault; once iterated, what it covered.

    `begin` and `end` are the extent's, but for a start or an end that a marker within a block had feigned.
    """

    def __init__(self, file: BitFile, extent: Extent, kind: Kind) -> None:
        self.begin, self.end = extent.begin, extent.end
        self.parts: list[StreamPart] = []
        self._file, self._kind = file, kind
        self._at = extent.begin
        self._inside = kind == "blocks" and extent.begin > 0
        self._told = False  # whether all since the last sound mark is known to be lost
        self._open(begins=not self._inside)

    def _open(self, *, begins: bool, sound: bool = True) -> None:
        self._begins, self._sound, self._blocks, self._crc = begins, sound, 0, 0

    def __iter__(self) -> Iterator[bytes | Damage]:
        while self._at < self.end:
            begun = self._at
            if not self._inside:
                yield from self._header()
            elif (mark := self._file.bits(self._at, MARK_BITS)) == BLOCK:
                yield from self._block()
            elif mark == END:
                yield from self._stream_end()
            else:
                kind: DamageKind = "cut_short" if mark is None else "corrupt"
                yield from self._fault(kind, "a block or the end of the stream", self._shown())
            if self._at <= begun:
                raise AssertionError(f"no step from bit {begun}")
        if self._inside and self.end == self._file.bits_in_all:
            yield from self._fault("cut_short", "the end of the stream", "the end of the file")
        elif self._inside and self._kind == "streams":
            yield from self._fault("cut_short", "the end of the stream", "another stream")
        if self._inside and self._kind == "blocks":
            self._part(None, None)
        self.end = max(self._at, self.end)

    def _shown(self) -> str:
        return repr(self._file.read(self._at // 8, self._at // 8 + 10))

    def _fault(self, kind: DamageKind, expected: str, found: str) -> Iterator[Damage]:
        """Tell it, once for all that is lost in one piece, and go on at the next mark."""
        if not self._told:
            yield Damage(kind, self._at // 8, f"expected {expected} at bit {self._at}, found {found}")
        self._told, self._sound = True, False
        block = next((b for b in block_starts(self._file, self._at // 8) if b > self._at), None)
        if block is None or block >= self.end:
            # Nothing more begins here: at the end of the file all is told, else the next span goes on.
            self._at = self.end
            self._inside = self._kind == "blocks" and self.end < self._file.bits_in_all
            header = header_before(self._file, self.end) if self._inside else None
            if header is not None and header >= self.begin:
                self._open(begins=True)
            return
        header = header_before(self._file, block)
        if header is not None and header > self._at:
            self._at, self._inside = header, False
        else:
            if not self._inside:
                self._open(begins=True, sound=False)
            self._at, self._inside = block, True

    def _header(self) -> Iterator[Damage]:
        here = self._at // 8
        head = self._file.read(here, here + 10)
        if starts_stream(head):
            self._told = False
        if head[:3] == b"BZh" and head[3:4] in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"):
            self._open(begins=True)
            self._at, self._inside = self._at + HEADER_BITS, True
        elif b"BZh".startswith(head[:3]) and len(head) < 4:
            yield from self._fault("cut_short", "a stream", f"the end of the file after {head!r}")
        elif self._file.bits(self._at + HEADER_BITS, MARK_BITS) in (BLOCK, END):
            yield from self._fault("corrupt", "a stream's header", repr(head))
        else:
            yield from self._fault("garbage", "another stream or the end of the file", repr(head))

    def _block(self) -> Iterator[bytes | Damage]:
        end = block_end(self._file, self._at)
        if not isinstance(end, int):
            after = self._after_false_start() if self._at == self.begin and self._kind == "blocks" else None
            if after is None:
                found = "the end of the file" if end == "cut_short" else "data that does not agree with its checksum"
                yield from self._fault(end, "a sound block", found)
            else:
                self.begin = self._at = after
            return
        crc = self._file.bits(self._at + MARK_BITS, CRC_BITS) or 0
        self._crc, self._blocks = combined(self._crc, crc, 1), self._blocks + 1
        block, size = self._file.read(self._at // 8, -(-end // 8)), end - self._at
        value = int.from_bytes(block, "big") >> (-end % 8) & ((1 << size) - 1)
        self._at, self._told = end, False
        yield from _chunks(_stream_of(value, size))

    def _after_false_start(self) -> int | None:
        """The end of the block that holds what was taken for the first of this span; null where none does."""
        before = []
        for block in block_starts(self._file, max(0, self.begin // 8 - LARGEST_BLOCK)):
            if block >= self.begin:
                break
            before.append(block)
        for block in reversed(before):
            end = block_end(self._file, block)
            if isinstance(end, int):
                return end if end > self.begin else None
        return None

    def _stream_end(self) -> Iterator[Damage]:
        stored = self._file.bits(self._at + MARK_BITS, CRC_BITS)
        if stored is None:
            yield from self._fault("cut_short", "the stream's checksum", "the end of the file")
            return
        if not self._begins:
            self._part(stored, self._at)
        elif self._sound and stored != self._crc:
            detail = f"expected blocks of checksum {stored:08x} in the stream that ends here, found {self._crc:08x}"
            yield Damage("corrupt", self._at // 8, detail)
        self._told, self._inside = False, False
        self._at += MARK_BITS + CRC_BITS
        self._at += -self._at % 8

    def _part(self, stored: int | None, ends_at: int | None) -> None:
        self.parts.append(StreamPart(self._begins, self._blocks, self._crc, stored, ends_at, self._sound))
