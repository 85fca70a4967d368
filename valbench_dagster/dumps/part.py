"""Part: one file of an offer, from its first byte to its final name.

    <name>.part  ->  <name>        the name changes only once size and hash are those that were published

What lies in a `.part` is believed as little as the network: to go on from there it is read and hashed again. Here
belongs when to go on, when to start over and what is final; how long to wait is `sources`, which files `fetch`.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from valbench_dagster.dumps.catalogue import NotThereError, RemoteFile
from valbench_dagster.dumps.fetch_progress import Tally
from valbench_dagster.dumps.manifest import Journal, ManifestFile, PublishedHash, published_hash
from valbench_dagster.dumps.sources import Body, PassingError, RangeRefusedError, Retries, Source, TransferError

READ_BYTES = 1 << 20


class ReplacedError(TransferError):
    """The file at the source is not the one that was listed, or not the one that was begun."""


class HashMismatchError(TransferError):
    """A file has the size that was listed and other bytes, or more bytes than that."""


class _Hashes:
    """The hashes of bytes seen so far, and how many they are; SHA-256 always, and the kind that was published."""

    def __init__(self, published: PublishedHash | None) -> None:
        kinds = {"sha256", published.kind if published else "sha256"}
        self._published = published
        self._each = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
        self.bytes = 0

    def update(self, chunk: bytes) -> None:
        for each in self._each.values():
            each.update(chunk)
        self.bytes += len(chunk)

    def read(self, source: BinaryIO, go_on: Callable[[], None]) -> None:
        while chunk := source.read(READ_BYTES):
            self.update(chunk)
            go_on()

    def sha256(self) -> str:
        return self._each["sha256"].hexdigest()

    def difference(self) -> str | None:
        """What was expected and found where the published hash is another; null where it agrees, or there is none."""
        if self._published is None:
            return None
        found = self._each[self._published.kind].hexdigest()
        expected = f"expected {self._published.kind} {self._published.value}, found {found} in {self.bytes} bytes"
        return None if found == self._published.value else expected


class Landing:
    """A `.part` file, and the hashes of all that lies in it."""

    def __init__(self, path: Path, published: PublishedHash | None) -> None:
        """Open or create the file; nothing is read yet."""
        self._path = path
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        self._published = published
        self.hashes = _Hashes(published)

    def __enter__(self) -> "Landing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        """How many bytes lie there."""
        return self.hashes.bytes

    def read_back(self, go_on: Callable[[], None]) -> None:
        """Hash what an attempt before has left; `go_on` is called now and then, and may raise."""
        self.hashes.read(self._file, go_on)

    def write(self, chunk: bytes) -> None:
        """Add to the end."""
        self._file.write(chunk)
        self.hashes.update(chunk)

    def start_over(self) -> None:
        """Be empty again."""
        self._file.seek(0)
        self._file.truncate()
        self.hashes = _Hashes(self._published)

    def finish(self, target: Path) -> None:
        """Give the file its final name, once its bytes are on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.rename(target)


