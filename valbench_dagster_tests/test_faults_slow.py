"""Ten thousand calls against a server that answers badly on purpose, by the engine as it is and into SQLite."""

import time
from pathlib import Path

import pytest

from valbench_dagster_tests.fault_answers import FAULTS, ODDITIES
from valbench_dagster_tests.fault_server import FaultServer, always, by_chance, evenly, serving
from valbench_dagster_tests.faulty_runs import ask, check, open_ledger, questions
from valbench_dagster_tests.llm_fakes import question

pytestmark = pytest.mark.slow

CALLS = 10_000
# One reply in a thousand is of 5 MB: each is 5 MB of ledger.
SHARES = {**evenly([*FAULTS], 0.3), **evenly([name for name in ODDITIES if name != "big"], 0.1), "big": 0.001}
CHANCE = by_chance(SHARES, seed=11)


DOOMED = {f"prompt {number}" for number in range(0, CALLS, 500)}


def script(prompt: str, number: int) -> str:
    """Answer by chance, but twenty prompts never well."""
    return "error_500" if prompt in DOOMED else CHANCE(prompt, number)


def test_of_10_000_calls_with_30_percent_faults_each_ends_once(tmp_path: Path) -> None:
    asked = questions(CALLS)
    with serving(FaultServer(script)) as server, open_ledger(tmp_path) as ledger:
        began = time.monotonic()
        tally = ask(server, ledger, asked, concurrency=64, first_byte_timeout_s=0.5)
        took = time.monotonic() - began
        outcomes = check(server, ledger, asked)

        # One row for each, and nothing else. Beside the doomed about 10,000 x 0.3 ^ 6 = 7 meet a fault at six tries.
        assert ledger.count() == tally.asked == CALLS
        assert outcomes["reply"] + outcomes["failed"] == CALLS
        assert len(DOOMED) <= outcomes["failed"] == tally.failed < len(DOOMED) + 50
        assert all(server.answers[name] for name in SHARES)
        # About 0.3 x 10,000 / 0.7 = 4,286 faults are met, and those of the doomed.
        assert 3500 < sum(server.answers[name] for name in FAULTS) < 5000
        # Of what was paid for, next to nothing was lost on its way.
        assert sum(server.replies.values()) <= outcomes["reply"] + 20
        assert took < 90

        # The second run asks what failed, and nothing else.
        missing, served = outcomes["failed"], server.tries.copy()
        server.script = always("good")
        again = ask(server, ledger, asked, concurrency=64)
        assert (again.from_ledger, again.asked, again.failed) == (CALLS - missing, missing, 0)
        assert sum((server.tries - served).values()) == missing
        assert check(server, ledger, asked) == {"reply": CALLS}
        assert ledger.count() == CALLS + missing


def test_of_10_000_prompts_the_one_of_10_mb_is_rejected_alone(tmp_path: Path) -> None:
    asked = questions(CALLS - 1)
    asked.insert(5_000, question("far too long " * 800_000))
    with serving(FaultServer(longest_body=1_000_000)) as server, open_ledger(tmp_path) as ledger:
        tally = ask(server, ledger, asked, concurrency=64)
        assert check(server, ledger, asked) == {"reply": CALLS - 1, "rejected": 1}
        assert (tally.rejected, ledger.count()) == (1, CALLS)
        assert server.answers == {"good": CALLS - 1, "413": 1}
