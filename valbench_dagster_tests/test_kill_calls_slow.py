"""`kill -9` at twenty random moments of 10,000 calls: nothing stored is asked again, nothing is lost but what was under
way, and what comes of it in the end is what an unbroken run gives.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from valbench_dagster.llm.calls import Answer
from valbench_dagster_tests.broken_runs import (
    BREAKS,
    CALLS,
    LATENCY_S,
    PLACES,
    Breaking,
    BrokenRun,
    moments,
    unbroken_answers,
)
from valbench_dagster_tests.call_server import call_server

pytestmark = pytest.mark.slow

SEED = 20261121

_log = logging.getLogger(__name__)
"""Says what was measured: shown by `--log-cli-level=INFO`."""


@dataclass(frozen=True)
class Killed:
    """Twenty runs that were killed, the one that was not, and the answers of it all."""

    runs: list[BrokenRun]
    last: BrokenRun
    answers: list[Answer]
    unbroken: list[Answer]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    base = tmp_path_factory.mktemp("kill-calls")
    with call_server(base / "server", LATENCY_S) as server:
        unbroken = unbroken_answers(base / "unbroken", server)
        breaking = Breaking(base / "killed", server)
        runs = [breaking.run(moment) for moment in moments(SEED)]
        last = breaking.run(None)
        yield Killed(runs, last, breaking.answers(), unbroken)


def test_the_kills_came_while_there_was_work_to_lose(killed: Killed) -> None:
    assert len(killed.runs) == BREAKS
    assert len(killed.runs[-1].stored) < CALLS
    assert all(run.handed for run in killed.runs)
    _log.info("in the ledger after each kill: %s", [len(run.stored) for run in killed.runs])


def test_nothing_that_the_ledger_held_is_asked_again(killed: Killed) -> None:
    for run in (*killed.runs, killed.last):
        assert run.held.isdisjoint(run.asked)
        assert len(run.asked) == len(set(run.asked))


def test_every_reply_that_was_called_stored_is_there_after_the_kill(killed: Killed) -> None:
    for run in killed.runs:
        assert run.acknowledged <= run.stored
        assert run.held <= run.stored


def test_a_kill_loses_at_most_the_calls_in_flight_and_the_replies_of_one_commit(killed: Killed) -> None:
    for run in killed.runs:
        assert len(run.lost) <= PLACES + run.unsettled
        assert run.unsettled <= 2 * PLACES
    repaid = sum(len(run.answered) for run in (*killed.runs, killed.last)) - CALLS
    _log.info("%s calls were repaid; waiting for a commit at the kills: %s", repaid, [r.unsettled for r in killed.runs])
    assert 0 <= repaid <= sum(PLACES + run.unsettled for run in killed.runs)


def test_the_answers_after_all_kills_are_those_of_an_unbroken_run(killed: Killed) -> None:
    assert killed.last.stored == frozenset(range(CALLS))
    assert [answer.outcome for answer in killed.answers] == ["reply"] * CALLS
    assert killed.answers == killed.unbroken