class Part:
    """The fetching of one file. Of one thread; `go_on` is called between chunks and raises when there is to be an end.

    Starts over once where the file was replaced meanwhile, and once where its bytes are wrong; from then on the server
    is asked, not the mirror. Then it raises `ReplacedError` or `HashMismatchError`, and nothing is left of the file.
    After any other error (`TransferError`, `NotThereError`, `OSError`) what came so far stays, for the next attempt.
    """

    def __init__(
        self, file: RemoteFile, folder: Path, source: Source, journal: Journal, tally: Tally, go_on: Callable[[], None]
    ) -> None:
        """Touch nothing yet."""
        self._file = file
        self._target = folder / file.name
        self._source = source
        self._journal = journal
        self._tally = tally
        self._go_on = go_on
        self._size = file.bytes if file.bytes is not None else journal.total(file.name)
        self._published = published_hash(file)
        self._from_mirror = source.has_mirror
        self._furthest = 0

    def fetch(self) -> ManifestFile:
        """Fetch the file, or what is missing of it."""
        name, path = self._file.name, self._target.with_name(f"{self._file.name}.part")
        retries = self._source.retries(lambda reason: self._tally.waits(name, reason))
        with Landing(path, self._published) as landing:
            landing.read_back(self._go_on)
            if self._size is not None and landing.size > self._size:
                landing.start_over()  # of another file of that name, or garbage
            self._tally.lies(name, landing.size)
            self._furthest = landing.size
            try:
                self._complete(landing, retries)
            except (ReplacedError, HashMismatchError):
                path.unlink()
                raise
            landing.finish(self._target)
        done = _manifest_file(self._file, landing.hashes)
        self._journal.finish(done)
        self._tally.whole(name, done.bytes)
        return done

    def _complete(self, landing: Landing, retries: Retries) -> None:
        """Receive until size and hash are right."""
        met: set[type[Exception]] = set()
        while True:
            try:
                if landing.size != self._size:
                    self._receive(landing, retries)
                self._compare(landing)
                return
            except PassingError as fault:
                retries.wait_after(fault)
            except NotThereError:
                if not self._from_mirror:
                    raise
                self._leave_mirror()
            except (ReplacedError, HashMismatchError) as error:
                self._start_over(landing)
                self._journal.forget(self._file.name)
                self._size = self._file.bytes
                if type(error) in met:
                    raise
                met.add(type(error))
                if self._from_mirror:
                    self._leave_mirror()

    def _start_over(self, landing: Landing) -> None:
        landing.start_over()
        self._furthest = 0
        self._tally.lies(self._file.name, 0)

    def _leave_mirror(self) -> None:
        self._from_mirror = False
        self._tally.missed(self._file.name)

    def _receive(self, landing: Landing, retries: Retries) -> None:
        """Take in one body, as far as it goes; raises `PassingError` where that is not far enough."""
        name, place = self._file.name, self._file.place
        self._go_on()
        try:
            with self._source.body(place, landing.size, from_mirror=self._from_mirror) as body:
                size = self._sized(body, landing)
                if body.start != landing.size:  # ranges were not heeded
                    landing.start_over()
                for chunk in body.chunks:
                    self._go_on()
                    if landing.size + len(chunk) > size:
                        raise HashMismatchError(
                            f"{name}: expected {size} bytes from {body.host}, found more: cut there"
                        )
                    landing.write(chunk)
                    self._tally.lies(name, landing.size, received=len(chunk))
                    if landing.size > self._furthest:
                        self._furthest = landing.size
                        retries.progressed()
        except RangeRefusedError as error:
            if self._size is None and error.total == landing.size:  # all of it lies there
                self._size = landing.size
                return
            expected = "more" if self._size is None else f"{self._size} bytes in all"
            raise ReplacedError(
                f"{name}: expected {expected} after the {landing.size} bytes that lie there, found "
                f"{'no more' if error.total is None else error.total}: {error}"
            ) from error
        if landing.size < size:
            raise PassingError(f"{place}: expected {size} bytes, found an end after {landing.size}")

    def _sized(self, body: Body, landing: Landing) -> int:
        """The size of the file; raises `ReplacedError` where `body` is not of the file that was listed and begun."""
        name = self._file.name
        size = body.total if self._size is None else self._size
        if size is None:
            raise TransferError(f"{name}: neither the list nor {body.host} says how many bytes it has")
        if body.total not in (None, size):
            raise ReplacedError(f"{name}: expected {size} bytes, found {body.total} at {body.host}")
        before = self._journal.validator(name, body.host)
        if landing.size and body.start and before and body.validator and before != body.validator:
            raise ReplacedError(
                f"{name}: replaced at {body.host} while it was fetched: expected {before}, found {body.validator}"
            )
        if self._size is None:
            self._size = size
            self._tally.sized(name, size)
        self._journal.begin(name, size, body.host, body.validator)
        return size

    def _compare(self, landing: Landing) -> None:
        if difference := landing.hashes.difference():
            raise HashMismatchError(f"{self._file.name}: {difference} from {self._file.place}")


def _manifest_file(file: RemoteFile, hashes: _Hashes) -> ManifestFile:
    return ManifestFile(
        name=file.name, role=file.role, bytes=hashes.bytes, sha256=hashes.sha256(), published=published_hash(file)
    )


def check_finished(file: RemoteFile, path: Path, go_on: Callable[[], None]) -> ManifestFile:
    """Hash a file that lies there whole under its final name, of whose fetching no note is left.

    Raises `HashMismatchError` where it is not what was published; the file stays.
    """
    hashes = _Hashes(published_hash(file))
    with path.open("rb") as source:
        hashes.read(source, go_on)
    if difference := hashes.difference():
        raise HashMismatchError(f"{path} lies there with other bytes: {difference}; delete it")
    return _manifest_file(file, hashes)
