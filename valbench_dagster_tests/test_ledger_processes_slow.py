"""Several processes on one ledger, or busy threads: no row is lost, no lock is an error, a served reply stays."""

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster_tests.ledger_laws import append
from valbench_dagster_tests.llm_fakes import request as question
from valbench_dagster_tests.llm_fakes import stored
from valbench_dagster_tests.postgres_server import postgres_server

pytestmark = pytest.mark.slow

EACH = 3000
STEP = 1000
"""Processes begin this many questions apart: two thirds of each one's questions are another's too."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty ledger."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    else:
        with postgres_server() as server:
            yield server.url()


@contextmanager
def start(url: str, name: str, first: int, count: int, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of `ledger_child` that says into a file what was acknowledged; it is over at the end."""
    with said.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "valbench_dagster_tests.ledger_child", url, name, str(first), str(count)],
            cwd=Path(__file__).parents[1],
            stdout=out,
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def acknowledged(said: Path) -> list[str]:
    """Read what a process said; the last line may be half written, every whole one was acknowledged."""
    text = said.read_text()
    return text[: text.rfind("\n") + 1].split()


def test_three_processes_lose_nothing_and_what_was_served_stays(url: str, tmp_path: Path) -> None:
    shared = [question(f"q{number}").fingerprint for number in range(STEP, STEP + EACH)]
    served: dict[str, bytes] = {}
    with ExitStack() as stack:
        ledger = stack.enter_context(SqlLedger(url))
        files = [tmp_path / str(number) for number in range(3)]
        children = [
            stack.enter_context(start(url, f"run-{number}", number * STEP, EACH, files[number])) for number in range(3)
        ]
        while any(child.poll() is None for child in children):
            for fingerprint, reply in ledger.replies(shared).items():
                assert served.setdefault(fingerprint, reply) == reply, "a reply was served, and then another"
        assert [child.returncode for child in children] == [0] * 3
        assert [len(acknowledged(file)) for file in files] == [EACH] * 3
        assert [ledger.count(f"run-{number}") for number in range(3)] == [EACH] * 3
        # q0 to q4999: 3 x 3,000 questions, each process beginning 1,000 after the one before.
        everything = ledger.replies([question(f"q{number}").fingerprint for number in range(5000)])
        assert len(everything) == 5000
        assert served.items() <= everything.items()


def test_processes_that_start_at_once_on_no_ledger_lose_nothing(url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        files = [tmp_path / str(number) for number in range(8)]
        children = [stack.enter_context(start(url, "run", n * 160, 160, file)) for n, file in enumerate(files)]
        assert [child.wait(timeout=100) for child in children] == [0] * 8
    said = [fingerprint for file in files for fingerprint in acknowledged(file)]
    with SqlLedger(url) as ledger:
        assert ledger.count() == len(said) == 8 * 160
        assert ledger.known(said) == set(said)


def test_a_killed_process_loses_nothing_that_was_acknowledged(url: str, tmp_path: Path) -> None:
    moments, said = random.Random(5), list[str]()
    with SqlLedger(url) as ledger:
        for attempt in range(3):
            file, enough = tmp_path / str(attempt), ledger.count() + moments.randrange(100, 600)
            with start(url, f"killed-{attempt}", attempt * 1_000_000, 1_000_000, file) as child:
                while child.poll() is None and ledger.count() < enough:
                    os.sched_yield()
                child.kill()
            said += acknowledged(file)
        assert len(said) > 100
        assert ledger.known(said) == set(said)
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
            assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_busy_thread_does_not_starve_the_writer(tmp_path: Path) -> None:
    # The driver lets go of Python's lock at every statement, and waits up to 5 ms to have it back beside a thread that
    # never rests: row by row 3,000 take 15 s at the least, and did before rows shared a statement.
    done = threading.Event()

    def never_rest() -> None:
        while not done.is_set():
            sum(range(100))

    busy = threading.Thread(target=never_rest)
    calls = [stored(question(f"q{number}"), b"x" * 1500) for number in range(3000)]
    with SqlLedger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        busy.start()
        try:
            began = time.monotonic()
            append(ledger, *calls)
            took = time.monotonic() - began
        finally:
            done.set()
            busy.join()
        assert ledger.count() == 3000
        assert took < 12.0
