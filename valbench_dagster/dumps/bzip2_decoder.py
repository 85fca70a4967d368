"""Decoding complete bzip2 streams as fast as one core can, giving nothing that was not compared with its checksum.

Here belong the decoders and their traps; the only module that knows rapidgzip and indexed_bzip2, two builds of one
decoder: the older is 6 % faster and has no wheel for Python 3.14. What streams they get is
`bzip2_splice.py`; what to do where they fail is `bzip2_salvage.py`.
"""

import bz2
from collections import deque
from collections.abc import Iterator
from types import ModuleType
from typing import Literal, Protocol

# Compiled modules without type information. Where neither has a build for the machine, the standard library does the
# same in a quarter more time.
try:
    import indexed_bzip2
except ImportError:
    indexed_bzip2 = None
try:
    import rapidgzip
except ImportError:
    rapidgzip = None

Decoder = Literal["auto", "indexed_bzip2", "rapidgzip", "bz2"]

CHUNK_BYTES = 1 << 21
"""Most decoded bytes that are given at a time."""

LARGEST_DECODED = 900_000 // 5 * 255
"""Decoded bytes that no block exceeds: five bytes stand for a run of 255 at most."""

_FED_BYTES = 1 << 14
_FAILURES = (RuntimeError, ValueError, LookupError, ArithmeticError, OSError)


class UndecodedError(Exception):
    """The decoder came not to the end of what it was given."""


class Source(Protocol):
    """Complete streams laid end to end: a file for reading that says how long it is."""

    @property
    def length(self) -> int:
        """Bytes in all."""

    def read(self, size: int = -1, /) -> bytes:
        """`size` bytes, fewer at the end only."""


def decode(source: Source, decoder: Decoder) -> Iterator[bytes]:
    """The decoded bytes of `source` as chunks of at most `CHUNK_BYTES`, none empty, each from sound blocks only.

    "auto" is the first of indexed_bzip2, rapidgzip and `bz2` that can be imported. At most one block's decoded bytes
    and a chunk are held back until their checksum was compared. Raises `UndecodedError` where anything is wrong, after
    some of the sound bytes before it; `ImportError` where a compiled decoder is demanded and missing; `OSError` where
    the source cannot be read.
    """
    module = {
        "auto": indexed_bzip2 or rapidgzip,
        "indexed_bzip2": indexed_bzip2,
        "rapidgzip": rapidgzip,
        "bz2": None,
    }[decoder]
    if module is not None:
        return _by_compiled(source, module)
    if decoder in ("auto", "bz2"):
        return _by_standard_library(source)
    raise ImportError(f"the decoder {decoder} was asked for and cannot be imported; try: pip install {decoder}")


def _by_compiled(source: Source, module: ModuleType) -> Iterator[bytes]:
    """`tell_compressed` gives the end of the block that is being read out: once it moves, that block was compared."""
    held: deque[tuple[int, bytes]] = deque()
    try:
        with module.IndexedBzip2File(source, parallelization=1) as file:
            while chunk := file.read(CHUNK_BYTES):
                at = file.tell_compressed()
                while held and held[0][0] < at:
                    yield held.popleft()[1]
                held.append((at, chunk))
            at = file.tell_compressed()
    except _FAILURES as error:
        raise UndecodedError(str(error)) from error
    if at != 8 * source.length:  # it takes anything that is no stream for the end
        raise UndecodedError(f"expected to decode {8 * source.length} bits, found an end after {at}")
    for _, chunk in held:
        yield chunk


def _by_standard_library(source: Source) -> Iterator[bytes]:
    """A decoder that takes more and gives nothing is inside a block: those before it were compared."""
    held: deque[bytes] = deque()
    holds, stream = 0, bz2.BZ2Decompressor()
    data = source.read(_FED_BYTES)
    while data:
        try:
            chunk = stream.decompress(data, CHUNK_BYTES)
            data = b""
            while chunk:
                held.append(chunk)
                holds += len(chunk)
                while holds - len(held[0]) > LARGEST_DECODED:
                    holds -= len(held[0])
                    yield held.popleft()
                chunk = b"" if stream.eof else stream.decompress(b"", CHUNK_BYTES)
        except OSError as error:
            raise UndecodedError(str(error)) from error
        yield from held
        held.clear()
        holds = 0
        if stream.eof:
            data, stream = stream.unused_data, bz2.BZ2Decompressor()
            begun = bool(data)
        else:
            begun = True
        data = data or source.read(_FED_BYTES)
    if begun:
        raise UndecodedError("the last stream has no end")
