"""The ledger in SQLite: what it acknowledges is never lost, and a reply once served is served for ever."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from valbench_dagster.adapters.ledger.connection import Patience
from valbench_dagster.adapters.ledger.sql_ledger import LedgerUnwritable, SqlLedger
from valbench_dagster_tests.ledger_laws import LAWS, append
from valbench_dagster_tests.llm_fakes import completion, request, stored


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqlLedger]:
    with SqlLedger(f"sqlite:///{path}") as opened:
        yield opened


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_on_sqlite(law: Callable[[str], None], path: Path) -> None:
    law(f"sqlite:///{path}")


def test_an_appended_call_is_on_disk_with_every_field_when_append_returns(ledger: SqlLedger, path: Path) -> None:
    call = stored(request("a"), b'{"x": 1}', status=200, run="run-7")
    append(ledger, call)
    with sqlite3.connect(path) as other:
        other.row_factory = sqlite3.Row
        (row,) = other.execute("SELECT * FROM calls").fetchall()
    other.close()
    assert {name: row[name] for name in call.__slots__} == {name: getattr(call, name) for name in call.__slots__}
    assert row["id"] == 1


def test_the_file_is_in_wal_mode_and_commits_survive_a_power_cut(ledger: SqlLedger, path: Path) -> None:
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    with ledger._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # 2 is FULL
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 20_000


def test_waiting_calls_share_a_commit(ledger: SqlLedger) -> None:
    # 3,000 commits of one row each would take seconds of waiting for the disk; a few shared ones do not.
    began = time.monotonic()
    append(ledger, *(stored(request(f"q{number}"), b"x" * 2000) for number in range(3000)))
    assert ledger.count() == 3000
    assert time.monotonic() - began < 10.0


def test_calls_that_come_one_by_one_wait_for_no_company(ledger: SqlLedger) -> None:
    async def one_after_the_other() -> float:
        began = time.monotonic()
        for number in range(20):
            await ledger.append(stored(request(f"q{number}"), b"x"))
        return time.monotonic() - began

    assert asyncio.run(one_after_the_other()) < 10.0


def test_a_cancelled_wait_does_not_unqueue_its_call(ledger: SqlLedger, path: Path) -> None:
    async def cancelled() -> None:
        waiting = asyncio.create_task(ledger.append(stored(request("a"), b"x")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(cancelled())
    ledger.close()
    with SqlLedger(f"sqlite:///{path}") as again:
        assert again.count() == 1


def test_closing_stores_what_is_queued_and_nothing_comes_after(path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{path}")

    async def closing() -> None:
        waiting = [asyncio.create_task(ledger.append(stored(request(f"q{number}"), b"x"))) for number in range(500)]
        await asyncio.sleep(0)
        ledger.close()
        await asyncio.gather(*waiting)
        with pytest.raises(LedgerUnwritable, match="closed"):
            await ledger.append(stored(request("late"), b"x"))

    asyncio.run(closing())
    ledger.close()
    with SqlLedger(f"sqlite:///{path}") as again:
        assert again.count() == 500


def test_a_commit_that_fails_fails_every_waiting_call_and_all_later_ones(path: Path) -> None:
    with SqlLedger(f"sqlite:///{path}") as ledger:
        append(ledger, stored(request("kept"), b"x"))
        # As a full disk does: the database may not grow past its present pages.
        with sqlite3.connect(path) as other:
            other.execute("CREATE TRIGGER full BEFORE INSERT ON calls BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        other.close()

        async def failing() -> list[BaseException | None]:
            calls = (ledger.append(stored(request(f"q{number}"), b"secret text")) for number in range(5))
            return await asyncio.gather(*calls, return_exceptions=True)

        errors = asyncio.run(failing())
        with sqlite3.connect(path) as other:
            other.execute("DROP TRIGGER full")
        other.close()
        errors += asyncio.run(failing())
        assert len(errors) == 10
        for error in errors:
            assert isinstance(error, LedgerUnwritable)
            assert "disk full" in str(error)
            assert "run again" in str(error)
            assert "secret text" not in str(error)
        assert ledger.count() == 1


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "no url", "mysql://user@host/database"])
def test_a_url_that_can_hold_no_ledger_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///data/ledger\.sqlite"):
        SqlLedger(url)


def test_a_reader_in_another_process_sees_what_a_writer_has_acknowledged(ledger: SqlLedger, path: Path) -> None:
    append(ledger, stored(request("a"), completion("yes")))
    with SqlLedger(f"sqlite:///{path}") as reader:
        assert reader.count() == 1
        append(ledger, stored(request("b"), completion("yes")))
        assert reader.count() == 2


class _Unlocking(Patience):
    """Lets go of another connection's lock once the ledger has found the file locked `after` times."""

    def __init__(self, locker: sqlite3.Connection, after: int) -> None:
        super().__init__(tries=5, busy_s=0.05)
        self.seen: list[int]
        self.__dict__.update(seen=[], locker=locker, after=after)  # a frozen dataclass takes no other way

    def pause(self, failed: int) -> float | None:
        self.seen.append(failed)
        if failed == self.__dict__["after"]:
            self.__dict__["locker"].rollback()
        return None if super().pause(failed) is None else 0.0


@pytest.fixture
def locker(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of another program that holds the lock on writing."""
    SqlLedger(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_a_file_that_another_program_locks_is_waited_for(path: Path, locker: sqlite3.Connection) -> None:
    patience = _Unlocking(locker, after=3)
    with SqlLedger(f"sqlite:///{path}", patience) as ledger:
        append(ledger, *(stored(request(f"q{number}"), b"x") for number in range(10)))
        assert (ledger.count(), patience.seen) == (10, [1, 2, 3])


def test_the_wait_for_a_lock_has_an_end(path: Path, locker: sqlite3.Connection) -> None:
    with SqlLedger(f"sqlite:///{path}", _Unlocking(locker, after=99)) as ledger:
        assert ledger.count() == 0, "reading waits for nobody"
        with pytest.raises(LedgerUnwritable, match=r"database is locked\)\. Nothing that is not stored was used"):
            append(ledger, stored(request("a"), b"x"))


def test_what_is_asked_of_all_calls_is_read_from_an_index_alone(ledger: SqlLedger) -> None:
    # The words of SQLite's own plan: a covering index is one that answers without the table.
    with ledger._engine.connect() as connection:
        for query, index in (
            ("SELECT fingerprint FROM calls WHERE kind = 'reply' AND fingerprint IN ('a')", "calls_by_fingerprint"),
            ("SELECT sum(cost), sum(input_tokens), count(*) FROM calls WHERE run = 'a'", "calls_by_run"),
            ("SELECT step, model, sum(cost) FROM calls GROUP BY step, endpoint, provider, model", "calls_by_run"),
        ):
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").fetchall()
            assert f"USING COVERING INDEX {index}" in str(plan), query
