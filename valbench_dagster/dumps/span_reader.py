"""Reading one span of a dump file: its decoded bytes in order, every fault told, nothing sound left out.

Here belongs the way from a `Span` to bytes: the fast way where all is well, the slow one from the first fault on. How
files are cut is `spans.py`; whether the spans are together the whole file, `span_checks.py`. A reader needs the bytes
of its file and nothing of other spans, so any process may read any span.
"""

import re
from collections.abc import Iterator

from valbench_dagster.dumps.bzip2_blocks import BitFile, open_bits
from valbench_dagster.dumps.bzip2_decoder import CHUNK_BYTES, Decoder, UndecodedError, decode
from valbench_dagster.dumps.bzip2_salvage import Salvage
from valbench_dagster.dumps.bzip2_splice import SpliceError, spliced
from valbench_dagster.dumps.decode import DumpError, decoded
from valbench_dagster.dumps.span_checks import Damage, DamageKind, SpanCheck, SpanEnd, check_spans
from valbench_dagster.dumps.spans import Extent, Span, extent_of

__all__ = ["Damage", "DamageKind", "SpanCheck", "SpanEnd", "SpanReader", "check_spans"]

_WHOLE_FAULT = re.compile(r"^: (garbage|cut short|corrupt)\b\D*(\d+)")
_KINDS: dict[str, DamageKind] = {"garbage": "garbage", "cut short": "cut_short", "corrupt": "corrupt"}


class SpanReader:
    """The decoded bytes of one span and, where something is lost, a `Damage`; to be iterated as often as wanted."""

    def __init__(self, span: Span, decoder: Decoder = "auto") -> None:
        """`decoder` is for bzip2: a compiled one, the standard library's, or ("auto") the fastest that is there."""
        self._span = span
        self._decoder = decoder
        self._end: SpanEnd | None = None

    @property
    def end(self) -> SpanEnd:
        """What the span covered, to be verified with `check_spans`. Raises `RuntimeError` before the last chunk."""
        if self._end is None:
            raise RuntimeError(f"span {self._span.number} of {self._span.path.name}: read it to its end first")
        return self._end

    def __iter__(self) -> Iterator[bytes | Damage]:
        """Chunks of at most `CHUNK_BYTES` bytes, none empty; a `Damage` at each fault, then what is sound after it.

        Bytes of bzip2 were compared with their checksums before they are given; those of gzip only by the end of the
        file, and plain XML has none. Raises `OSError` where the file cannot be read.
        """
        self._end = None
        with open_bits(self._span.path) as file:
            if self._span.kind == "plain":
                yield from self._plain(file)
            elif self._span.kind == "whole":
                yield from self._whole()
                self._finish(file, 0, file.bits_in_all)
            elif (extent := extent_of(file, self._span)) is None:
                self._finish(file, 8 * self._span.start, 8 * self._span.start)
            else:
                yield from self._bzip2(file, extent)

    def _finish(self, file: BitFile, begin: int, end: int) -> None:
        self._end = SpanEnd(self._span.number, begin, end, file.size)

    def _plain(self, file: BitFile) -> Iterator[bytes | Damage]:
        stop = file.size if self._span.last else self._span.stop
        for at in range(self._span.start, stop, CHUNK_BYTES):
            wanted = min(CHUNK_BYTES, stop - at)
            chunk = file.read(at, at + wanted)
            if chunk:
                yield chunk
            if len(chunk) < wanted:
                detail = f"expected bytes up to {stop}, found an end at {at + len(chunk)}"
                yield Damage("cut_short", at + len(chunk), detail)
                break
        self._finish(file, 8 * self._span.start, 8 * stop)

    def _whole(self) -> Iterator[bytes | Damage]:
        try:
            with self._span.path.open("rb") as source:
                yield from decoded(source, "")
        except DumpError as error:
            told = _WHOLE_FAULT.match(str(error))
            kind, offset = (_KINDS[told[1]], int(told[2])) if told else ("corrupt", 0)
            yield Damage(kind, offset, str(error).removeprefix(": "))

    def _bzip2(self, file: BitFile, extent: Extent) -> Iterator[bytes | Damage]:
        given = 0
        try:
            splice, parts = spliced(file, extent, self._span.kind)
            lead = splice.lead
            for chunk in decode(splice, self._decoder):
                own = chunk[lead:] if lead else chunk
                lead -= min(lead, len(chunk))
                if own:
                    given += len(own)
                    yield own
            self._end = SpanEnd(self._span.number, extent.begin, extent.end, file.size, parts)
        except (SpliceError, UndecodedError):
            salvage = Salvage(file, extent, self._span.kind)
            for found in salvage:
                if isinstance(found, Damage):
                    yield found
                elif given >= len(found):  # given before the fault, all of it
                    given -= len(found)
                else:
                    yield found[given:] if given else found
                    given = 0
            parts = tuple(salvage.parts)
            self._end = SpanEnd(self._span.number, salvage.begin, salvage.end, file.size, parts)
