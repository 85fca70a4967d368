"""A home of the project as a test reads it from outside, while runs write it and after: nothing here writes to it."""

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from valbench_dagster.adapters.facts import CURRENT, Pointer
from valbench_dagster.adapters.warehouse.connection import connect, rows


@dataclass(frozen=True)
class Home:
    """The home at `path`, with everything in its default place."""

    path: Path

    def asked(self) -> list[tuple[str, str, str]]:
        """Give fingerprint, kind and model of every call in the ledger, oldest first."""
        with self._ledger() as ledger:
            return list(ledger.execute("SELECT fingerprint, kind, model FROM calls ORDER BY id"))

    def calls(self, model: str) -> int:
        """Count the calls of a model; 0 as long as there is no ledger yet."""
        if not (self.path / "ledger.sqlite").is_file():
            return 0
        with self._ledger() as ledger:
            if not ledger.execute("SELECT name FROM sqlite_master WHERE name = 'calls'").fetchall():
                return 0
            [(count,)] = ledger.execute("SELECT count(*) FROM calls WHERE model = ?", (model,))
            return int(count)

    def facts(self) -> dict[str, str]:
        """Give every pointer's own text, and every file that it names by the hash of its bytes."""
        found = {}
        for pointer in sorted(self.path.joinpath("facts").rglob(CURRENT)):
            folder, text = pointer.relative_to(self.path).parent.as_posix(), pointer.read_text(encoding="utf-8")
            found[f"{folder}/{CURRENT}"] = text
            for file in Pointer.model_validate_json(text).files:
                found[f"{folder}/{file.name}"] = hashlib.sha256((pointer.parent / file.name).read_bytes()).hexdigest()
        return found

    def tables(self) -> dict[str, pl.DataFrame]:
        """Give every table and view of the warehouse, its rows ordered by all its columns.

        No column is left out: none holds a time or the id of a run.
        """
        with connect(self.path / "warehouse" / "valbench.duckdb", read_only=True) as warehouse:
            names = rows(warehouse, "SELECT table_name FROM information_schema.tables ORDER BY 1")["table_name"]
            return {name: rows(warehouse, f'SELECT * FROM "{name}" ORDER BY ALL') for name in names}  # noqa: S608

    def reports(self) -> dict[str, bytes]:
        """Give every file among the reports, by its path."""
        root = self.path / "reports"
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    @contextmanager
    def _ledger(self) -> Iterator[sqlite3.Connection]:
        uri = f"{(self.path / 'ledger.sqlite').as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=60)) as ledger:
            yield ledger


def differing(one: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame]) -> list[str]:
    """Name the tables that are not equal, those that only one side has too."""
    return sorted(
        name for name in {*one, *other} if name not in one or name not in other or not one[name].equals(other[name])
    )


def printed_leaderboard(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """Read the leaderboard that a command printed: cells by column, by judge and model."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    judge, heads = "", list[str]()
    for line in text.splitlines():
        cells = re.split(r" {2,}", line)
        if title := re.fullmatch(r"\S+, judged by (\S+), as asked", line):
            judge = title[1]
        elif cells[0] == "model":
            heads = cells
        elif len(cells) == len(heads):
            assert (judge, cells[0]) not in found, f"the leaderboard names {cells[0]} twice by {judge}"
            found[judge, cells[0]] = dict(zip(heads[1:], cells[1:], strict=True))
    return found
