"""Landing place: what lies in a snapshot's folder already, held against the offer that is to be fetched into it.

Here belongs every reason to refuse before a byte is fetched but the size of the disk. Nothing is fetched here, and
nothing that lies there is changed.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from valbench_dagster.dumps.catalogue import Offer, RemoteFile
from valbench_dagster.dumps.manifest import (
    FETCHING,
    MANIFEST,
    Journal,
    Manifest,
    ManifestFile,
    published_hash,
    read_manifest,
)
from valbench_dagster.dumps.names import UNFINISHED

_OWN = (FETCHING, MANIFEST, f"{FETCHING}.tmp", f"{MANIFEST}.tmp")


@dataclass(frozen=True, slots=True)
class LandingPlace:
    """A folder and an offer: `finished` and `unnoted` files lie there (of the second, no hash is noted), others not.

    `noted` is what is known of files by name. Nothing else means anything where there are `problems`.
    """

    folder: Path
    offered: tuple[RemoteFile, ...]
    journal: Journal
    noted: dict[str, ManifestFile]
    finished: tuple[RemoteFile, ...]
    unnoted: tuple[RemoteFile, ...]
    to_fetch: tuple[RemoteFile, ...]
    has_manifest: bool
    problems: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to do."""
        return self.has_manifest and not self.journal.found and len(self.finished) == len(self.offered)

    @property
    def bytes_missing(self) -> int:
        """The bytes to fetch, of files whose size is known."""
        return sum(max(0, (file.bytes or 0) - self._begun(file.name)) for file in self.to_fetch)

    def begin(self) -> None:
        """Mark the folder, and carry over what is noted of files in it."""
        for name in (f"{FETCHING}.tmp", f"{MANIFEST}.tmp"):
            (self.folder / name).unlink(missing_ok=True)  # of an attempt that was killed
        self.journal.open()
        for file in self.finished:
            self.journal.finish(self.noted[file.name])

    def _begun(self, name: str) -> int:
        part = self.folder / f"{name}.part"
        return part.stat().st_size if part.exists() else 0


def look_at(offer: Offer, folder: Path) -> LandingPlace:
    """Hold what lies in `folder` (which need not exist) against `offer`; raises `ManifestError`."""
    journal = Journal(folder, offer.layout)
    manifest = read_manifest(folder)
    offered = (*offer.files, *offer.indexes)
    noted = {**({file.name: file for file in manifest.files} if manifest else {}), **journal.finished}
    for file in offered:  # a hash that was published since is compared after all
        if file.name in noted and noted[file.name].published is None and published_hash(file):
            del noted[file.name]
    there = [file for file in offered if (folder / file.name).exists()] if not _name_problems(offered) else []
    finished = tuple(file for file in there if file.name in noted)
    problems = [
        *_offer_problems(offer, folder),
        *_name_problems(offered),
        *_layout_problems(offer, folder, journal, manifest),
        *_foreign(folder, offered),
        *(problem for file in there if (problem := _difference(file, folder / file.name, noted.get(file.name)))),
    ]
    return LandingPlace(
        folder=folder,
        offered=offered,
        journal=journal,
        noted=noted,
        finished=finished,
        unnoted=tuple(file for file in there if file.name not in noted),
        to_fetch=tuple(file for file in offered if file not in there),
        has_manifest=manifest is not None,
        problems=tuple(problems),
    )


def _offer_problems(offer: Offer, folder: Path) -> list[str]:
    problems = []
    if folder.name != offer.snapshot:
        problems.append(f"{folder} is no folder for {offer.snapshot}: expected that name.")
    if not offer.complete:
        problems.append(f"Snapshot {offer.snapshot} is not complete at its source: {offer.missing}")
    elif not offer.files:
        problems.append(f"Snapshot {offer.snapshot} has no file at its source.")
    return problems


def _name_problems(offered: tuple[RemoteFile, ...]) -> list[str]:
    """Names that would leave the folder, hide in it, or fall together (on a disk that minds no case, too)."""
    problems = [
        f"{file.name!r} is no name that a file is given here."
        for file in offered
        if not file.name
        or Path(file.name).name != file.name
        or file.name.startswith(("_", "."))
        or file.name.endswith(UNFINISHED)
        or "\\" in file.name
        or not file.name.isprintable()
    ]
    counts = Counter(file.name.casefold() for file in offered)
    return problems + [f"{count} files are named {name}." for name, count in counts.items() if count > 1]


def _layout_problems(offer: Offer, folder: Path, journal: Journal, manifest: Manifest | None) -> list[str]:
    layouts: set[str] = {manifest.layout} if manifest else {journal.layout} if journal.found else set()
    if not layouts and any((folder / file.name).exists() for file in (*offer.files, *offer.indexes)):
        layouts = {"folder"}
    problems = [
        f"{folder} is of layout {layout}, the offer of layout {offer.layout}: the layout of a snapshot never changes, "
        "since the same date of another is another set of revisions."
        for layout in sorted(layouts - {offer.layout})
    ]
    if manifest and manifest.snapshot != offer.snapshot:
        problems.append(f"{folder / MANIFEST} is of {manifest.snapshot}, expected {offer.snapshot}.")
    return problems


def _foreign(folder: Path, offered: tuple[RemoteFile, ...]) -> list[str]:
    """Files that would be taken for part of the snapshot, or keep it from ever being whole."""
    own = {*_OWN, *(name for file in offered for name in (file.name, f"{file.name}.part"))}
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [
        f"{folder / name} is none of the files of the offer: move it away."
        for name in names
        if name not in own and (name.endswith(UNFINISHED) or (".xml" in name and not name.startswith((".", "_"))))
    ]


def _difference(file: RemoteFile, path: Path, noted: ManifestFile | None) -> str | None:
    """How a file that lies there is not the one that is offered; null where nothing is known to differ."""
    size, expected = path.stat().st_size, noted.bytes if noted else file.bytes
    for known in (expected, file.bytes):
        if known is not None and size != known:
            return f"{path} has {size} bytes, expected {known}: delete it."
    published = published_hash(file)
    if noted and noted.published and published and noted.published != published:
        return (
            f"{path} was fetched when {noted.published.kind} {noted.published.value} was published, now it is "
            f"{published.kind} {published.value}: files of a snapshot never change under its key. Take another date, "
            "or move the folder away."
        )
    return None
