"""Ledgers of other versions: an older file gets what it lacks and keeps what it has; a newer one is refused."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from valbench_dagster.adapters.ledger.sql_ledger import LedgerRefused, LedgerUnwritable, SqlLedger
from valbench_dagster.llm.ledger import FinishedCall, StoredFailure
from valbench_dagster_tests.ledger_laws import LAWS, append
from valbench_dagster_tests.llm_fakes import request, stored

FIRST_TABLE = """
    CREATE TABLE calls (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, fingerprint VARCHAR(32) NOT NULL, kind VARCHAR(16) NOT NULL,
        endpoint TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, request BLOB NOT NULL, reply BLOB,
        status INTEGER, message TEXT, input_tokens INTEGER, output_tokens INTEGER, started_at VARCHAR(40) NOT NULL,
        latency FLOAT NOT NULL, attempts INTEGER NOT NULL, run TEXT NOT NULL)
"""
FIRST_INDEX = "CREATE INDEX calls_by_fingerprint ON calls (fingerprint, kind, id)"
FIRST_COLUMNS = FinishedCall.__slots__[:15]
"""As the first released layout had them."""


@pytest.fixture
def old(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A ledger as the first version made it, open for the test to fill."""
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(FIRST_TABLE)
        connection.execute(FIRST_INDEX)
        yield connection


def fill(connection: sqlite3.Connection, *calls: FinishedCall) -> None:
    places = ", ".join("?" * len(FIRST_COLUMNS))
    statement = f"INSERT INTO calls ({', '.join(FIRST_COLUMNS)}) VALUES ({places})"  # noqa: S608 - made of the names above
    connection.executemany(statement, [[getattr(call, name) for name in FIRST_COLUMNS] for call in calls])
    connection.commit()


def url_of(connection: sqlite3.Connection) -> str:
    ((_, _, file),) = connection.execute("PRAGMA database_list").fetchall()
    return f"sqlite:///{file}"


def test_an_older_ledger_keeps_what_it_has_and_takes_what_is_new(old: sqlite3.Connection) -> None:
    fill(old, stored(request("a"), b"first"), stored(request("b"), None, "HTTP 500: away"))
    with SqlLedger(url_of(old)) as ledger:
        append(ledger, stored(request("a"), b"second"), stored(request("c"), b"new", step="issues/x", cost=0.5))
        fingerprints = [request(text).fingerprint for text in "abc"]
        assert ledger.replies(fingerprints) == {fingerprints[0]: b"first", fingerprints[2]: b"new"}
        assert ledger.failures(fingerprints) == {fingerprints[1]: StoredFailure("failed", "HTTP 500: away")}
        assert [(cost.step, cost.replies, cost.cost) for cost in ledger.costs()] == [
            (None, 2, 0.0),
            ("issues/x", 1, 0.5),
        ]
        assert ledger.count("run-1") == 4
        assert ledger.batch_events() == []
    ids = [call_id for (call_id,) in old.execute("SELECT call_id FROM calls ORDER BY id")]
    assert len(set(ids)) == 4
    # Made from what the call is, so that a copy of this file that is upgraded elsewhere has the same.
    assert ids[0] == f"{request('a').fingerprint}/{stored(request('a'), None).started_at}/1"


def test_an_older_ledger_is_upgraded_once_by_whoever_comes_first(old: sqlite3.Connection) -> None:
    fill(old, *(stored(request(f"q{number}"), b"x" * 500) for number in range(2000)))
    url = url_of(old)

    def open_it(number: int) -> int:
        with SqlLedger(url) as ledger:
            append(ledger, stored(request(f"new {number}"), b"x"))
            return len(ledger.known([request(f"q{number}").fingerprint for number in range(2000)]))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(open_it, range(8))) == [2000] * 8
    assert old.execute("SELECT count(*), count(DISTINCT call_id) FROM calls").fetchone() == (2008, 2008)
    assert old.execute("SELECT number FROM ledger_layout").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "done",
    [
        (),
        ("ALTER TABLE calls ADD COLUMN call_id TEXT",),
        ("ALTER TABLE calls ADD COLUMN call_id TEXT", "ALTER TABLE calls ADD COLUMN cost FLOAT"),
        ("CREATE TABLE ledger_layout (number INTEGER NOT NULL PRIMARY KEY)",),
    ],
)
def test_an_upgrade_that_was_killed_is_completed_by_the_next_opening(
    old: sqlite3.Connection, done: tuple[str, ...]
) -> None:
    fill(old, stored(request("a"), b"first"))
    for statement in done:
        old.execute(statement)
    old.commit()
    with SqlLedger(url_of(old)) as ledger:
        append(ledger, stored(request("b"), b"x", cost=0.5))
        assert (ledger.count(), ledger.spent("run-1").cost) == (2, 0.5)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_an_upgraded_ledger_obeys(law: Callable[[str], None], old: sqlite3.Connection) -> None:
    law(url_of(old))


def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    SqlLedger(url).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as newer:
        newer.execute("INSERT INTO ledger_layout VALUES (7)")
        newer.commit()
        with pytest.raises(LedgerRefused, match=r"has layout 7, made by a newer version .* knows layouts up to 2"):
            SqlLedger(url)
        assert newer.execute("SELECT count(*) FROM calls").fetchone() == (0,)


def test_a_database_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "phone.sqlite")) as other:
        other.execute("CREATE TABLE calls (id INTEGER PRIMARY KEY, number TEXT)")
        other.commit()
        with pytest.raises(LedgerRefused, match="has a table calls that is no ledger's \\(it lacks attempts, endpoint"):
            SqlLedger(f"sqlite:///{tmp_path / 'phone.sqlite'}")
        assert other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("calls",)]


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(b"not a database, but somebody's notes " * 100)
    with pytest.raises(LedgerUnwritable, match="cannot be opened"):
        SqlLedger(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"not a database")
