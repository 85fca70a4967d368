"""Retention: which snapshots lose their dump files or their facts, by `VALBENCH_KEEP_DUMPS` and `VALBENCH_KEEP_FACTS`.

`plan` decides and changes nothing, `apply` does what a plan says. What can be had again goes: fetched files, and facts
that were made from them and the ledger. What cannot stays, whatever is set: the ledger, files placed by hand, the
newest snapshot of a wiki, and a snapshot that somebody is at work on.
"""

import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from valbench_dagster.dumps.files import state_of
from valbench_dagster.dumps.manifest import FETCHING, MANIFEST, ManifestError, read_manifest
from valbench_dagster.dumps.names import DumpFilesError, is_snapshot
from valbench_dagster.records import CallCost, CheckFailure, Judge, Model, Pair, Record, Worker
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.warehouse import SOURCES

DAY_S = 86_400.0
"""Longer than any reading of facts takes: so old are files that no pointer names when they go."""

_OF_NO_SNAPSHOT = (Model, Worker, Judge, CallCost)
_GOING = ".going"
_UNFINISHED = "a fetch is under way, or broke off: end it (valbench snapshot fetch), or delete the folder yourself"

What = Literal["dump files", "facts"]


@dataclass(frozen=True, slots=True)
class Share:
    """What one snapshot takes on the disk of one kind, and why it goes or stays."""

    snapshot: str
    what: What
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What would go, oldest first, and what is old enough to go and stays for a reason of its own."""

    removals: tuple[Share, ...]
    kept: tuple[Share, ...]

    @property
    def bytes(self) -> int:
        """How much would be freed."""
        return sum(share.bytes for share in self.removals)


def plan(project: Project, busy: Collection[str] = ()) -> PrunePlan:
    """Decide what goes; `busy` are the snapshots that a run is at work on.

    Of each wiki the newest snapshots with whole dump files keep these, the newest with pairs keep all their facts, as
    many as the settings say, and everything newer stays too. Raises `FactsError` on facts that cannot be listed.
    """
    folders = _folders(project.settings.dumps)
    dumps = _dump_shares(folders, project.settings.keep_dumps, busy)
    facts = _fact_shares(project, folders, project.settings.keep_facts, busy)
    removals = [share for share, goes in (*dumps, *facts) if goes]
    kept = [share for share, goes in (*dumps, *facts) if not goes]
    return PrunePlan(tuple(removals), tuple(kept))


def apply(project: Project, planned: PrunePlan) -> list[str]:
    """Do what a plan says and sweep what was left behind before; give the paths of the fact files that are deleted.

    Killed in between, another call ends it: a folder of dumps leaves its name in one rename, facts lose their pointers
    first, the last stage's before those of the stage it was made from. Files of facts go when they are a day old.
    Raises `DumpFilesError` where a fetch has begun since, with everything else done.
    """
    dumps = project.settings.dumps
    problems = []
    _delete_leftovers(dumps)
    for share in planned.removals:
        if share.what == "facts":
            for record, partition in _facts_of(project, share.snapshot):
                project.facts.withdraw(record, partition)
        elif not _take_away(dumps / share.snapshot):
            problems.append(f"Snapshot {share.snapshot}: a fetch has begun; its dump files stay.")
    _delete_leftovers(dumps)
    swept = project.facts.sweep(DAY_S)
    if problems:
        raise DumpFilesError(problems, "Run again when it has ended: valbench prune")
    return swept


def outdated(
    held: Iterable[str], whole: Iterable[str], keep: int | None, setting: str, kind: str
) -> list[tuple[str, str]]:
    """The keys older than the `keep` newest whole ones of their wiki, oldest first, each with the reason to go.

    Null keeps all. `setting` and `kind` are words for the reason.
    """
    if keep is None:
        return []
    dates: dict[str, list[str]] = defaultdict(list)
    for key in whole:
        wiki, _, day = key.rpartition("-")
        dates[wiki].append(day)
    oldest_kept = {wiki: sorted(days)[-keep] for wiki, days in dates.items() if len(days) >= keep}
    newest = f"the newest {kind} of its wiki" if keep == 1 else f"the {keep} newest {kind} of its wiki"
    old = [key for key in held if key[-8:] < oldest_kept.get(key[:-9], "")]
    return [(key, f"older than {newest} ({setting})") for key in sorted(old, key=lambda key: (key[-8:], key))]


@dataclass(frozen=True, slots=True)
class _Folder:
    """A snapshot's folder of dump files; `state` as `state_of` has it, or `unreadable`."""

    path: Path
    state: str


