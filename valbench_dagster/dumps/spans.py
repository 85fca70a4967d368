"""Cutting one dump file into spans that processes decode at the same time, without reading it.

Here belongs where a file is cut and by what rule. A span names places in the file; which streams or blocks lie in it, a
reader finds out by itself (`extent_of`), and two neighbours agree because both ask the same question about the same
place: where does the first stream (or block) at or after this byte begin? Decoding is `span_reader.py`.
"""

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from valbench_dagster.dumps.bzip2_blocks import BitFile, block_starts, next_stream, open_bits, starts_stream
from valbench_dagster.dumps.decode import decoded

Kind = Literal["streams", "blocks", "plain", "whole"]
"""Cut before any stream of bzip2; before any block of it; at any byte of XML; not at all (gzip)."""

_SEARCHED = 1 << 24
"""Bytes in which a file of many streams shows its second."""

_PLAIN_FACTOR = 4
"""XML takes about as long to read as a quarter of it takes to decode."""

_CUT_FINER = 4
"""Spans at the end of a file that are cut finer."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `stop` of the file at `path`: its share `number`, counted from 0."""

    path: Path
    number: int
    start: int
    stop: int
    kind: Kind
    last: bool


@dataclass(frozen=True, slots=True)
class Extent:
    """What a span really covers, from bit `begin` to bit `end`; `blocks` are the starts in it, for kind "blocks"."""

    begin: int
    end: int
    blocks: tuple[int, ...] = ()


def spans(path: Path, span_bytes: int = 2 << 20, last_bytes: int | None = None) -> list[Span]:
    """Cut the file at `path` into even spans of about `span_bytes` bytes as it lies (four times that for plain XML).

    Where `last_bytes` is less, the last four are cut into spans of that size: each span costs some milliseconds of its
    own, so they should be large, but processes end together only where the last ones are small.

    Reads at most its first 16 MiB. Raises `DumpError`, as `decode.decoded` does, on an empty file and on one that is
    neither XML nor bzip2 nor gzip; `ValueError` where `span_bytes` is below 1; `OSError` where it cannot be read.
    """
    if span_bytes < 1:
        raise ValueError(f"span_bytes: expected 1 or more, found {span_bytes}")
    with open_bits(path) as file:
        kind = _kind_of(file, path.name)
        factor = _PLAIN_FACTOR if kind == "plain" else 1
        share = file.size if kind == "whole" else span_bytes * factor
        edges = _edges(0, file.size, share)
        if last_bytes is not None and last_bytes * factor < share and kind != "whole":
            begin = edges[max(0, len(edges) - 1 - _CUT_FINER)]
            edges = [*(edge for edge in edges if edge < begin), *_edges(begin, file.size, last_bytes * factor)]
    return [Span(path, n, *edge, kind, last=edge[1] == edges[-1]) for n, edge in enumerate(pairwise(edges))]


def _edges(start: int, stop: int, share: int) -> list[int]:
    count = -(-(stop - start) // share)
    return [start + (stop - start) * number // count for number in range(count + 1)]


def _kind_of(file: BitFile, name: str) -> Kind:
    head = file.read(0, 10)
    if starts_stream(head):
        return "streams" if next_stream(file, 1, min(_SEARCHED, file.size)) else "blocks"
    if head.startswith(b"\x1f\x8b\x08"):
        return "whole"
    next(decoded(io.BytesIO(head), name))  # refuses what is no XML, in its own words
    return "plain"


def extent_of(file: BitFile, span: Span) -> Extent | None:
    """What of a bzip2 file belongs to `span`; null where no stream (or block) begins in it.

    The first span begins with the file, whatever stands there, and one behind which nothing begins reaches to the
    end of the file: every bit belongs to exactly one span.
    """
    if span.kind == "blocks":
        return _extent_in_blocks(file, span)
    stop = _stop(file, span)
    begin = next_stream(file, span.start, stop) if span.number else 0
    if begin is None:
        return None
    end = next_stream(file, stop, file.size)
    return Extent(8 * begin, file.bits_in_all if end is None else 8 * end)


def _stop(file: BitFile, span: Span) -> int:
    return file.size if span.last else span.stop  # the file may have grown


def _extent_in_blocks(file: BitFile, span: Span) -> Extent | None:
    blocks, stop = [], 8 * _stop(file, span)
    end = file.bits_in_all
    for block in block_starts(file, span.start):
        if block >= stop:
            end = block
            break
        blocks.append(block)
    if span.number and not blocks:
        return None
    return Extent(blocks[0] if span.number else 0, end, tuple(blocks))
