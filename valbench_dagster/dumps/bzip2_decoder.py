"""Decoding complete bzip2 streams as fast as one core can, giving nothing that was not compared with its checksum.

Here belong the decoders and their traps: the program lbzip2, the fastest where it is installed; rapidgzip and
indexed_bzip2, two builds of one decoder, of which the older is 6 % faster and has no wheel for Python 3.14; and the
standard library. The only module that knows them. What streams they get is `bzip2_splice.py`; what to do where they
fail is `bzip2_salvage.py`.
"""

import bz2
import fcntl
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from subprocess import DEVNULL, PIPE
from types import ModuleType
from typing import IO, Literal, Protocol

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

Decoder = Literal["auto", "lbzip2", "indexed_bzip2", "rapidgzip", "bz2"]

CHUNK_BYTES = 1 << 21
"""Most decoded bytes that are given at a time."""

LARGEST_DECODED = 900_000 // 5 * 255
"""Decoded bytes that no block exceeds: five bytes stand for a run of 255 at most."""

_FED_BYTES = 1 << 14
_WORTH_A_PROCESS = 1 << 19
"""Bytes from which it pays to start a process that decodes them."""
_ITS_ARGUMENTS = ("LBZIP2", "BZIP2", "BZIP")
"""Where lbzip2 looks for more arguments."""
_PIPE_BYTES = 1 << 20
"""What a pipe may hold, where the system lets it: the fewest changes between two processes."""
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

    "auto" is lbzip2 where that is installed and there is enough to decode, else the first of indexed_bzip2, rapidgzip
    and `bz2` that can be imported. Held back until they were compared with their checksums are one block's decoded
    bytes and a chunk at most, for lbzip2 the most that a block may decode to. Raises `UndecodedError` where anything is
    wrong, after some of the sound bytes before it; `ImportError` where a decoder is demanded and missing; `OSError`
    where the source cannot be read.
    """
    if decoder == "lbzip2" or (decoder == "auto" and source.length >= _WORTH_A_PROCESS and _lbzip2() is not None):
        return _by_lbzip2(source)
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


@cache
def _lbzip2() -> str | None:
    return shutil.which("lbzip2")


@cache
def _last_stream() -> tuple[bytes, bytes]:
    """A stream that no file holds, and what it decodes to."""
    text = os.urandom(16)
    return bz2.compress(text, 1), text


def _by_lbzip2(source: Source) -> Iterator[bytes]:
    """A stream of our own comes last: lbzip2 takes anything that is no stream for the end, and says nothing.

    It may write bytes of a block before it has compared them, but none of the next.
    """
    program = _lbzip2()
    if program is None:
        raise ImportError("the decoder lbzip2 was asked for and is not installed; try: apt-get install lbzip2")
    stream, text = _last_stream()
    with _unnamed_file() as file:
        while data := source.read(CHUNK_BYTES):
            file.write(data)
        file.write(stream)
        file.seek(0)
        environment = {name: value for name, value in os.environ.items() if name not in _ITS_ARGUMENTS}
        process = subprocess.Popen(  # noqa: S603 - found by name where programs are, with arguments of our own
            [program, "-d", "-n", "1"], stdin=file, stdout=PIPE, stderr=DEVNULL, bufsize=0, env=environment
        )
    try:
        held: deque[bytes] = deque()
        holds = 0
        for chunk in _chunks_of(process):
            held.append(chunk)
            holds += len(chunk)
            while holds - len(held[0]) > LARGEST_DECODED + len(text):
                holds -= len(held[0])
                yield held.popleft()
        code = process.wait()
    finally:
        process.kill()  # where the caller wants no more
        process.wait()
    if code:
        raise UndecodedError(f"lbzip2 ended with {code}")
    end = b""
    while held and len(end) < len(text):
        end = held.pop() + end
    if not end.endswith(text):
        raise UndecodedError("lbzip2 took something that is no stream for the end")
    held.append(end.removesuffix(text))
    while held:
        if chunk := held.popleft():
            yield chunk


def _unnamed_file() -> IO[bytes]:
    """A file of no name: in memory where the system has such files, so that no disk can be full."""
    return os.fdopen(os.memfd_create("streams"), "w+b") if sys.platform == "linux" else tempfile.TemporaryFile()


def _chunks_of(process: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    """What a process writes, in chunks as they come."""
    with process.stdout or io.BytesIO() as output:
        if sys.platform == "linux":
            with suppress(OSError):  # more than the system grants a user: it works with less, too
                fcntl.fcntl(output.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        while chunk := output.read(CHUNK_BYTES):
            yield chunk


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
