"""What a run has paid for is not paid for again: evaluations are killed and interrupted as processes, and rerun.

The stand-ins answer over the wire with a latency, so that many calls are in flight at any moment. A relay counts the
calls that reach the server, which the ledger of a killed run cannot.
"""

import logging
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from valbench_dagster_tests.grown import GROWN, PAIRS_A_COPY, SECTIONS_A_COPY, grow_dump, write_roster
from valbench_dagster_tests.homes import Home, differing
from valbench_dagster_tests.servers import Relay, environment, relayed, run, stand_ins, started, valbench

pytestmark = pytest.mark.slow

MODEL = "mixture"
EVALUATE = (valbench(), "evaluate", "--snapshot", GROWN, "--model", MODEL)
LATENCY_S = 0.05
WITHIN_S = 400.0

_log = logging.getLogger(__name__)
"""Says what was measured: shown by `--log-cli-level=INFO`."""


@dataclass(frozen=True)
class GrownHome(Home):
    """A home with a grown dump and its roster."""

    roster: Path

    def evaluate(self, name: str) -> None:
        """Evaluate in a child process, to the end."""
        run(EVALUATE, self.folder, self.env, name, WITHIN_S)

    def responses(self) -> int:
        """How many responses the ledger holds."""
        return self.calls(f"stand-in-{MODEL}")

    @property
    def folder(self) -> Path:
        return self.path.parent / "folder"

    @property
    def env(self) -> Mapping[str, str]:
        return environment(self.path, self.roster)


def make_home(folder: Path, base_url: str, copies: int, concurrency: int) -> GrownHome:
    """Make a home with the snapshot of a grown dump.

    The endpoint serves one run at a time: were a killed run to keep its place in Dagster's pool, the next would wait
    for ever.
    """
    folder.mkdir()
    dump = grow_dump(folder / "dumps" / "sample-20260301-pages-articles.xml", copies)
    roster = write_roster(folder / "roster.toml", base_url, models=[MODEL], concurrency=concurrency, runs=1)
    home = GrownHome(folder / "home", roster)
    run([valbench(), "snapshot", "add", GROWN, dump], home.folder, home.env, "add")
    return home


# --- kill -9 in the middle of a large evaluation ---------------------------------------------------------------------

COPIES = 22
PAIRS = COPIES * PAIRS_A_COPY  # 22 * 47 = 1,034, so 2,068 responses
CONCURRENCY = 16
# Each section is annotated, each of the issues that are kept is written a pair; two responses and one verdict a pair.
TOTAL = COPIES * SECTIONS_A_COPY + PAIRS + 2 * PAIRS + PAIRS


@dataclass(frozen=True)
class Killed:
    """What happened: an unbroken run in one home, and in the other a killed one, its rerun, and the same once more.

    `held` is what the ledger held when the process was dead; `sent` counts the calls that reached the server.
    """

    unbroken: GrownHome
    home: GrownHome
    held: list[tuple[str, str, str]]
    rerun: list[tuple[str, str, str]]
    sent: int
    facts: Mapping[str, str]
    tables: Mapping[str, pl.DataFrame]
    sent_again: int


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    base = tmp_path_factory.mktemp("kill")
    with stand_ins(base, "one-server", LATENCY_S) as base_url:
        unbroken = make_home(base / "unbroken", base_url, COPIES, CONCURRENCY)
        unbroken.evaluate("evaluate")
    with stand_ins(base, "other-server", LATENCY_S) as upstream, relayed(upstream) as relay:
        home = make_home(base / "killed", relay.base_url, COPIES, CONCURRENCY)
        with started(EVALUATE, home.folder, home.env, "killed") as child:
            child.wait_until(lambda: home.responses() >= PAIRS, WITHIN_S)
            child.send(signal.SIGKILL)
            child.ends(60, code=-signal.SIGKILL)
        held = home.asked()
        home.evaluate("rerun")
        sent, asked, facts, tables = relay.calls, home.asked(), home.facts(), home.tables()
        home.evaluate("again")
        yield Killed(unbroken, home, held, asked[len(held) :], sent, facts, tables, relay.calls - sent)


