"""A power cut, in user space: a database's files as the last finished sync left them.

A small library (`power_cut.c`) is loaded before all others into the process that writes; it notes every write and
every sync. When that process is dead, `cut` puts the files back to what a disk surely held at that moment: what was
written to a file before a sync of it began that has ended. Of what was written later, a disk may hold any part: `cut`
lets none survive, or a random half of the sectors of it.

Not part of it: an order of directory entries (a file that was synced once is taken to be found again, one that was
removed to be gone), and disks that lie about their syncs; a test of this module takes syncs back to show what those do.
"""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SOURCE = Path(__file__).with_name("power_cut.c")
SUFFIXES = ("", "-wal", "-journal")
SECTOR = 512
"""Bytes that a disk writes wholly or not at all."""

ABSENT = None if shutil.which("cc") else "no power cut here: there is no C compiler (cc) to build its recorder with"
"""Why there is no power cut here; null where there is one."""

HEAD = struct.Struct("=5q")
"""Of a record: what (a letter), which file (by `SUFFIXES`, from 1), thread, offset, bytes that follow."""


def build(folder: Path) -> Path:
    """Compile the recorder into `folder` and give the library."""
    library = folder / "power_cut.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, f"{' '.join(command)}\n{built.stderr}"
    return library


def recording(library: Path, database: Path, record: Path) -> dict[str, str]:
    """Give what the environment of a process must hold so that what it does to `database` is noted in `record`."""
    return {"LD_PRELOAD": str(library), "RECORDED_FILE": str(database), "RECORD": str(record)}


@dataclass(slots=True)
class _Change:
    """A write of bytes at a place or, without bytes, a cut of the file to a length."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        if len(content) < self.offset:
            content.extend(bytes(self.offset - len(content)))
        if self.data is None:
            del content[self.offset :]
        else:
            content[self.offset : self.offset + len(self.data)] = self.data


@dataclass(slots=True)
class _File:
    """What a disk surely holds of a file (null: no such file), and the changes since."""

    content: bytearray | None
    changes: list[_Change] = field(default_factory=list)
    begun: dict[int, int] = field(default_factory=dict)

    def settle(self, count: int) -> None:
        if self.content is None:
            self.content = bytearray()
        for change in self.changes[:count]:
            change.apply(self.content)
        del self.changes[:count]
        self.begun = {thread: max(0, place - count) for thread, place in self.begun.items()}

    def survive(self, random: Random) -> None:
        """Let a random half of the sectors of what was not synced be on the disk as well."""
        torn = [
            _Change(change.offset + start, change.data[start : start + SECTOR])
            for change in self.changes
            if change.data is not None
            for start in range(0, len(change.data), SECTOR)
            if random.random() < 0.5
        ]
        if torn:
            self.changes = torn
            self.settle(len(torn))


def cut(before: Path, database: Path, record: Path, random: Random | None = None, lost_syncs: int = 0) -> int:
    """Put `database` and its files to what a disk held when the recorded process died; gives the number of syncs.

    `before` is a copy of them from before it began (`keep`). With `random`, half of what was written later survives
    in places. `lost_syncs` takes back the last ones: a disk that lies.
    """
    files = {place: _File(_read(_beside(before, suffix))) for place, suffix in enumerate(SUFFIXES, start=1)}
    records = list(_records(record))
    syncs = [place for place, (what, *_) in enumerate(records) if what == "S"]
    lies = frozenset(syncs[max(0, len(syncs) - lost_syncs) :])
    for place, (what, number, thread, offset, data) in enumerate(records):
        file = files[number]
        if what == "W":
            file.changes.append(_Change(offset, data))
        elif what == "T":
            file.changes.append(_Change(offset, None))
        elif what == "B":
            file.begun[thread] = len(file.changes)
        elif what == "S" and place not in lies:
            file.settle(file.begun.pop(thread))
        elif what == "U":
            files[number] = _File(None)
    for number, suffix in enumerate(SUFFIXES, start=1):
        file, path = files[number], _beside(database, suffix)
        if random is not None:
            file.survive(random)
        path.unlink(missing_ok=True)
        if file.content is not None:
            path.write_bytes(file.content)
    # The index of the log lies in memory that is shared, not on the disk.
    _beside(database, "-shm").unlink(missing_ok=True)
    return len(syncs)


def keep(database: Path, copy: Path) -> None:
    """Copy the database and its files as they are, for `cut` to start from; nobody may have it open."""
    for suffix in SUFFIXES:
        _beside(copy, suffix).unlink(missing_ok=True)
        if _beside(database, suffix).exists():
            shutil.copyfile(_beside(database, suffix), _beside(copy, suffix))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _read(path: Path) -> bytearray | None:
    return bytearray(path.read_bytes()) if path.exists() else None


def _records(record: Path) -> Iterator[tuple[str, int, int, int, bytes]]:
    """Read what was recorded; the last record may have been cut short by the death of the process."""
    data, at = memoryview(record.read_bytes()), 0
    while at + HEAD.size <= len(data):
        what, number, thread, offset, length = HEAD.unpack_from(data, at)
        at += HEAD.size
        if at + length > len(data):
            return
        yield chr(what), number, thread, offset, bytes(data[at : at + length])
        at += length