def _folders(dumps: Path) -> dict[str, _Folder]:
    paths = sorted(dumps.iterdir()) if dumps.is_dir() else []
    return {path.name: _Folder(path, _state(path)) for path in paths if path.is_dir() and is_snapshot(path.name)}


def _dump_shares(folders: Mapping[str, _Folder], keep: int | None, busy: Collection[str]) -> list[tuple[Share, bool]]:
    """Dump files older than those that the setting keeps, each with whether they go."""
    whole = [key for key, folder in folders.items() if folder.state in ("fetched", "by hand")]
    shares = []
    for key, reason in outdated(folders, whole, keep, "VALBENCH_KEEP_DUMPS", "with dump files"):
        against = "a run is at work on it" if key in busy else _against_dump(folders[key])
        share = Share(key, "dump files", _bytes_in(folders[key].path), against or reason)
        shares.append((share, against is None))
    return shares


def _against_dump(folder: _Folder) -> str | None:
    """Why dump files stay although they are old enough to go; null where nothing speaks for them."""
    if folder.state == "by hand":
        return "placed by hand, so it may be the only copy: delete the folder yourself"
    if folder.state != "fetched":
        return _UNFINISHED if folder.state == "unfinished" else "its manifest cannot be read: look into the folder"
    manifest = read_manifest(folder.path)
    own = {MANIFEST, *(file.name for file in manifest.files)} if manifest else set()
    if foreign := sorted(path.name for path in folder.path.iterdir() if path.name not in own):
        return f"holds what was not fetched: {', '.join(foreign[:3])}"
    return None


def _fact_shares(
    project: Project, folders: Mapping[str, _Folder], keep: int | None, busy: Collection[str]
) -> list[tuple[Share, bool]]:
    """Facts of snapshots older than those that the setting keeps, each with whether they go."""
    held: dict[str, list[tuple[type[Record], str]]] = defaultdict(list)
    for record, partition, snapshot in _partitions(project) if keep is not None else ():
        held[snapshot].append((record, partition))
    shares = []
    for key, reason in outdated(held, project.facts.partitions(Pair), keep, "VALBENCH_KEEP_FACTS", "with pairs"):
        against = "a run is at work on it" if key in busy else None
        if key in folders and folders[key].state == "unfinished":
            against = _UNFINISHED
        size = sum(project.facts.size(record, partition) for record, partition in held[key])
        shares.append((Share(key, "facts", size, against or reason), against is None))
    return shares


def _partitions(project: Project) -> Iterator[tuple[type[Record], str, str]]:
    """Every partition of facts that is of a snapshot, with it: of the last stage first."""
    for record in reversed(SOURCES):
        # Failures of checks are kept under the fact and the name of the check.
        place = 2 if record is CheckFailure else 0
        for partition in project.facts.partitions(record) if record not in _OF_NO_SNAPSHOT else []:
            yield record, partition, partition.split("/")[place]


def _facts_of(project: Project, snapshot: str) -> list[tuple[type[Record], str]]:
    return [(record, partition) for record, partition, of in _partitions(project) if of == snapshot]


def _take_away(folder: Path) -> bool:
    """Let a folder of dumps vanish at once; give false where a fetch holds it."""
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            if (folder / FETCHING).exists():
                return False
            if folder.is_dir():
                folder.rename(folder.with_name(f".{folder.name}{_GOING}"))
    except Timeout:
        return False
    return True


def _delete_leftovers(dumps: Path) -> None:
    """Delete the folders that have left their name, those of a killed attempt too."""
    for path in sorted(dumps.glob(f".*{_GOING}")) if dumps.is_dir() else []:
        if is_snapshot(path.name[1 : -len(_GOING)]):
            shutil.rmtree(path)


def _state(folder: Path) -> str:
    try:
        return state_of(folder)
    except ManifestError:
        return "unreadable"


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
