"""Where a dump server lays the files of a snapshot, and the lists and checksums that it lays beside them.

Here belong paths and lists of both layouts, as bytes by path: a server holds them in memory, a test may write them
under a folder instead. Formats: wikipedia.md, sections 1 and 2.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

JobStatus = Literal["waiting", "in-progress", "done", "failed", "skipped"]

MULTISTREAM = "articlesmultistreamdump"
"""The job whose status says whether a classic snapshot can be fetched."""

_FILE = re.compile(
    r"-pages-articles(?P<multistream>-multistream(?:-index)?)?(?P<number>\d*)\.(?:xml|txt)(?:-p\d+p\d+)?\."
)


@dataclass(slots=True)
class ClassicSnapshot:
    """A classic snapshot whose jobs move on: `jobs` holds their status by name, `files` their files by name."""

    wiki: str
    day: date
    files: dict[str, bytes]
    jobs: dict[str, JobStatus]
    published: set[str] = field(default_factory=set)
    updates: int = 0

    def served(self, *, lists: bool = True) -> dict[str, bytes]:
        """Give what the server holds of it now, by path from its root.

        Files are there once their job was done, and stay when it runs again. Without `lists` only they are.
        """
        self.published |= {job for job, status in self.jobs.items() if status == "done"}
        names = {name: data for name, data in self.files.items() if _job(name, self.files) in self.published}
        held = {self.folder + name: data for name, data in names.items()}
        if lists:
            held[f"{self.folder}dumpstatus.json"] = self._dumpstatus()
            for kind in ("md5", "sha1"):
                held[f"{self.folder}{self.wiki}-{self.day:%Y%m%d}-{kind}sums.txt"] = sums(names, kind)
        return held

    @property
    def folder(self) -> str:
        """The path of its folder, with `/` at both ends."""
        return f"/{self.wiki}/{self.day:%Y%m%d}/"

    def _dumpstatus(self) -> bytes:
        updated = datetime.combine(self.day, datetime.min.time()) + timedelta(days=1, hours=11 + self.updates)
        jobs: dict[str, dict[str, object]] = {}
        for job, status in self.jobs.items():
            jobs[job] = {"status": status, "updated": f"{updated:%Y-%m-%d %H:%M:%S}"}
            names = [name for name in self.files if _job(name, self.files) == job]
            if names and status != "waiting":
                jobs[job]["files"] = dict(self._entries(names, status))
        return json.dumps({"version": "0.8", "jobs": jobs}).encode()

    def _entries(self, names: list[str], status: JobStatus) -> Iterator[tuple[str, dict[str, object]]]:
        for place, name in enumerate(names):
            data = self.files[name]
            if status == "done":
                hashes = {kind: hashlib.new(kind, data, usedforsecurity=False).hexdigest() for kind in ("md5", "sha1")}
                yield name, {"size": len(data), "url": self.folder + name, **hashes}
            elif status == "in-progress" and place == 0:  # being written: there is no way to it yet
                yield name, {"size": len(data) // 2}
            else:
                yield name, {}


def classic(
    wiki: str, day: date, parts: Mapping[str, bytes], status: JobStatus, jobs: Mapping[str, JobStatus]
) -> ClassicSnapshot:
    """Make a classic snapshot of these files, their jobs all in `status`; `jobs` adds to them or says otherwise.

    Raises `ValueError` for a file that no job of pages makes.
    """
    own = dict.fromkeys([MULTISTREAM, *(_job(name, parts) for name in parts)], status)
    return ClassicSnapshot(wiki, day, dict(parts), {**own, **jobs})


def exports(wiki: str, day: date, parts: Mapping[str, bytes], *, complete: bool = True) -> dict[str, bytes]:
    """Give an exports snapshot by path; its list of checksums is there only when it is `complete`."""
    folder = f"/other/mediawiki_content_current/{wiki}/{day:%Y-%m-%d}/xml/bzip2/"
    held = {folder + name: data for name, data in parts.items()}
    if complete:
        held[f"{folder}SHA256SUMS"] = sums(parts, "sha256")
    return held


def sums(files: Mapping[str, bytes], kind: str) -> bytes:
    """Give a list of checksums: hexadecimal, two blanks and the name, a line a file."""
    digests = {name: hashlib.new(kind, data, usedforsecurity=False).hexdigest() for name, data in files.items()}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def with_listed(sums_file: bytes, name: str, data: bytes = b"") -> bytes:
    """Add a line to a list of SHA-256 sums, also for a hostile name such as `../../etc/x`."""
    return sums_file + sums({name: data}, "sha256")


def write_tree(root: Path, files: Mapping[str, bytes]) -> None:
    """Write files given by their path on the server under the folder `root`, lists of a snapshot last."""
    for path, data in sorted(files.items(), key=lambda file: file[0].endswith(("SHA256SUMS", "dumpstatus.json"))):
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _job(name: str, names: Mapping[str, bytes]) -> str:
    """The job that makes a file: where there are numbered parts, the one without a number is the recombined one."""
    found = _FILE.search(name)
    if found is None:
        raise ValueError(f"{name}: no job of pages-articles makes such a file")
    kind = MULTISTREAM if found["multistream"] else "articlesdump"
    others = (_FILE.search(other) for other in names)
    numbered = any(o and o["number"] and bool(o["multistream"]) == bool(found["multistream"]) for o in others)
    return f"{kind}recombine" if numbered and not found["number"] else kind
