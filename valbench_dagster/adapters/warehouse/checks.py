"""Checks: the queries of `sql/checks`, each giving the rows that offend against one rule.

A check is a file `sql/checks/<fact>/<name>.sql`, named after what it forbids. It opens with comment lines: what is
forbidden and why, then `-- severity: error|warn`, `-- blocking: yes|no` and, where it reads another relation than that
of its fact, `-- also reads: <names>`. Its one query reads relations by their names and gives two text columns, `row_id`
and `detail`.

A check that compares a snapshot with those before it has a line `-- also reads earlier: <names>`. For each name it
finds a relation `earlier_<name>`: the rows of all snapshots of the same wiki with an earlier date, none where there is
no such snapshot. Which of them counts is said by the query.

Here belong reading these files and running them. What a step does about an offending row does not.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import polars as pl
from duckdb import DuckDBPyConnection

from valbench_dagster.adapters.warehouse.connection import connect, register_stores, rows
from valbench_dagster.adapters.warehouse.sql_files import split_comment
from valbench_dagster.project_files import project_file

WAREHOUSE_FACTS = ("call_costs", "leaderboard", "metrics")
"""Checked relations that are sound or not as a warehouse holds them; all others are checked as facts."""

EARLIER = "earlier_"
"""What the name of a relation opens with that holds the rows of earlier snapshots."""

_COLUMNS = {"row_id": pl.String(), "detail": pl.String()}
_KEY = re.compile(r"(severity|blocking|also reads|also reads earlier):\s*(.*)")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KEYS = "severity, blocking, also reads or also reads earlier"
_CHOICES = {"severity": ("error", "warn"), "blocking": ("yes", "no")}


class CheckError(ValueError):
    """Check files that cannot be used, or a query that does not give what a check gives; one problem a line."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: rows of `fact` that `statement` gives offend; `description` is Markdown for people."""

    name: str
    fact: str
    severity: Literal["error", "warn"]
    blocking: bool
    description: str
    also_reads: tuple[str, ...]
    reads_earlier: tuple[str, ...]
    statement: str

    @property
    def relations(self) -> tuple[str, ...]:
        """The names of all relations that the query reads."""
        return (self.fact, *self.also_reads, *(f"{EARLIER}{name}" for name in self.reads_earlier))


def load_checks(fact: str | None = None, folder: Path | None = None) -> list[Check]:
    """Read the checks of a fact (null: of all facts), sorted by fact and name.

    That order is the order in which they are asked why a row was dropped. `folder` is `sql/checks` unless given.
    Raises `CheckError` with all that is wrong in all files, whichever fact is wanted.
    """
    root = folder or project_file("sql/checks")
    checks: list[Check] = []
    problems: list[str] = []
    for path in sorted(root.rglob("*.sql")):
        place = path.relative_to(root)
        if len(place.parts) != 2 or not _NAME.fullmatch(path.stem):
            problems.append(f"{place}: expected <fact>/<name>.sql, the name of small letters, digits and underscores")
            continue
        found, wrong = _read(path.parent.name, path.stem, path.read_text(encoding="utf-8"))
        problems += [f"{place}: {problem}" for problem in wrong]
        checks += [found] if found else []
    if problems:
        raise CheckError(f"{len(problems)} problems in the headers of {root}:\n  " + "\n  ".join(problems))
    return [check for check in checks if fact is None or check.fact == fact]


def offending(check: Check, relations: Mapping[str, pl.DataFrame | Sequence[str]]) -> pl.DataFrame:
    """Run one check; relations and errors as in `offending_all`."""
    return offending_all([check], relations)[check.name]


def offending_all(
    checks: Iterable[Check], relations: Mapping[str, pl.DataFrame | Sequence[str]]
) -> dict[str, pl.DataFrame]:
    """Run checks, all on one connection, and give by name of the check the offending rows, sorted, each once.

    `relations` holds what the checks read, by name: a frame, or the paths of Parquet files that are one table. Raises
    `CheckError` when two checks have one name, one reads what is not given, or one gives other columns or nulls.
    """
    wanted = list(checks)
    problems = [f"two checks are named {name}" for name in sorted(_repeated(check.name for check in wanted))]
    for check in wanted:
        missing = sorted(set(check.relations) - set(relations))
        problems += [f"{check.fact}/{check.name} reads {name}, which was not given" for name in missing]
    if problems:
        raise CheckError("\n".join(problems))
    with connect(None) as connection:
        for name, relation in relations.items():
            _attach(connection, name, relation)
        return {check.name: offending_in(connection, check) for check in wanted}


