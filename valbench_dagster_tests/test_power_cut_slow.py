"""Power cuts at twenty random moments of 10,000 calls: every reply that was called stored is in the file that the last
finished sync left, the database is sound, and a rerun asks what is missing and nothing else.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from valbench_dagster.llm.calls import Answer
from valbench_dagster_tests import power_cut
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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(power_cut.ABSENT is not None, reason=str(power_cut.ABSENT)),
]

SEED = 5_10_05465

_log = logging.getLogger(__name__)
"""Says what was measured: shown by `--log-cli-level=INFO`."""


def record(folder: Path, *entries: tuple[str, int, int, bytes]) -> Path:
    """Write a record of one thread: what, which file, offset or length, bytes."""
    path = folder / "record"
    path.write_bytes(b"".join(power_cut.HEAD.pack(ord(e[0]), e[1], 1, e[2], len(e[3])) + e[3] for e in entries))
    return path


def test_what_was_written_before_a_finished_sync_survives_and_nothing_else(tmp_path: Path) -> None:
    database = tmp_path / "d.sqlite"
    database.write_bytes(b"0123456789")
    power_cut.keep(database, tmp_path / "before")
    # "ab" and "c" are written before the sync begins, "Z" while it runs; the log's sync never ends; its bytes are lost.
    entries = [("W", 1, 0, b"ab"), ("W", 1, 12, b"c"), ("B", 1, 0, b""), ("W", 1, 5, b"Z"), ("S", 1, 0, b"")]
    written = record(tmp_path, *entries, ("W", 2, 0, b"log"), ("B", 2, 0, b""))
    assert power_cut.cut(tmp_path / "before", database, written) == 1
    assert database.read_bytes() == b"ab23456789\0\0c"
    assert not (tmp_path / "d.sqlite-wal").exists()
    # The next sync takes the "Z" with it; a cut of the file to 6 bytes that is not synced is undone.
    written = record(tmp_path, *entries, ("B", 1, 0, b""), ("S", 1, 0, b""), ("T", 1, 6, b""))
    assert power_cut.cut(tmp_path / "before", database, written) == 2
    assert database.read_bytes() == b"ab234Z6789\0\0c"
    # A disk that lies about that sync has what the one before it left.
    power_cut.cut(tmp_path / "before", database, written, lost_syncs=1)
    assert database.read_bytes() == b"ab23456789\0\0c"


def test_a_record_whose_end_is_missing_is_read_to_its_last_whole_entry(tmp_path: Path) -> None:
    database = tmp_path / "d.sqlite"
    written = record(tmp_path, ("W", 1, 0, b"ab"), ("B", 1, 0, b""), ("S", 1, 0, b""), ("W", 1, 0, b"longer"))
    written.write_bytes(written.read_bytes()[:-3])
    assert power_cut.cut(tmp_path / "before", database, written) == 1
    assert database.read_bytes() == b"ab"


@dataclass(frozen=True)
class PowerCuts:
    """Twenty runs that ended in a power cut, the syncs of each, the run that was not cut, and the answers of it all.

    `lied` is what the ledger would have held after each cut if the disk had only pretended to sync since its last but
    nine.
    """

    runs: list[BrokenRun]
    syncs: list[int]
    lied: list[int]
    last: BrokenRun
    answers: list[Answer]
    unbroken: list[Answer]


@pytest.fixture(scope="module")
def power_cuts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerCuts]:
    base, random = tmp_path_factory.mktemp("power-cut"), Random(SEED)
    library = power_cut.build(base)
    runs, syncs, lied = [], [], []
    with call_server(base / "server", LATENCY_S) as server:
        unbroken = unbroken_answers(base / "unbroken", server)
        breaking = Breaking(base / "cut", server)
        before, other = base / "before.sqlite", base / "lied.sqlite"
        for number, moment in enumerate(moments(SEED)):
            noted = base / f"record-{number}"
            power_cut.keep(breaking.ledger, before)

            def fall(number: int = number, noted: Path = noted) -> None:
                # Of what was not synced, nothing survives one cut, and a random half of the sectors the next.
                power_cut.cut(before, other, noted, lost_syncs=9)
                lied.append(_replies(other))
                torn = random if number % 2 else None
                syncs.append(power_cut.cut(before, breaking.ledger, noted, torn))

            runs.append(breaking.run(moment, power_cut.recording(library, breaking.ledger, noted), fall))
            noted.unlink()
        last = breaking.run(None)
        yield PowerCuts(runs, syncs, lied, last, breaking.answers(), unbroken)


def test_the_cuts_came_while_there_was_work_to_lose(power_cuts: PowerCuts) -> None:
    assert len(power_cuts.runs) == BREAKS
    assert len(power_cuts.runs[-1].stored) < CALLS
    # A run may be cut off before its first commit; few are.
    assert sum(count > 0 for count in power_cuts.syncs) >= BREAKS // 2
    _log.info("syncs before each cut: %s; stored: %s", power_cuts.syncs, [len(run.stored) for run in power_cuts.runs])


def test_every_reply_that_was_called_stored_survives_the_power_cut(power_cuts: PowerCuts) -> None:
    # `Breaking.held` has looked over each file that a cut left: it opens and is sound.
    for run in power_cuts.runs:
        assert run.acknowledged <= run.stored
        assert run.held <= run.stored


def test_a_disk_that_lies_about_its_syncs_is_found_out(power_cuts: PowerCuts) -> None:
    # The proof can fail: without its last syncs a file lacks replies that the engine was told are safe.
    short = [
        held < len(run.held | run.acknowledged) for run, held in zip(power_cuts.runs, power_cuts.lied, strict=True)
    ]
    assert sum(short) >= BREAKS // 2


def test_a_rerun_after_a_power_cut_asks_what_is_missing_and_nothing_else(power_cuts: PowerCuts) -> None:
    for run in (*power_cuts.runs, power_cuts.last):
        assert run.held.isdisjoint(run.asked)
        assert len(run.asked) == len(set(run.asked))
    assert set(power_cuts.last.asked) == set(range(CALLS)) - power_cuts.last.held


def test_a_power_cut_loses_at_most_the_calls_in_flight_and_the_replies_of_one_commit(power_cuts: PowerCuts) -> None:
    for run in power_cuts.runs:
        assert len(run.lost) <= PLACES + run.unsettled
        assert run.unsettled <= 2 * PLACES
    repaid = sum(len(run.answered) for run in (*power_cuts.runs, power_cuts.last)) - CALLS
    _log.info("%s calls were repaid over %s power cuts", repaid, BREAKS)
    assert 0 <= repaid <= sum(PLACES + run.unsettled for run in power_cuts.runs)


def test_the_answers_after_all_power_cuts_are_those_of_an_unbroken_run(power_cuts: PowerCuts) -> None:
    assert power_cuts.last.stored == frozenset(range(CALLS))
    assert [answer.outcome for answer in power_cuts.answers] == ["reply"] * CALLS
    assert power_cuts.answers == power_cuts.unbroken


def _replies(ledger: Path) -> int:
    """Count the calls of a ledger, 0 where there is none yet."""
    if not ledger.is_file():
        return 0
    with closing(sqlite3.connect(ledger)) as connection:
        if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'calls'").fetchall():
            return 0
        [(count,)] = connection.execute("SELECT count(*) FROM calls").fetchall()
        return int(count)
