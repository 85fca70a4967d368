"""The warehouse is built whole from facts, in an order that the SQL itself gives, or stays as it was."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from valbench_dagster import records
from valbench_dagster.adapters.facts import Facts
from valbench_dagster.adapters.warehouse.build import BuildError, build, read
from valbench_dagster.adapters.warehouse.connection import configuration, connect, rows
from valbench_dagster.adapters.warehouse.sql_files import FOLDERS, SqlFile, SqlFilesError, load_sql_files, parse
from valbench_dagster.records import DumpFile, Judge, Model, Pair, Record, Response, Verdict, Worker
from valbench_dagster_tests.judged_pairs import JUDGES, MODEL, WORKER, pairs_of, responses_to, verdict

ROOT = Path(records.__file__).parents[1]
RECORDS: list[type[Record]] = [
    value
    for value in vars(records).values()
    if isinstance(value, type) and hasattr(value, "KEY") and value is not Record
]


def files_of(facts: Facts) -> dict[str, list[str]]:
    """Give all current files of all fact tables."""
    return {record.TABLE: facts.paths(record, facts.partitions(record)) for record in RECORDS}


def sql_folder(root: Path, **texts: str) -> Path:
    """Write files of `tables/` and make the other folders."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (root / "tables" / f"{name}.sql").write_text(text, encoding="utf-8")
    return root


def small(root: Path, value: str = "1") -> list[SqlFile]:
    """Make a warehouse of one table of one row."""
    return load_sql_files(sql_folder(root, t=f"-- A row.\nCREATE TABLE t AS SELECT {value} AS x;\n"))


def value_in(target: Path) -> list[Any]:
    """Read the rows of `t`."""
    with read(target) as connection:
        return rows(connection, "SELECT x FROM t")["x"].to_list()


# --- Files -----------------------------------------------------------------------------------------------------------


def test_files_are_ordered_so_that_each_reads_what_is_built() -> None:
    files = load_sql_files()
    built: set[str] = set()
    for file in files:
        assert file.reads <= built, file.name
        built.add(file.name)
    assert [file.name for file in files] == [file.name for file in load_sql_files()]
    assert len(built) == len(files)


def test_what_a_file_reads_is_taken_from_its_sql() -> None:
    # By hand from the files.
    files = {file.name: file for file in load_sql_files()}
    assert files["pair_scores"].reads == {"verdicts", "pairs", "protocols"}
    assert files["metrics"].reads == {"pairs", "responses", "verdicts", "protocols", "pair_scores"}
    assert files["headline"].reads == {"leaderboard"}
    assert files["snapshots"].facts == {"dump"}
    assert files["verdicts"].facts == {"verdicts"}
    assert files["metrics"].facts == frozenset()
    assert (files["headline"].kind, files["leaderboard"].kind) == ("view", "table")


def test_every_table_of_facts_has_all_the_columns_of_its_record(tmp_path: Path) -> None:
    built = build(connect, tmp_path / "w.duckdb", files_of(Facts(str(tmp_path / "facts"))))
    columns = {table.name: list(table.columns) for table in built}
    for record in RECORDS:
        if record is not DumpFile:
            assert columns[record.TABLE] == list(record.__annotations__)[3:], record.TABLE


def test_every_file_says_what_a_row_is() -> None:
    for file in load_sql_files():
        assert file.description.startswith("One "), file.name
        assert not file.statement.startswith("--")


def test_a_description_keeps_its_paragraphs() -> None:
    text = "-- A row.\n--\n-- More of it,\n-- over two lines.\nCREATE VIEW v AS\nSELECT 1 AS x;\n"
    with connect(None) as connection:
        file = parse(connection, "views", "v", text)
    assert file.description == "A row.\n\nMore of it,\nover two lines."
    assert file.statement == "CREATE VIEW v AS\nSELECT 1 AS x;"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("CREATE TABLE t AS SELECT 1 AS x;", "expected opening comment lines"),
        ("-- A row.\nSELECT 1 AS x;", "expected the file to start with CREATE TABLE t AS"),
        ("-- A row.\nCREATE TABLE u AS SELECT 1 AS x;", "expected the file to start with CREATE TABLE t AS"),
        ("-- A row.\nCREATE TABLE t AS SELEC 1 AS x;", "expected one SELECT: syntax error"),
        ("-- A row.\nCREATE TABLE t AS SELECT 1 AS x; SELECT 2 AS y;", "expected one SELECT, found 2 statements"),
        ("-- A row.\nCREATE TABLE t AS SELECT * FROM nowhere;", "reads nowhere, which no file makes"),
        ("-- A row.\nCREATE TABLE t AS SELECT (SELECT max(x) FROM nowhere) AS x;", "reads nowhere"),
    ],
    ids=["no comment", "no create", "another name", "syntax", "two statements", "unknown name", "unknown, nested"],
)
def test_a_file_that_cannot_be_built_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(SqlFilesError) as error:
        load_sql_files(sql_folder(tmp_path, t=text))
    assert f"sql/tables/t.sql: {complaint}" in str(error.value)


