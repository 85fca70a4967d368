"""Decoding: a dump file as it lies to the bytes of its XML, in constant memory.

Here belongs what is known of containers: plain XML, bzip2 of one stream or many, gzip. The container is told by the
first bytes, never by the name. What the XML says is `pages.py`; which files a snapshot has is `files.py`.
"""

import bz2
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

READ_BYTES = 1 << 18
"""Most bytes that are read from a file at a time, and most that are decoded at a time."""

_BZIP2_STARTS = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
_REFUSED = {
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "ZIP",
}


class DumpError(Exception):
    """A dump that cannot be read to its end: the message names the file, the place and what was expected there."""


class _Bzip2:
    """One bzip2 stream, fed in steps; every block and the stream carry a checksum, which `bz2` compares."""

    name = "bzip2"
    failures = (OSError, ValueError)

    def __init__(self) -> None:
        self._inner = bz2.BZ2Decompressor()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def hungry(self) -> bool:
        """Whether nothing more comes out without more going in."""
        return self._inner.needs_input

    def step(self, data: bytes) -> bytes:
        return self._inner.decompress(data, READ_BYTES)


class _Gzip:
    """One gzip member, fed in steps; `zlib` compares its checksum and length."""

    name = "gzip"
    failures = (zlib.error,)

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def hungry(self) -> bool:
        return not self._inner.unconsumed_tail

    def step(self, data: bytes) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, READ_BYTES)


def _starts_bzip2(head: bytes) -> bool:
    return head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in _BZIP2_STARTS


def _starts_gzip(head: bytes) -> bool:
    return head[:3] == b"\x1f\x8b\x08"


def _read(source: BinaryIO, at_least: int, have: bytes = b"") -> bytes:
    """`have` and what follows it, until it is `at_least` long or the source ends (pipes give short reads)."""
    while len(have) < at_least and (more := source.read(READ_BYTES)):
        have += more
    return have


def _decompressed(
    source: BinaryIO, head: bytes, kind: Callable[[], _Bzip2 | _Gzip], starts: Callable[[bytes], bool], name: str
) -> Iterator[bytes]:
    """The decoded bytes of streams of one kind laid end to end, each checked to its end."""
    pending, offset, stream_start = head, 0, 0  # `offset` counts compressed bytes up to `pending`
    while pending:
        if not starts(pending):
            raise DumpError(
                f"{name}: garbage at compressed byte {offset}: expected the end of the file or another "
                f"{kind().name} stream, found {pending[:10]!r}; fetch or make the file again"
            )
        stream, stream_start = kind(), offset
        while not stream.eof:
            if stream.hungry and not pending and not (pending := source.read(READ_BYTES)):
                raise DumpError(
                    f"{name}: cut short: the file ends at compressed byte {offset}, inside the {stream.name} stream "
                    f"that starts at byte {stream_start}; expected the end of that stream; fetch the file again"
                )
            try:
                decoded = stream.step(pending)
            except stream.failures as error:
                raise DumpError(
                    f"{name}: corrupt {stream.name} data between compressed bytes {offset} and "
                    f"{offset + len(pending)}, in the stream that starts at byte {stream_start}: {error}; expected "
                    "data that agrees with its own checksums; compare the file's hash and fetch it again"
                ) from error
            offset, pending = offset + len(pending), b""
            if decoded:
                yield decoded
        pending = stream.unused_data
        offset -= len(pending)
        pending = _read(source, 10, pending)


def decoded(source: BinaryIO, name: str) -> Iterator[bytes]:
    """The XML inside `source` as chunks of at most `READ_BYTES` bytes, none empty; `name` is for messages.

    `source` is read once, forwards only, so a pipe will do. Raises `DumpError`, after all bytes before the fault, on
    an empty file, on data that is no XML and none of the containers, on compressed data that is cut short or
    corrupt, and on anything after the last stream (`bz2` itself would ignore that: wikipedia.md, section 5).
    """
    head = _read(source, 10)
    if not head:
        raise DumpError(f"{name}: the file is empty; expected a MediaWiki export (.xml, .xml.bz2 or .xml.gz)")
    if _starts_bzip2(head):
        yield from _decompressed(source, head, _Bzip2, _starts_bzip2, name)
        return
    if _starts_gzip(head):
        yield from _decompressed(source, head, _Gzip, _starts_gzip, name)
        return
    if not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        kind = next((label for magic, label in _REFUSED.items() if head.startswith(magic)), None)
        found = f"{kind} data" if kind else f"a file that begins with {head[:10]!r}"
        raise DumpError(
            f"{name}: expected a MediaWiki export as XML, bzip2 or gzip, found {found}"
            + ("; decompress it first" if kind else "")
        )
    while head:
        for at in range(0, len(head), READ_BYTES):
            yield head[at : at + READ_BYTES]
        head = source.read(READ_BYTES)


@contextmanager
def open_decoded(path: Path) -> Iterator[Iterator[bytes]]:
    """Open the file at `path` and give its decoded chunks (see `decoded`); it is closed at the end of the block.

    Raises `OSError` where the file cannot be opened.
    """
    with path.open("rb") as source:
        yield decoded(source, path.name)
