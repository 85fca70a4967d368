"""Runs that are broken off with `kill -9` at random moments, one after the other on one ledger, until one may end.

Here belongs the breaking and the account of it: what a run knew, asked, was answered, and what the ledger held after.
What becomes of the ledger's files between two runs is the test's (`test_kill_calls_slow.py` leaves them as they are,
`test_power_cut_slow.py` takes back what no sync had finished).
"""

import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from benchmarks.inference.engine import questions
from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.llm.calls import Answer
from valbench_dagster.llm.settle import answers
from valbench_dagster_tests.call_server import CallServer, child_environment, module
from valbench_dagster_tests.power_cut import keep
from valbench_dagster_tests.servers import Child, started

CALLS = 10_000
PLACES = 128
LATENCY_S = 0.2
BREAKS = 20
LONGEST_S = 0.7
"""A run is broken off within so many seconds of its first reply, of which there are some 600 a second."""


@dataclass(frozen=True)
class BrokenRun:
    """One run: marks of calls that the ledger held before and after it, that the server was asked and answered, that
    the engine handed to the ledger, and that it was told are safe.
    """

    held: frozenset[int]
    asked: tuple[int, ...]
    answered: tuple[int, ...]
    handed: frozenset[int]
    acknowledged: frozenset[int]
    stored: frozenset[int]

    @property
    def lost(self) -> set[int]:
        """What was answered to a process that lived, and is not in the ledger."""
        return set(self.answered) - self.stored

    @property
    def unsettled(self) -> int:
        """How many replies waited for their commit when the run was broken off."""
        return len(self.handed - self.acknowledged)


class Breaking:
    """A ledger in `folder`, and the runs on it."""

    def __init__(self, folder: Path, server: CallServer) -> None:
        folder.mkdir()
        self.folder = folder
        self.ledger = folder / "ledger.sqlite"
        self._server = server
        self._marks = {question.request.fingerprint: mark for mark, question in enumerate(questions(0, CALLS))}
        self._runs = 0

    def run(
        self,
        until: float | None,
        env: Mapping[str, str] | None = None,
        after: Callable[[], None] | None = None,
    ) -> BrokenRun:
        """Ask all that is missing; broken off so many seconds after its first reply, null: not at all.

        `env` is added to the child's environment, `after` called when it is dead and before the ledger is looked at.
        """
        self._runs += 1
        held, acknowledged = self.held(), self.folder / f"acknowledged-{self._runs}"
        command = [
            *module("benchmarks.inference.engine"),
            *(self._server.base_url, str(self.ledger), "--calls", str(CALLS), "--concurrency", str(PLACES)),
            *("--acknowledged", str(acknowledged)),
        ]
        environment = {**child_environment(self.folder), **(env or {})}
        with started(command, self.folder, environment, f"{self.folder.name}-{self._runs}") as child:
            if until is None:
                child.ends(300)
            else:
                child.wait_until(lambda: acknowledged.exists() and acknowledged.stat().st_size > 0, within_s=60)
                _break_off(child, until)
        if after is not None:
            after()
        marks = self._server.marks()
        lines = acknowledged.read_text().splitlines()
        return BrokenRun(
            held=held,
            asked=marks.asked,
            answered=marks.answered,
            handed=self._marked(line[2:] for line in lines if line.startswith("+ ")),
            acknowledged=self._marked(line[2:] for line in lines if line.startswith("= ")),
            stored=self.held(),
        )

    def held(self) -> frozenset[int]:
        """Give the marks of the replies in the ledger, which must be sound and hold each once.

        A copy is looked at: opening a database mends it, and that is for the next run to do.
        """
        if not self.ledger.is_file():
            return frozenset()
        copy = self.folder / "looked-at.sqlite"
        keep(self.ledger, copy)
        with closing(sqlite3.connect(copy)) as ledger:
            assert ledger.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            if not ledger.execute("SELECT name FROM sqlite_master WHERE name = 'calls'").fetchall():
                return frozenset()
            rows = ledger.execute("SELECT fingerprint, kind FROM calls").fetchall()
        assert {kind for _, kind in rows} <= {"reply"}
        assert len(rows) == len({fingerprint for fingerprint, _ in rows})
        return self._marked(fingerprint for fingerprint, _ in rows)

    def answers(self) -> list[Answer]:
        """Give what became of every question, by the ledger."""
        ledger = SqlLedger(f"sqlite:///{self.ledger}")
        try:
            return list(answers(questions(0, CALLS), ledger))
        finally:
            ledger.close()

    def _marked(self, fingerprints: Iterable[str]) -> frozenset[int]:
        return frozenset(self._marks[fingerprint] for fingerprint in fingerprints)


def moments(seed: int) -> list[float]:
    """Give the seconds after its first reply at which each run is broken off."""
    random = Random(seed)
    return [random.uniform(0.0, LONGEST_S) for _ in range(BREAKS)]


def unbroken_answers(folder: Path, server: CallServer) -> list[Answer]:
    """Run once without a break, on a ledger of its own and a server that answers at once; give what came of it."""
    server.latency(0.0)
    unbroken = Breaking(folder, server)
    unbroken.run(None)
    server.latency(LATENCY_S)
    return unbroken.answers()


def _break_off(child: Child, seconds: float) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        child.process.wait(seconds)
    child.send(signal.SIGKILL)
    child.ends(60, code=-signal.SIGKILL)
