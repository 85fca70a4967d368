"""SQL files: the files of `sql/` that make the warehouse, parsed and put into the order in which they can be built.

Each file is one `CREATE TABLE name AS` or `CREATE VIEW name AS`, named like what it makes, opened by comment lines that
say what a row is. What a file reads is asked of DuckDB's own parser, not guessed: tables and views of other files by
name, and the facts it is made from as parameters, as in `read_parquet($responses)`. Checks and queries for people have
folders and readers of their own.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from valbench_dagster.adapters.warehouse.connection import connect
from valbench_dagster.project_files import project_file

FOLDERS = ("tables", "views", "metrics", "report")
"""The folders of `sql/` that the warehouse is built from."""

_CREATE = re.compile(r"\s*CREATE (TABLE|VIEW) ([a-z_]+) AS\b")


class SqlFilesError(ValueError):
    """Files of `sql/` that cannot be built; the message names every file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file: `kind` is `table` or `view`, `reads` the tables and views it reads, `facts` its fact tables."""

    name: str
    folder: str
    kind: str
    description: str
    statement: str
    reads: frozenset[str]
    facts: frozenset[str]


def load_sql_files(root: Path | None = None) -> list[SqlFile]:
    """Read the files under `root` (null: the project's `sql/`) in an order in which each can be built.

    The order is the same on every machine. Raises `SqlFilesError` with all problems of all files at once: no opening
    comment, not one CREATE of the file's own name, a syntax error, a name that no file makes, a cycle.
    """
    root = root or project_file("sql")
    paths = [path for folder in FOLDERS for path in sorted((root / folder).glob("*.sql"))]
    files, problems = [], []
    with connect(None) as connection:
        for path in paths:
            try:
                files.append(parse(connection, path.parent.name, path.stem, path.read_text(encoding="utf-8")))
            except ValueError as error:
                problems.append(f"  sql/{path.parent.name}/{path.name}: {error}")
    if not problems:
        problems = list(_unknown_names(files))
    if problems:
        raise SqlFilesError(f"{len(problems)} problems in the files of sql/:\n" + "\n".join(problems))
    return _ordered(files)


def parse(connection: duckdb.DuckDBPyConnection, folder: str, name: str, text: str) -> SqlFile:
    """Parse the text of one file; `connection` is any open one. Raises `ValueError` with the one thing wrong."""
    description, statement = split_comment(text)
    if not description:
        raise ValueError("expected opening comment lines that say what a row is")
    header = _CREATE.match(statement)
    if header is None or header[2] != name:
        raise ValueError(f"expected the file to start with CREATE TABLE {name} AS or CREATE VIEW {name} AS")
    reads, aliases = tables_read(connection, statement[header.end() :].rstrip().removesuffix(";"))
    facts = connection.extract_statements(statement)[0].named_parameters
    if shadowed := reads & aliases:
        raise ValueError(f"a WITH has the name of a table that is read too: {', '.join(sorted(shadowed))}")
    return SqlFile(name, folder, header[1].lower(), description, statement.strip(), reads, frozenset(facts))


def split_comment(text: str) -> tuple[str, str]:
    """Split a file into its opening comment, as Markdown without the dashes, and the SQL after it."""
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))
    comment = "\n".join(line.removeprefix("--").removeprefix(" ").rstrip() for line in lines[:end])
    return comment.strip(), "\n".join(lines[end:])


def tables_read(connection: duckdb.DuckDBPyConnection, select: str) -> tuple[frozenset[str], frozenset[str]]:
    """Give the tables that one SELECT reads, and the names of its WITH clauses; none need exist.

    Raises `ValueError` with the parser's message.
    """
    [(answer,)] = connection.execute("SELECT json_serialize_sql($select)", {"select": select}).fetchall()
    parsed = json.loads(answer)
    if parsed["error"]:
        raise ValueError(f"expected one SELECT: {parsed['error_message']}")
    if len(parsed["statements"]) != 1:
        raise ValueError(f"expected one SELECT, found {len(parsed['statements'])} statements")
    nodes = list(_objects(parsed))
    aliases = frozenset(entry["key"] for node in nodes for entry in node.get("cte_map", {}).get("map", ()))
    named = {node["table_name"] for node in nodes if node.get("type") == "BASE_TABLE" and not node.get("schema_name")}
    return frozenset(named - aliases), aliases


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Walk every JSON object inside `value`."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner)


def _unknown_names(files: Sequence[SqlFile]) -> Iterator[str]:
    known: dict[str, str] = {}
    for file in files:
        if file.name in known:
            yield f"  sql/{file.folder}/{file.name}.sql: sql/{known[file.name]} has a file of that name too"
        known[file.name] = file.folder
    for file in files:
        for name in sorted(file.reads - known.keys()):
            yield f"  sql/{file.folder}/{file.name}.sql: reads {name}, which no file makes"


def _ordered(files: Iterable[SqlFile]) -> list[SqlFile]:
    by_name = {file.name: file for file in files}
    sorter = TopologicalSorter({name: sorted(file.reads) for name, file in by_name.items()})
    try:
        return [by_name[name] for name in sorter.static_order()]
    except CycleError as error:
        raise SqlFilesError(f"files of sql/ read each other in a circle: {' <- '.join(error.args[1])}") from error
