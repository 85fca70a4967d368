"""Fetch: the files of an offer into a snapshot's folder, resumable and verified.

A folder in the middle of it is never whole: `_FETCHING.part` (see `manifest`) lies there until the last file has its
final name and the manifest is written. Whoever is interrupted or killed calls `fetch` again. Here belongs which files
are fetched, by how many threads, and what their errors add up to; one file is `part.py`.
"""

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from valbench_dagster.dumps.catalogue import NotThereError, Offer, RemoteFile
from valbench_dagster.dumps.fetch_progress import FetchProgress, Tally
from valbench_dagster.dumps.http import DumpServer
from valbench_dagster.dumps.landing_place import LandingPlace, look_at
from valbench_dagster.dumps.manifest import Manifest, ManifestFile, PublishedHash, write_manifest
from valbench_dagster.dumps.names import DumpFilesError
from valbench_dagster.dumps.part import Part, check_finished
from valbench_dagster.dumps.sources import (
    ForbiddenError,
    GaveUpError,
    InterruptedTransferError,
    Source,
    TransferError,
)
from valbench_dagster.dumps.store_bytes import StoreSource

__all__ = ["FetchError", "FetchProgress", "FetchedFile", "fetch"]

RESERVE_BYTES = 1 << 30
"""What a fetch leaves free on the disk."""
STORE_THREADS = 4
TELL_EVERY_S = 0.3
GAVE_UP_AT_MOST = 2
"""So many files may fail after many tries; then no other is begun, since it is hardly about the files."""