def offending_in(connection: DuckDBPyConnection, check: Check) -> pl.DataFrame:
    """Run a check on an open database that has its relations; gives and raises as `offending_all`."""
    frame = rows(connection, check.statement)
    if dict(frame.schema) != _COLUMNS:
        found = ", ".join(f"{name} {kind}" for name, kind in frame.schema.items())
        raise CheckError(f"{check.fact}/{check.name} gives {found}; expected row_id and detail, both text")
    if frame.null_count().row(0) != (0, 0):
        raise CheckError(f"{check.fact}/{check.name} gives null as row_id or detail: use coalesce in its query")
    return frame.unique().sort("row_id", "detail")


def problems_in(connection: DuckDBPyConnection, *, blocking: bool = True) -> list[str]:
    """Say what is wrong with a warehouse's own tables: a line for each blocking check with offending rows.

    With `blocking` false a line for each of the others: what a reader must know, and no reason to refuse it.
    """
    problems = []
    for check in load_checks():
        if check.fact in WAREHOUSE_FACTS and check.blocking == blocking:
            found = offending_in(connection, check)
            if found.height:
                row_id, detail = found.row(0)
                problems.append(f"{check.fact}/{check.name}: {found.height} offending, such as {row_id}: {detail}")
    return problems


def _attach(connection: DuckDBPyConnection, name: str, relation: pl.DataFrame | Sequence[str]) -> None:
    if isinstance(relation, pl.DataFrame):
        connection.register(name, relation)
        return
    register_stores(connection, relation)
    # A folder named `a=b` is part of a partition's name, not a column.
    connection.read_parquet(list(relation), hive_partitioning=False).create_view(name)


def _read(fact: str, name: str, source: str) -> tuple[Check | None, list[str]]:
    comment, statement = (part.strip() for part in split_comment(source))
    header = comment.splitlines()
    first_key = next((i for i, line in enumerate(header) if _KEY.fullmatch(line)), len(header))
    description = " ".join(header[:first_key])
    keys: dict[str, str] = {}
    problems = [] if description else ["line 1: expected comment lines that say what is forbidden and why"]
    for number, line in enumerate(header[first_key:], start=first_key + 1):
        match = _KEY.fullmatch(line)
        if match is None or match[1] in keys:
            problems.append(f"line {number}: expected {_KEYS}, once each, found “{line}”")
        else:
            keys[match[1]] = match[2]
    for key, choices in _CHOICES.items():
        if keys.get(key) not in choices:
            problems.append(f"expected “-- {key}: {' or '.join(choices)}”, found {keys.get(key, 'no such line')}")
    others, earlier = (_names(keys.get(key)) for key in ("also reads", "also reads earlier"))
    if not all(_NAME.fullmatch(other) for other in others) or fact in others:
        problems.append("expected names of other relations after “also reads:”, separated by commas")
    if not all(_NAME.fullmatch(each) for each in earlier):
        problems.append("expected names of relations after “also reads earlier:”, separated by commas")
    if keys.get("severity") == "warn" and keys.get("blocking") == "yes":
        problems.append("a warning cannot block: expected “-- blocking: no”")
    if not statement:
        problems.append("expected a query after the comment lines, found none")
    if problems:
        return None, problems
    severity = cast(Literal["error", "warn"], keys["severity"])
    return Check(name, fact, severity, keys["blocking"] == "yes", description, others, earlier, statement), []


def _names(listed: str | None) -> tuple[str, ...]:
    return () if listed is None else tuple(part.strip() for part in listed.split(","))


def _repeated(names: Iterable[str]) -> set[str]:
    return {name for name, times in Counter(names).items() if times > 1}
