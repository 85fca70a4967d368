"""Page index: what the index of a multistream file says of its pages, to hold against what was read.

Here belongs finding the index beside its file and reading ids out of it, `offset:pageid:title` a line (wikipedia.md,
section 1). Jumping to a page by it is `steps.explaining`.
"""

import bz2
import re
from array import array
from collections.abc import Iterator
from pathlib import Path

from valbench_dagster.dumps.decode import DumpError

_NAME = re.compile(r"-multistream(\d*)\.xml")
_LINE = re.compile(rb"^\d+:(\d{1,18}):[^\n]*\n", re.MULTILINE)
_READ_BYTES = 1 << 20


def index_of(path: Path) -> Path | None:
    """Find the index that lies beside a multistream file; null where there is none, or the file is no multistream."""
    name, count = _NAME.subn(r"-multistream-index\1.txt", path.name)
    index = path.with_name(name)
    return index if count and index.is_file() else None


class IndexedPages:
    """The page ids of one index, read forwards beside the pages themselves; both ascend."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._ids = self._read(path)
        self._waiting: array[int] = array("q")
        self.listed = 0

    def missing_and_unlisted(self, ids: "array[int]", up_to: int | None) -> tuple[list[int], int]:
        """Compare pages read with those listed with ids up to `up_to` (null: all that are left).

        Gives the ids that are listed and were not read, ascending, and the number of pages that are not listed.
        Raises `DumpError` where the index is damaged.
        """
        expected = self._take(up_to)
        if expected == ids:
            return [], 0
        listed, read = set(expected), set(ids)
        return sorted(listed - read), len(read - listed)

    def _take(self, up_to: int | None) -> "array[int]":
        while not self._waiting or up_to is None or self._waiting[-1] <= up_to:
            more = next(self._ids, None)
            if more is None:
                break
            self.listed += len(more)
            self._waiting.extend(more)
        cut = len(self._waiting)
        if up_to is not None and cut and self._waiting[-1] > up_to:
            cut = next(place for place, page_id in enumerate(self._waiting) if page_id > up_to)
        taken, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return taken

    def _read(self, path: Path) -> "Iterator[array[int]]":
        rest, lines = b"", 0
        try:
            with bz2.open(path) if path.suffix == ".bz2" else path.open("rb") as file:
                while chunk := file.read(_READ_BYTES):
                    whole, end, rest = (rest + chunk).rpartition(b"\n")
                    whole += end
                    ids = array("q", map(int, _LINE.findall(whole)))
                    expected = whole.count(b"\n")
                    if len(ids) != expected:
                        raise DumpError(
                            f"{self._name}: {expected - len(ids)} of the lines {lines + 1} to {lines + expected} are "
                            "no index; expected offset:pageid:title; fetch the file again"
                        )
                    lines += expected
                    if len(rest) > _READ_BYTES:
                        raise DumpError(
                            f"{self._name}: no index after line {lines}: expected offset:pageid:title, found "
                            f"{rest[:60]!r}; fetch the file again"
                        )
                    yield ids
        except (EOFError, OSError) as error:
            raise DumpError(
                f"{self._name}: the index is damaged after line {lines}: {error}; fetch it again"
            ) from error
        if rest:
            raise DumpError(f"{self._name}: the index is cut short after line {lines}; fetch the file again")
