"""Manifest: what was fetched into a snapshot's folder, and what is known of a fetch under way.

    _MANIFEST.json     written last: the files of the snapshot, their hashes, where they came from
    _FETCHING.part     there from before the first byte until after the manifest: so the folder is not whole (`files`)

Both are replaced whole, never edited: whoever is killed leaves the old one. Here belongs what these two files say; who
writes them when is `fetch`.
"""

import os
import threading
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from valbench_dagster.dumps.catalogue import RemoteFile

MANIFEST = "_MANIFEST.json"
FETCHING = "_FETCHING.part"

Layout = Literal["classic", "exports", "store"]
M = TypeVar("M", bound=BaseModel)


class ManifestError(Exception):
    """A manifest that cannot be read: the message names it, what is wrong and what to do."""


class PublishedHash(BaseModel):
    """A hash that the producer published; lower-case hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sha256", "sha1", "md5"]
    value: Annotated[str, Field(pattern="^[0-9a-f]{32,64}$")]


def published_hash(file: RemoteFile) -> PublishedHash | None:
    """The strongest hash that was published of a file; null where none was."""
    if file.sha256 is not None:
        return PublishedHash(kind="sha256", value=file.sha256)
    if file.sha1 is not None:
        return PublishedHash(kind="sha1", value=file.sha1)
    return None if file.md5 is None else PublishedHash(kind="md5", value=file.md5)


class ManifestFile(BaseModel):
    """One file that lies there whole: its bytes and SHA-256, and the published hash that it agreed with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: Literal["articles", "index"]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    published: PublishedHash | None


class Manifest(BaseModel):
    """What a snapshot's folder holds, all of it whole; `source` is the server's or store's URL, times are UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    snapshot: str
    layout: Layout
    source: str
    fetched_at: AwareDatetime
    offer: Annotated[str, Field(description="Fingerprint of the offer that was fetched")]
    files: tuple[ManifestFile, ...]


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a snapshot's folder; null where there is none. Raises `ManifestError` on one that is no manifest.

    A folder may have one and be unfinished all the same, when a file was lost and is fetched again.
    """
    try:
        return _read(Manifest, folder / MANIFEST)
    except ValidationError as error:
        where = ", ".join(".".join(map(str, each["loc"])) or "the document" for each in error.errors())
        raise ManifestError(
            f"{folder / MANIFEST} is no manifest of this version: {where}: {error.errors()[0]['msg']}. "
            f"Move the folder away and run: valbench snapshot fetch {folder.name}"
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write or replace the manifest of a folder, at once or not at all."""
    _write(folder / MANIFEST, manifest)


class _Begun(BaseModel):
    """What was told of a file when it was begun: its size, and by host what changes with its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total: int | None = None
    validators: dict[str, str] = {}


class _Notes(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    layout: Layout
    finished: dict[str, ManifestFile] = {}
    begun: dict[str, _Begun] = {}


class Journal:
    """The notes of a fetch under way, in `_FETCHING.part`; threads share it, each for its own files.

    Losing notes loses no file: those that lie there under their final names are then hashed again.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Read the notes of an attempt before, if there was one; nothing is written yet."""
        self._path = folder / FETCHING
        self._lock = threading.Lock()
        try:
            notes = _read(_Notes, self._path)
        except ValidationError:  # not ours, or of another version: a mark, and nothing more
            notes = None
        self.found = self._path.exists()
        self._notes = notes or _Notes(layout=layout)

    @property
    def layout(self) -> Layout:
        """The layout of the attempt before; else of this one."""
        return self._notes.layout

    @property
    def finished(self) -> dict[str, ManifestFile]:
        """The files that lie there whole, by name."""
        return dict(self._notes.finished)

    def total(self, name: str) -> int | None:
        """The size that was told of a file that was begun; null where none was."""
        return self._begun(name).total

    def validator(self, name: str, host: str) -> str | None:
        """What `host` told of a file when it was begun; null where it was not asked or did not say."""
        return self._begun(name).validators.get(host)

    def open(self) -> None:
        """Mark the folder as unfinished."""
        with self._lock:
            _write(self._path, self._notes)

    def begin(self, name: str, total: int, host: str, validator: str | None) -> None:
        """Note what `host` tells of a file."""
        told = {} if validator is None else {host: validator}
        self._note(name, _Begun(total=total, validators={**self._begun(name).validators, **told}))

    def forget(self, name: str) -> None:
        """Forget what was told of a file: it is begun anew."""
        self._note(name, _Begun())

    def finish(self, file: ManifestFile) -> None:
        """Note a file that lies there whole under its final name."""
        with self._lock:
            finished = {**self._notes.finished, file.name: file}
            self._replace(self._notes.model_copy(update={"finished": finished}))

    def close(self) -> None:
        """Take the mark away: the folder is whole."""
        self._path.unlink()
        _sync_folder(self._path.parent)

    def _begun(self, name: str) -> _Begun:
        return self._notes.begun.get(name, _Begun())

    def _note(self, name: str, begun: _Begun) -> None:
        with self._lock:
            self._replace(self._notes.model_copy(update={"begun": {**self._notes.begun, name: begun}}))

    def _replace(self, notes: _Notes) -> None:
        if notes != self._notes:
            _write(self._path, notes, lasting=False)
            self._notes = notes


def _read(model: type[M], path: Path) -> M | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None


def _write(path: Path, content: BaseModel, *, lasting: bool = True) -> None:
    """Replace a file at once; `lasting` where it has to be there after a power failure too."""
    aside = path.with_name(f"{path.name}.tmp")
    with aside.open("w", encoding="utf-8") as file:
        file.write(content.model_dump_json(indent=2) + "\n")
        if lasting:
            file.flush()
            os.fsync(file.fileno())
    aside.replace(path)
    if lasting:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
