"""Names: what the names of snapshots and of dump files say. Nothing is read from a disk or a server here."""

import re
from collections.abc import Sequence
from datetime import date, datetime

UNFINISHED = (".part", ".tmp")
"""Ends of names of files that are not whole; a folder with one of them is no whole snapshot."""

_KEY = re.compile(r"([a-z0-9][a-z0-9_-]*)-([0-9]{8})")
_DATED = re.compile(r"([a-z][a-z0-9_]*)-(\d{4})-?(\d{2})-?(\d{2})(?=[-.])")
_EXPORT = re.compile(r"\.xml(?:-p[0-9]+p[0-9]+)?(?:\.bz2|\.gz)?\Z")
_DIGITS = re.compile(r"([0-9]+)")


class DumpFilesError(Exception):
    """What is wrong with a snapshot or with files for it: every problem at once, and what to run."""

    def __init__(self, problems: Sequence[str], remedy: str) -> None:
        super().__init__("\n".join([*problems, remedy]))
        self.problems = tuple(problems)


def parse_snapshot(key: str) -> tuple[str, date]:
    """The wiki (database name) and the date that a snapshot key `{wiki}-{YYYYMMDD}` names.

    Raises `DumpFilesError` where the key has another shape or the date is not in the calendar.
    """
    remedy = "Expected {wiki}-{YYYYMMDD}, such as enwiki-20261101."
    found = _KEY.fullmatch(key)
    if found is None:
        raise DumpFilesError([f"{key!r} is no snapshot key."], remedy)
    try:
        return found[1], datetime.strptime(found[2], "%Y%m%d").date()
    except ValueError:
        raise DumpFilesError([f"{key!r} is no snapshot key: {found[2]} is no date."], remedy) from None


def is_snapshot(name: str) -> bool:
    """Whether `name` is a snapshot key."""
    try:
        parse_snapshot(name)
    except DumpFilesError:
        return False
    return True


def snapshot_in(name: str) -> str | None:
    """The snapshot key that the name of a dump file begins with, as both layouts write it; null where it does not."""
    found = _DATED.match(name)
    return f"{found[1]}-{found[2]}{found[3]}{found[4]}" if found else None


def is_export(name: str) -> bool:
    """Whether a file of this name is an export: plain, gzip or bzip2, whole or a part by page ids."""
    return _EXPORT.search(name) is not None


def in_reading_order(name: str) -> list[str | int]:
    """Where a file stands among those of its snapshot: its name, with every run of digits compared as a number."""
    return [int(piece) if piece.isdecimal() else piece for piece in _DIGITS.split(name)]