def test_all_broken_files_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SqlFilesError, match=r"2 problems(?s:.*)a.sql(?s:.*)b.sql"):
        load_sql_files(sql_folder(tmp_path, a="SELECT", b="SELECT", c="-- C.\nCREATE TABLE c AS SELECT 1 AS x;"))


def test_files_that_read_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    text = "-- A row.\nCREATE TABLE here AS SELECT * FROM there;"
    texts = {one: text.replace("there", other).replace("here", one) for one, other in ("ab", "bc", "ca")}
    with pytest.raises(SqlFilesError, match=r"in a circle: [abc] <- [abc] <- [abc] <- [abc]"):
        load_sql_files(sql_folder(tmp_path, **texts))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    root = sql_folder(tmp_path, t="-- A row.\nCREATE TABLE t AS SELECT 1 AS x;")
    (root / "views" / "t.sql").write_text("-- A row.\nCREATE VIEW t AS SELECT 1 AS x;")
    with pytest.raises(SqlFilesError, match=r"sql/views/t.sql: sql/tables has a file of that name too"):
        load_sql_files(root)


def test_a_with_is_no_table_that_is_read(tmp_path: Path) -> None:
    text = "-- A row.\nCREATE TABLE t AS WITH w AS (SELECT 1 AS x) SELECT x FROM w WHERE x IN (SELECT x FROM w);"
    [file] = load_sql_files(sql_folder(tmp_path, t=text))
    assert file.reads == frozenset()


# --- Building --------------------------------------------------------------------------------------------------------


def test_no_facts_build_an_empty_warehouse(tmp_path: Path) -> None:
    target = tmp_path / "warehouse" / "w.duckdb"
    built = build(connect, target, files_of(Facts(str(tmp_path / "facts"))))
    assert {table.name for table in built} == {file.name for file in load_sql_files()}
    assert {table.name: table.rows for table in built if table.rows} == {"protocols": 2}
    assert [path.name for path in target.parent.iterdir() if path.suffix == ".duckdb"] == ["w.duckdb"]


@pytest.mark.parametrize("url", ["{}/facts", "memory://for-a-warehouse/facts"], ids=["disk", "object store"])
def test_facts_become_tables_and_a_leaderboard(url: str, tmp_path: Path) -> None:
    # Two models over two pairs: aligned scores 2 and 2, opposed -2 and -2.
    facts = Facts(url.format(tmp_path))
    pairs = pairs_of(2)
    parts: list[tuple[type[Any], str, Sequence[Any]]] = [
        (Model, "all", [replace(MODEL, model=name) for name in ("aligned", "opposed")]),
        (Worker, "all", [WORKER]),
        (Judge, "all", JUDGES),
        (Pair, "s", pairs),
        (DumpFile, "s", [DumpFile("enwiki-20261101", "enwiki", "exports", n, "n", "p", 10, "x", True) for n in (0, 1)]),
    ]
    for model, alignment in (("aligned", 2), ("opposed", -2)):
        by_key = sorted(responses_to(pairs, model), key=lambda each: (each.pair_id, each.side))
        parts.append((Response, f"s/{model}", by_key))
        parts.append((Verdict, f"s/{model}/j", [verdict(pair.pair_id, alignment, model=model) for pair in pairs]))
    for record, partition, given in parts:
        facts.publish(record, partition, given, input_fingerprint="f")

    target = tmp_path / "w.duckdb"
    built = {table.name: table for table in build(connect, target, files_of(facts))}
    assert (built["verdicts"].rows, built["responses"].rows, built["pair_scores"].rows) == (4, 8, 8)
    assert (built["pair_scores"].kind, built["metrics"].kind) == ("view", "table")
    assert built["leaderboard"].columns["pac"] == "DOUBLE"
    with read(target) as connection:
        headline = rows(connection, "SELECT model, pac_v3, coverage FROM headline")
        snapshots = rows(connection, "SELECT * FROM snapshots")
    assert headline.rows() == [("aligned", 100.0, 1.0), ("opposed", 0.0, 1.0)]
    assert snapshots.rows() == [("enwiki-20261101", "enwiki", "2026-11-01", "exports", 2, 20, True)]


def test_a_build_replaces_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "w.duckdb"
    for value in "12":
        built = build(connect, target, {}, sql_files=small(tmp_path / "sql", value))
        assert [(table.name, table.kind, table.rows, table.columns) for table in built] == [
            ("t", "table", 1, {"x": "INTEGER"})
        ]
        assert value_in(target) == [int(value)]


def test_sql_that_fails_leaves_the_old_warehouse_and_is_named(tmp_path: Path) -> None:
    target = tmp_path / "w.duckdb"
    build(connect, target, {}, sql_files=small(tmp_path / "sql"))
    with pytest.raises(BuildError, match=r"sql/tables/t.sql failed: .*Could not convert string 'a'"):
        build(connect, target, {}, sql_files=small(tmp_path / "sql", "CAST('a' AS INTEGER)"))
    assert value_in(target) == [1]
    assert not list(tmp_path.glob("*building*"))


