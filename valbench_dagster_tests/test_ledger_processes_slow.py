"""Several processes on one ledger: no row is lost, no lock is an error, and a reply that was seen stays the served one."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster_tests.llm_fakes import request as question
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


def start(url: str, name: str, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "valbench_dagster_tests.ledger_child", url, name, str(first), str(count)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_three_processes_lose_nothing_and_what_was_served_stays(url: str) -> None:
    shared = [question(f"q{number}").fingerprint for number in range(STEP, STEP + EACH)]
    served: dict[str, bytes] = {}
    with SqlLedger(url) as ledger:
        children = [start(url, f"run-{number}", number * STEP, EACH) for number in range(3)]
        while any(child.poll() is None for child in children) and ledger.count() < 3 * EACH:
            for fingerprint, reply in ledger.replies(shared).items():
                assert served.setdefault(fingerprint, reply) == reply, "a reply was served, and then another"
        said = [child.communicate(timeout=100) for child in children]
        assert [(child.returncode, errors) for child, (_, errors) in zip(children, said, strict=True)] == [(0, "")] * 3
        assert [len(out.split()) for out, _ in said] == [EACH] * 3
        assert [ledger.count(f"run-{number}") for number in range(3)] == [EACH] * 3
        # q0 to q4999: 3 x 3,000 questions, each process beginning 1,000 after the one before.
        everything = ledger.replies([question(f"q{number}").fingerprint for number in range(5000)])
        assert len(everything) == 5000
        assert served.items() <= everything.items()


def test_processes_that_start_at_once_on_no_ledger_lose_nothing(url: str) -> None:
    children = [start(url, f"run-{number}", number * 160, 160) for number in range(8)]
    acknowledged = [line for child in children for line in child.communicate(timeout=100)[0].split()]
    assert [child.returncode for child in children] == [0] * 8
    assert len(set(acknowledged)) == 8 * 160
    with SqlLedger(url) as ledger:
        assert ledger.count() == 8 * 160
        assert ledger.known(acknowledged) == set(acknowledged)


def test_a_killed_process_loses_nothing_that_was_acknowledged(url: str) -> None:
    moments = random.Random(5)
    acknowledged: list[str] = []
    for attempt in range(3):
        with start(url, f"killed-{attempt}", attempt * 1_000_000, 1_000_000) as child:
            assert child.stdout is not None
            acknowledged += [child.stdout.readline().strip() for _ in range(moments.randrange(100, 600))]
            child.kill()
            rest = child.stdout.read()
            # The last line may be half written; every whole one was acknowledged.
            acknowledged += rest[: rest.rfind("\n") + 1].split()
    with SqlLedger(url) as ledger:
        assert ledger.known(acknowledged) == set(acknowledged)
        # What a process stored and could not say any more: at most what it had under way.
        assert len(acknowledged) <= ledger.count() <= len(acknowledged) + 3 * 16


def test_a_killed_process_leaves_a_sound_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with start(f"sqlite:///{path}", "killed", 0, 1_000_000) as child:
        assert child.stdout is not None
        for _ in range(300):
            child.stdout.readline()
        child.kill()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
