"""The ledger in SQLite: what it acknowledges is never lost, and a reply once served is served for ever."""

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from valbench_dagster.adapters.ledger_sql import LedgerUnwritable, SqlLedger
from valbench_dagster.llm.ledger import FinishedCall, StoredFailure
from valbench_dagster_tests.llm_fakes import completion, request, stored


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqlLedger]:
    with SqlLedger(f"sqlite:///{path}") as opened:
        yield opened


def append(ledger: SqlLedger, *calls: FinishedCall) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(ledger.append(call) for call in calls))

    asyncio.run(all_of_them())


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
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def test_of_two_replies_the_lowest_id_is_served_for_ever(ledger: SqlLedger) -> None:
    append(ledger, stored(request("a"), b"first"))
    append(ledger, stored(request("a"), b"second"))
    append(ledger, stored(request("a"), None, "HTTP 500: later"))
    assert ledger.replies([request("a").fingerprint]) == {request("a").fingerprint: b"first"}


def test_failures_are_never_served_as_replies_and_the_newest_is_given(ledger: SqlLedger) -> None:
    asked = request("a")
    append(ledger, stored(asked, None, "HTTP 400: long", kind="rejected"))
    append(ledger, stored(asked, None, "HTTP 500: away"))
    assert ledger.replies([asked.fingerprint]) == {}
    assert ledger.failures([asked.fingerprint]) == {asked.fingerprint: StoredFailure("failed", "HTTP 500: away")}
    assert ledger.failures([request("b").fingerprint]) == {}


def test_look_ups_of_any_size_find_what_is_there(ledger: SqlLedger) -> None:
    asked = [request(f"q{number}") for number in range(2500)]
    append(ledger, *(stored(one, one.fingerprint.encode()) for one in asked[::2]))
    found = ledger.replies([one.fingerprint for one in asked])
    assert found == {one.fingerprint: one.fingerprint.encode() for one in asked[::2]}
    assert ledger.replies([]) == {}


def test_calls_are_counted_in_all_and_by_run(ledger: SqlLedger) -> None:
    append(ledger, *(stored(request(f"q{number}"), b"x", run=f"run-{number % 3}") for number in range(10)))
    assert (ledger.count(), ledger.count("run-0"), ledger.count("none")) == (10, 4, 0)


def test_waiting_calls_share_a_commit(ledger: SqlLedger) -> None:
    # 3,000 commits of one row each would take seconds of waiting for the disk; a few shared ones do not.
    began = time.monotonic()
    append(ledger, *(stored(request(f"q{number}"), b"x" * 2000) for number in range(3000)))
    assert ledger.count() == 3000
    assert time.monotonic() - began < 10.0


def test_a_lone_call_waits_for_no_timer(ledger: SqlLedger) -> None:
    async def one_after_the_other() -> float:
        began = time.monotonic()
        for number in range(20):
            await ledger.append(stored(request(f"q{number}"), b"x"))
        return time.monotonic() - began

    assert asyncio.run(one_after_the_other()) < 10.0


def test_calls_from_several_event_loops_are_all_acknowledged(ledger: SqlLedger) -> None:
    threads = [
        threading.Thread(
            target=append, args=(ledger, *(stored(request(f"q{number}-{one}"), b"x") for number in range(50)))
        )
        for one in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.count() == 200


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


def test_a_message_that_no_database_takes_as_text_is_stored_readable(ledger: SqlLedger) -> None:
    append(ledger, stored(request("a"), None, "null \0 and half a pair \ud83d"))
    (failure,) = ledger.failures([request("a").fingerprint]).values()
    assert failure.message == "null \\0 and half a pair \\ud83d"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "no url"])
def test_a_url_that_can_hold_no_ledger_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///data/ledger\.sqlite"):
        SqlLedger(url)


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database, but somebody's notes " * 100)
    with pytest.raises(LedgerUnwritable, match="cannot be opened"):
        SqlLedger(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"not a database")


def test_a_ledger_that_many_open_at_the_same_moment_is_set_up_once(tmp_path: Path) -> None:
    for attempt in range(5):
        url, together = f"sqlite:///{tmp_path / str(attempt)}.sqlite", threading.Barrier(12)

        def open_it(url: str = url, together: threading.Barrier = together) -> int:
            together.wait()
            with SqlLedger(url) as ledger:
                return ledger.count()

        with ThreadPoolExecutor(12) as pool:
            assert [opening.result() for opening in [pool.submit(open_it) for _ in range(12)]] == [0] * 12


CHILD = """
    import asyncio, sys
    from valbench_dagster_tests.llm_fakes import request, stored
    from valbench_dagster.adapters.ledger_sql import SqlLedger

    async def worker(ledger, name, count, number):
        for serial in range(count):
            asked = request(f"{name}-{number}-{serial}")
            await ledger.append(stored(asked, b"x" * 2000, run=name))
            print(asked.fingerprint, flush=True)

    async def main(url, name, count):
        with SqlLedger(url) as ledger:
            await asyncio.gather(*(worker(ledger, name, count, number) for number in range(16)))

    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def start(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    """Start a process that appends 16 times `count` calls and prints each fingerprint once it is acknowledged."""
    code = textwrap.dedent(CHILD)
    return subprocess.Popen(
        [sys.executable, "-c", code, f"sqlite:///{path}", name, str(count)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_that_start_at_once_on_no_file_lose_nothing(path: Path) -> None:
    children = [start(path, f"run-{number}", 10) for number in range(8)]
    acknowledged = [line for child in children for line in child.communicate(timeout=100)[0].split()]
    assert [child.returncode for child in children] == [0] * 8
    assert len(set(acknowledged)) == 8 * 16 * 10
    with SqlLedger(f"sqlite:///{path}") as ledger:
        assert ledger.count() == 8 * 16 * 10
        assert len(ledger.replies(acknowledged)) == 8 * 16 * 10
        assert ledger.count("run-3") == 160


def test_a_killed_process_loses_nothing_that_was_acknowledged(path: Path) -> None:
    with start(path, "killed", 1_000_000) as child:
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().strip() for _ in range(400)]
        child.kill()
        rest = child.stdout.read()
        # The last line may be half written; every whole one was acknowledged.
        acknowledged += rest[: rest.rfind("\n") + 1].split()
    with SqlLedger(f"sqlite:///{path}") as ledger:
        assert len(ledger.replies(acknowledged)) == len(acknowledged) >= 400
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA quick_check").fetchone() == ("ok",)
    other.close()


def test_a_reader_in_another_process_sees_what_a_writer_has_acknowledged(ledger: SqlLedger, path: Path) -> None:
    append(ledger, stored(request("a"), completion("yes")))
    with SqlLedger(f"sqlite:///{path}") as reader:
        assert reader.count() == 1
        append(ledger, stored(request("b"), completion("yes")))
        assert reader.count() == 2
