"""What is lost of a dump file, and whether the spans that were read are together the whole of it.

Here belongs what a reader of one span hands on (`Damage`, `SpanEnd`) and what follows from the ends of all: that they
meet, and that a stream which several spans shared agrees with the checksum it carries.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from valbench_dagster.dumps.bzip2_blocks import combined

DamageKind = Literal["corrupt", "cut_short", "garbage"]
"""Data that disagrees with itself; an end where more is due; bytes that belong to no stream."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One place where something is wrong: a byte of the file as it lies, at or before the fault, and what was found."""

    kind: DamageKind
    offset: int
    detail: str


@dataclass(frozen=True, slots=True)
class StreamPart:
    """The blocks of a stream that goes on beyond the span: how many, and the checksum of these alone.

    `begins` says that its header stands in the span. `stored` is the checksum that the stream carries at its end and
    `ends_at` the bit of that end, both null where it is not in the span. Not `sound`: blocks are missing.
    """

    begins: bool
    blocks: int
    crc: int
    stored: int | None
    ends_at: int | None
    sound: bool


@dataclass(frozen=True, slots=True)
class SpanEnd:
    """What one span turned out to cover: bit `begin` to bit `end` of a file of `size` bytes; none where both agree."""

    number: int
    begin: int
    end: int
    size: int
    parts: tuple[StreamPart, ...] = ()


class SpanCheck:
    """Compare the ends of the spans of one file, taken in the order of their numbers, from the first to the last."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._count = 0
        self._end = 0
        self._size: int | None = None
        self._crc: int | None = None  # of the stream that is open, null where blocks of it are missing

    def add(self, end: SpanEnd) -> list[Damage]:
        """Take the next span's end: what it contradicts in those before."""
        found = []
        if end.number != self._count:
            found.append(self._damage(end.begin, f"expected span {self._count} next, found span {end.number}"))
        if self._size not in (None, end.size):
            found.append(
                self._damage(end.begin, f"expected a file of {self._size} bytes as before, found {end.size} bytes")
            )
        self._count, self._size = end.number + 1, end.size
        if end.begin == end.end:
            return found
        if end.begin != self._end:
            wanted = f"expected it to begin at bit {self._end}, where the one before ends, found bit {end.begin}"
            found.append(self._damage(min(self._end, end.begin), f"span {end.number}: {wanted}"))
            self._crc = None
        self._end = end.end
        return found + [damage for part in end.parts for damage in self._part(part)]

    def finish(self) -> list[Damage]:
        """After the last span: whether all of the file was covered."""
        if self._size is not None and self._end == 8 * self._size:
            return []
        size = "of unknown size" if self._size is None else f"of {8 * self._size} bits"
        return [
            self._damage(self._end, f"expected the spans to cover the file, {size}, found bit {self._end} their end")
        ]

    def _part(self, part: StreamPart) -> list[Damage]:
        before = 0 if part.begins else self._crc
        self._crc = combined(before, part.crc, part.blocks) if part.sound and before is not None else None
        if part.stored is None:
            return []
        crc, self._crc = self._crc, None
        if crc in (None, part.stored):
            return []
        return [self._damage(part.ends_at or 0, f"expected blocks of checksum {part.stored:08x}, found {crc:08x}")]

    def _damage(self, bit: int, detail: str) -> Damage:
        return Damage("corrupt", bit // 8, f"{self._name}: {detail}")


def check_spans(path: Path, ends: Iterable[SpanEnd]) -> list[Damage]:
    """Whether the spans of the file at `path`, whose ends these are in order, are together the whole file.

    Gives what is wrong: a span missing, doubled or out of order, a gap, a file that changed meanwhile, a stream whose
    blocks do not add up to its checksum. The file is not opened. Faults inside one span its reader has told.
    """
    check = SpanCheck(path)
    return [damage for end in ends for damage in check.add(end)] + check.finish()