class FetchError(DumpFilesError):
    """A fetch that did not come to its end; `faults` holds the errors of single files. What was finished is kept."""

    def __init__(self, problems: Sequence[str], remedy: str, faults: Sequence[Exception] = ()) -> None:
        super().__init__(problems, remedy)
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that lies in the folder whole; `published` is the hash that it agreed with, null where there is none.

    `fetched` is false where it lay there before.
    """

    path: Path
    role: str
    bytes: int
    sha256: str
    published: PublishedHash | None
    fetched: bool


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def fetch(
    offer: Offer,
    folder: Path,
    server: DumpServer | None,
    *,
    progress: Callable[[FetchProgress], None] | None = None,
    reserve_bytes: int = RESERVE_BYTES,
    free_bytes: Callable[[Path], int] = _free_bytes,
    clock: Callable[[], float] = time.monotonic,
) -> list[FetchedFile]:
    """Bring all files of an offer into `folder`, which is `dumps/<snapshot>`; gives them in the order of the offer.

    `server` is null for an offer of a store. Files that lie there are not fetched again. `progress` is called from this
    thread, a few times a second at most. Raises `FetchError` with every problem: before a byte is fetched, where the
    offer is not complete, is of another layout or disagrees with what lies there, another process fetches it, or the
    disk is too small; after the rest is done, where files failed. Raises `ManifestError` where the manifest is
    unreadable. When interrupted, threads end first, and their bytes stay for the next call; the server is then of no
    more use.
    """
    if (server is None) != (offer.layout == "store"):
        raise ValueError(
            f"an offer of layout {offer.layout} is fetched {'from' if server is None else 'without'} a server"
        )
    resume = f"Run: valbench snapshot fetch {offer.snapshot}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            place = look_at(offer, folder)
            if place.problems:
                raise FetchError(place.problems, f"Nothing was fetched. Put it right. {resume}")
            if place.is_whole:
                return [_fetched(folder, place.noted[file.name], fetched=False) for file in place.offered]
            _refuse_small_disk(place, free_bytes(folder.parent), reserve_bytes, resume)
            folder.mkdir(exist_ok=True)
            place.begin()
            source = server if server is not None else StoreSource()
            threads = server.settings.connections if server is not None else STORE_THREADS
            done = _Fetch(place, source, threads, progress, clock).run(resume)
            write_manifest(folder, _manifest(offer, server, done, place))
            place.journal.close()
    except Timeout:
        raise FetchError([f"{folder}: another process is fetching it."], "Wait for its end, or end it.") from None
    fetched = {each.name for each in place.to_fetch}
    return [_fetched(folder, done[file.name], fetched=file.name in fetched) for file in place.offered]


def _fetched(folder: Path, file: ManifestFile, *, fetched: bool) -> FetchedFile:
    return FetchedFile(folder / file.name, file.role, file.bytes, file.sha256, file.published, fetched)


def _manifest(offer: Offer, server: DumpServer | None, done: dict[str, ManifestFile], place: LandingPlace) -> Manifest:
    return Manifest(
        snapshot=offer.snapshot,
        layout=offer.layout,
        source=offer.files[0].place.rpartition("/")[0] if server is None else server.settings.server,
        fetched_at=datetime.now(UTC),
        offer=offer.fingerprint,
        files=tuple(done[file.name] for file in place.offered),
    )


def _refuse_small_disk(place: LandingPlace, free: int, reserve: int, resume: str) -> None:
    missing = place.bytes_missing
    if missing + reserve > free:
        problem = (
            f"{place.folder}: expected {missing + reserve} bytes free on the disk ({missing} to fetch, {reserve} in "
            f"reserve), found {free}."
        )
        remedy = "Nothing was fetched. Make room, or let VALBENCH_DUMPS name a folder on a larger disk."
        raise FetchError([problem], f"{remedy} {resume}")


class _Fetch:
    """The threads of one fetch."""

    def __init__(
        self,
        place: LandingPlace,
        source: Source,
        threads: int,
        progress: Callable[[FetchProgress], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._place = place
        self._source = source
        self._threads = threads
        self._progress = progress
        self._clock = clock
        self._told = float("-inf")
        self._stop = threading.Event()
        self._tally = Tally({file.name: file.bytes for file in place.offered}, clock)
        self._done: dict[str, ManifestFile] = {}
        self._faults: dict[str, Exception] = {}

    def run(self, resume: str) -> dict[str, ManifestFile]:
        """Finish every file; gives what is noted of each, by name."""
        for file in self._place.finished:
            self._keep(self._place.noted[file.name])
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="fetch")
        try:
            work = [pool.submit(self._one, file, check_only=True) for file in self._place.unnoted]
            work += [pool.submit(self._one, file, check_only=False) for file in self._place.to_fetch]
            self._watch(set(work))
        except BaseException:
            self._stop.set()
            self._source.interrupt()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if self._faults:
            kept = f"{len(self._done)} of {len(self._place.offered)} files are whole and kept"
            faults = {file.name: self._faults[file.name] for file in self._place.offered if file.name in self._faults}
            raise FetchError(
                [str(fault) if name in str(fault) else f"{name}: {fault}" for name, fault in faults.items()],
                f"{kept}, and what came of others. {resume}",
                list(faults.values()),
            )
        return self._done

    def _watch(self, waiting: set[Future[None]]) -> None:
        self._tell()
        while waiting:
            ended, waiting = wait(waiting, timeout=TELL_EVERY_S, return_when=FIRST_COMPLETED)
            for each in ended:
                each.result()  # raises what is no fault of a file
            self._tell(at_last=not waiting)

    def _one(self, file: RemoteFile, *, check_only: bool) -> None:
        """Finish a file, or note its fault; in a thread. Nothing is begun once there is no hope."""
        if self._hopeless():
            return
        try:
            self._keep(self._check(file) if check_only else self._fetch(file))
        except (TransferError, NotThereError, OSError) as fault:
            self._faults[file.name] = fault

    def _keep(self, file: ManifestFile) -> None:
        self._done[file.name] = file
        self._tally.whole(file.name, file.bytes)

    def _hopeless(self) -> bool:
        """Whether what befell one file will befall the others: a refusal, a full disk, a server that is down."""
        faults = list(self._faults.values())
        gave_up = sum(isinstance(fault, GaveUpError) for fault in faults)
        return gave_up >= GAVE_UP_AT_MOST or any(isinstance(fault, ForbiddenError | OSError) for fault in faults)

    def _tell(self, *, at_last: bool = False) -> None:
        now = self._clock()
        if self._progress and (at_last or now - self._told >= TELL_EVERY_S):
            self._told = now
            self._progress(self._tally.progress())

    def _fetch(self, file: RemoteFile) -> ManifestFile:
        return Part(file, self._place.folder, self._source, self._place.journal, self._tally, self._go_on).fetch()

    def _check(self, file: RemoteFile) -> ManifestFile:
        found = check_finished(file, self._place.folder / file.name, self._go_on)
        self._place.journal.finish(found)
        return found

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise InterruptedTransferError("interrupted")