def test_the_kill_came_about_the_middle_of_more_than_two_thousand_responses(killed: Killed) -> None:
    models = Counter(model for _, _, model in killed.held)
    _log.info("the ledger held %s of %s calls at the kill", len(killed.held), TOTAL)
    assert (models["stand-in-annotator"], models["stand-in-writer"]) == (COPIES * SECTIONS_A_COPY, PAIRS)
    # Half of the responses, and what the ledger took in between two looks at it.
    assert PAIRS <= models["stand-in-mixture"] < 2 * PAIRS
    assert models["stand-in-judge"] == 0


def test_no_call_with_a_reply_at_the_kill_is_asked_again(killed: Killed) -> None:
    replied = [fingerprint for fingerprint, kind, _ in [*killed.held, *killed.rerun] if kind == "reply"]
    assert len(replied) == len(set(replied)) == TOTAL
    assert len(killed.rerun) == TOTAL - len(killed.held)
    assert sorted(replied) == sorted(fingerprint for fingerprint, _, _ in killed.unbroken.asked())


def test_a_kill_repays_at_most_the_calls_in_flight_and_those_of_one_commit(killed: Killed) -> None:
    # Sent, and not among the replies stored: in flight, at most as many as the endpoint's places, or waiting for the
    # commit, at most as many again (there are two workers a place, and each carries one call).
    repaid = killed.sent - TOTAL
    _log.info("%s calls were repaid, of %s places", repaid, CONCURRENCY)
    assert 0 <= repaid <= 2 * CONCURRENCY


def test_the_facts_after_a_kill_are_those_of_an_unbroken_run_byte_for_byte(killed: Killed) -> None:
    assert killed.facts == killed.unbroken.facts()


def test_the_tables_after_a_kill_are_those_of_an_unbroken_run(killed: Killed) -> None:
    assert differing(killed.tables, killed.unbroken.tables()) == []
    assert killed.tables["pairs"].height == PAIRS
    assert killed.tables["responses"].height == 2 * PAIRS
    assert killed.tables["pair_scores"].height >= PAIRS


def test_an_evaluation_that_is_complete_makes_no_call_and_changes_nothing(killed: Killed) -> None:
    assert killed.sent_again == 0
    assert len(killed.home.asked()) == TOTAL
    assert killed.home.facts() == killed.facts
    assert differing(killed.home.tables(), killed.tables) == []


# --- stopped by a person or by a scheduler ---------------------------------------------------------------------------

FEW_COPIES = 4
FEW_PAIRS = FEW_COPIES * PAIRS_A_COPY
FEW_PLACES = 4
FEW_CALLS = FEW_COPIES * SECTIONS_A_COPY + FEW_PAIRS + 2 * FEW_PAIRS + FEW_PAIRS


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with stand_ins(tmp_path_factory.mktemp("served"), "server", LATENCY_S) as upstream, relayed(upstream) as relay:
        yield relay


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: str(number.name))
def test_an_evaluation_that_is_told_to_stop_ends_cleanly_and_loses_nothing(
    number: signal.Signals, served: Relay, tmp_path: Path
) -> None:
    home = make_home(tmp_path / "stopped", served.base_url, FEW_COPIES, FEW_PLACES)
    before = served.calls
    with started(EVALUATE, home.folder, home.env, "stopped") as child:
        child.wait_until(lambda: home.responses() >= FEW_PAIRS // 2, WITHIN_S)
        child.send(number)
        # It says that the run did not end well, by one sentence and its return code, and dies by no signal.
        child.ends(60, code=1)
        said = child.stderr.read_text(encoding="utf-8")
    assert "Error: run " in said, child.shown()
    assert "Traceback" not in said, child.shown()
    held, sent = home.asked(), served.calls - before
    assert {kind for _, kind, _ in held} == {"reply"}
    assert FEW_PAIRS // 2 <= Counter(model for _, _, model in held)["stand-in-mixture"] < 2 * FEW_PAIRS
    # Every reply that had arrived is stored: what is missing was on its way.
    assert 0 <= sent - len(held) <= FEW_PLACES
    home.evaluate("rerun")
    asked = home.asked()
    assert len(asked) == len({fingerprint for fingerprint, _, _ in asked}) == FEW_CALLS
    assert asked[: len(held)] == held
    assert served.calls - before - FEW_CALLS == sent - len(held)
    assert home.tables()["responses"].height == 2 * FEW_PAIRS
