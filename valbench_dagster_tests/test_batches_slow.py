"""Processes that ask by batches are killed by the operating system, at named and at random moments, and run again.

The provider is served by the test's own process and counts what it works off; what a killed process leaves is a SQLite
file.
"""

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.llm.settle import answers
from valbench_dagster_tests.batch_fakes import asked
from valbench_dagster_tests.batch_provider import ApiError, BatchProvider, Fate, billed_twice
from valbench_dagster_tests.batch_server import BatchServer
from valbench_dagster_tests.served_apps import serving
from valbench_dagster_tests.servers import Child, environment, started

pytestmark = pytest.mark.slow

WITHIN_S = 60.0
KILLS = 10
SEED = 20261121

_log = logging.getLogger(__name__)
"""Says what was measured: shown by `--log-cli-level=INFO`."""


@dataclass
class Scene:
    """A provider that is served, and a ledger that is all a killed process leaves."""

    provider: BatchProvider
    base_url: str
    folder: Path
    runs: int = 0

    @property
    def ledger_url(self) -> str:
        return f"sqlite:///{self.folder / 'ledger.sqlite'}"

    def run(self, number: int, kill: Callable[[Child], None] | None) -> bool:
        """Ask the first questions in a child, which `kill` ends; give whether it was done all the same."""
        self.runs += 1
        root = Path(__file__).resolve().parent.parent
        env = {**environment(self.folder / "home"), "PYTHONPATH": str(root)}
        module = [sys.executable, "-m", "valbench_dagster_tests.batch_child"]
        command = [*module, self.ledger_url, self.base_url, str(number), f"run-{self.runs}"]
        with started(command, self.folder / "cwd", env, f"run-{self.runs}") as child:
            if kill is None:
                child.ends(WITHIN_S)
            else:
                child.wait_until(lambda: "BEGIN" in child.printed(), WITHIN_S)
                kill(child)
            return "DONE" in child.printed()

    def stored(self) -> int:
        with SqlLedger(self.ledger_url) as ledger:
            return ledger.count()

    def sound(self, number: int) -> None:
        """Check that all is answered, once, that nothing was paid twice, and that nothing is left open."""
        with SqlLedger(self.ledger_url) as ledger:
            assert {answer.outcome for answer in answers(asked(number), ledger)} == {"reply"}
            assert ledger.count() == number
            assert ledger.batch_events("lab") == []
        assert list(billed_twice(self.provider)) == []
        assert len(self.provider.worked_off) == number


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    provider = BatchProvider(fate=lambda _: Fate(looks=3))
    with serving(BatchServer(provider).app) as base_url:
        yield Scene(provider, base_url, tmp_path)


def killed_during(scene: Scene, request: str, done: bool) -> Callable[[Child], None]:
    """Give what kills a child while it waits for the answer to a request that the provider has `done`, or has not."""
    killed = threading.Event()
    method = getattr(scene.provider, request)

    def kill(child: Child) -> None:
        def held(*arguments: object) -> object:
            result = method(*arguments) if done else None
            child.send(signal.SIGKILL)
            child.process.wait(WITHIN_S)
            killed.set()
            if not done:
                raise ApiError(500, "never_done", "nobody is there to read this")
            return result

        setattr(scene.provider, request, held)
        assert killed.wait(WITHIN_S), child.shown()
        setattr(scene.provider, request, method)

    return kill


@pytest.mark.parametrize(
    ("request_kind", "done"),
    [("upload", True), ("create", False), ("create", True), ("retrieve", False), ("content", True), ("delete", True)],
    ids=lambda value: value if isinstance(value, str) else ("done" if value else "not done"),
)
def test_a_kill_during_a_request_to_the_provider_loses_and_repays_nothing(
    scene: Scene, request_kind: str, done: bool
) -> None:
    assert not scene.run(900, killed_during(scene, request_kind, done))
    assert scene.run(900, None)
    scene.sound(900)
    assert [len(ids) for ids in scene.provider.custom_ids()] in ([500, 400], [400, 500])


def test_a_kill_in_the_middle_of_collecting_loses_and_repays_nothing(scene: Scene) -> None:
    def kill(child: Child) -> None:
        child.wait_until(lambda: scene.stored() > 0, WITHIN_S)
        child.send(signal.SIGKILL)
        child.ends(WITHIN_S, code=-signal.SIGKILL)

    scene.run(3000, kill)
    _log.info("killed with %s of 3,000 replies stored", scene.stored())
    assert 0 < scene.stored() < 3000
    assert scene.run(3000, None)
    scene.sound(3000)
    assert [len(ids) for ids in scene.provider.custom_ids()] == [500] * 6


def test_kills_at_random_moments_lose_and_repay_nothing(scene: Scene) -> None:
    rng = Random(SEED)
    # Every third batch runs out of time with some of its lines not done.
    scene.provider.fate = lambda number: Fate("expired", 100, 5) if number % 3 == 2 else Fate(looks=5)
    killed = 0
    for number in range(1, KILLS + 1):

        def kill(child: Child) -> None:
            try:
                child.process.wait(rng.uniform(0.0, 1.2))
            except subprocess.TimeoutExpired:
                child.send(signal.SIGKILL)
                child.process.wait(WITHIN_S)

        killed += not scene.run(200 * number, kill)
    assert scene.run(200 * KILLS, None)
    _log.info("%s of %s runs were killed; %s batches were made", killed, KILLS, len(scene.provider.jobs))
    assert killed >= 3
    scene.sound(200 * KILLS)


def test_an_interrupt_ends_a_waiting_run_in_order(scene: Scene) -> None:
    scene.provider.fate = lambda _: Fate(looks=10_000)

    def interrupt(child: Child) -> None:
        child.wait_until(lambda: scene.provider.asked["retrieve"] > 3, WITHIN_S)
        child.send(signal.SIGINT)
        child.ends(WITHIN_S, code=130)
        said = child.stderr.read_text(encoding="utf-8")
        assert "1 batches with 50 requests are at endpoint lab: they go on there; run again to collect" in said
        assert "Traceback" not in said

    assert not scene.run(50, interrupt)
    for job in scene.provider.jobs.values():
        job.fate = Fate(looks=3)
    assert scene.run(50, None)
    scene.sound(50)
    assert len(scene.provider.jobs) == 1