def test_what_verify_says_leaves_the_old_warehouse(tmp_path: Path) -> None:
    target = tmp_path / "w.duckdb"
    build(connect, target, {}, sql_files=small(tmp_path / "sql"))

    def verify(connection: duckdb.DuckDBPyConnection) -> list[str]:
        found = rows(connection, "SELECT x FROM t")["x"].to_list()
        return [f"x is {value}, expected 1" for value in found if value != 1]

    with pytest.raises(BuildError, match=r"not sound \(1\):\nx is 2, expected 1"):
        build(connect, target, {}, verify=verify, sql_files=small(tmp_path / "sql", "2"))
    assert value_in(target) == [1]


def test_missing_files_of_facts_are_named_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"no Parquet files were given for the facts .*dump, .*verdicts"):
        build(connect, tmp_path / "w.duckdb", {"pairs": ["x.parquet"]})
    assert not list(tmp_path.iterdir())


def test_a_reader_keeps_what_it_opened_while_another_is_built(tmp_path: Path) -> None:
    target = tmp_path / "w.duckdb"
    build(connect, target, {}, sql_files=small(tmp_path / "sql", "1"))
    with read(target) as connection:
        build(connect, target, {}, sql_files=small(tmp_path / "sql", "2"))
        assert rows(connection, "SELECT x FROM t")["x"].to_list() == [1]
    assert value_in(target) == [2]


def test_a_reader_of_another_process_stops_no_build(tmp_path: Path) -> None:
    target = tmp_path / "w.duckdb"
    build(connect, target, {}, sql_files=small(tmp_path / "sql", "1"))
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"1\n"
        build(connect, target, {}, sql_files=small(tmp_path / "sql", "2"))
        assert value_in(target) == [2]
        reader.communicate(b"")


KILLED = """
import sys
from pathlib import Path
from valbench_dagster.adapters.warehouse.build import build
from valbench_dagster.adapters.warehouse.connection import connect
from valbench_dagster.adapters.warehouse.sql_files import load_sql_files

def wait(connection):
    print("here", flush=True)
    sys.stdin.read()
    return []

build(connect, Path(sys.argv[1]), {}, verify=wait, sql_files=load_sql_files(Path(sys.argv[2])))
"""


def test_a_killed_build_leaves_the_old_warehouse_and_no_lock(tmp_path: Path) -> None:
    target = tmp_path / "w.duckdb"
    build(connect, target, {}, sql_files=small(tmp_path / "sql", "1"))
    small(tmp_path / "sql", "2")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target), str(tmp_path / "sql")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        child.kill()
    assert value_in(target) == [1]
    build(connect, target, {}, sql_files=small(tmp_path / "sql", "3"))
    assert value_in(target) == [3]
    assert not list(tmp_path.glob(".*building*"))


def test_builders_take_turns(tmp_path: Path) -> None:
    target = tmp_path / "w.duckdb"
    worlds = [small(tmp_path / f"sql-{value}", value) for value in "1234"]
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda files: build(connect, target, {}, sql_files=files), worlds))
    assert [table.rows for [table] in built] == [1, 1, 1, 1]
    assert value_in(target)[0] in (1, 2, 3, 4)


# --- Connection ------------------------------------------------------------------------------------------------------


def test_every_connection_is_bounded_and_stays_off_the_network(tmp_path: Path) -> None:
    settings = configuration(memory_limit="512MB", threads=2, temp_directory=tmp_path)
    assert settings["autoinstall_known_extensions"] == "false"
    with connect(tmp_path / "d.duckdb", memory_limit="512MB", threads=2, temp_directory=tmp_path) as connection:
        [row] = rows(
            connection, "SELECT current_setting('threads') AS t, current_setting('temp_directory') AS d"
        ).iter_rows()
    assert row == (2, str(tmp_path))


def test_a_name_in_sql_never_means_a_python_variable() -> None:
    frame = rows  # a local name that SQL must not see
    assert frame is rows
    with connect(None) as connection, pytest.raises(duckdb.CatalogException):
        rows(connection, "SELECT * FROM frame")


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("SELECT 1 AS x; SELECT 2 AS x", "expected one SQL statement, found 2"),
        ("CREATE TABLE t AS SELECT 1 AS x", "found a statement of another kind"),
        ("SELECT $left AS x, $right AS y", "parameters that were not given: right"),
    ],
)
def test_only_one_select_with_all_its_parameters_is_read(statement: str, complaint: str) -> None:
    params = {"left": 1} if "$" in statement else None
    with connect(None) as connection, pytest.raises(ValueError, match=complaint):
        rows(connection, statement, params)


def test_parameters_reach_the_statement_and_empty_results_keep_their_columns() -> None:
    with connect(None) as connection:
        frame = rows(connection, "SELECT $x AS x WHERE false", {"x": "a"})
        assert (frame.columns, frame.height) == (["x"], 0)
        assert rows(connection, "SELECT list_sum($x) AS x", {"x": [1, 2]}).rows() == [(3,)]
