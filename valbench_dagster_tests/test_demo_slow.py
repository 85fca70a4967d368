"""`valbench demo` as a person runs it, twice: its numbers are known beforehand, and the second run changes nothing."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from valbench_dagster.adapters.facts import Facts
from valbench_dagster.records import Response
from valbench_dagster_tests.homes import Home, differing, printed_leaderboard
from valbench_dagster_tests.servers import environment, run, valbench

pytestmark = pytest.mark.slow

SNAPSHOT = "sample-20260101"
COLUMNS = ("PAC v3", "PAC released", "VPREF", "REF", "NINF", "PAC*", "coverage", "pairs")

# What each respondent does to every pair decides its row (design, section 8). By hand, on the 47 pairs of the sample:
# sigma -2 is 0 and sigma 2 is 100, by (sigma + 2) / 4. Where both sides refuse or lack information, sigma is 2 and
# no value is preferred. Where one refuses, sigma is 1: 75 under v3, and 50 under the released rule, which takes 0 for
# it; the side that answers shows a preference. PAC* has no pair to be the mean of where all refuse or lack information.
KNOWN = {
    "opposed": ("0.00", "0.00", "0.00", "0.00", "0.00", "0.00", "1.00", "47"),
    "aligned": ("100.00", "100.00", "100.00", "0.00", "0.00", "100.00", "1.00", "47"),
    "refuser": ("100.00", "100.00", "0.00", "100.00", "0.00", "-", "1.00", "47"),
    "half-refuser": ("75.00", "50.00", "100.00", "50.00", "0.00", "-", "1.00", "47"),
    "uninformed": ("100.00", "100.00", "0.00", "0.00", "100.00", "-", "1.00", "47"),
}
VPREF = COLUMNS.index("VPREF")

# Six respondents, two sides and two judges' verdicts a pair, an annotation a section, and a pair for each of the kept:
# 51 + 47 + 6 * 47 * (2 + 2) = 1,226. But stand-ins repeat one another: a verdict on the same two responses to the same
# questions is asked once, so that the mixture's 47 pairs have no verdict of their own, neither of the one judge nor of
# the other: 1,226 - 2 * 47 = 1,132.
CALLS = 1132


@dataclass(frozen=True)
class Demo:
    """What a home held, and what was printed, when a demo had ended."""

    printed: str
    asked: list[tuple[str, str, str]]
    facts: Mapping[str, str]
    tables: Mapping[str, pl.DataFrame]
    reports: Mapping[str, bytes]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("demo") / "home")


@pytest.fixture(scope="module")
def first(home: Home) -> Demo:
    return demo(home, "first")


@pytest.fixture(scope="module")
def second(home: Home, first: Demo) -> Demo:
    return demo(home, "second")


def demo(home: Home, name: str) -> Demo:
    ended = run([valbench(), "demo"], home.path.parent / "folder", environment(home.path), name)
    return Demo(ended.printed(), home.asked(), home.facts(), home.tables(), home.reports())


@pytest.mark.parametrize("model", list(KNOWN))
def test_the_demo_prints_for_each_respondent_what_it_scores_by_construction(first: Demo, model: str) -> None:
    row = printed_leaderboard(first.printed)["stand-in-v3", f"{model} (stand-in)"]
    assert tuple(row[column] for column in COLUMNS) == KNOWN[model]


def test_the_demo_prints_for_the_mixture_what_its_realised_draw_must_give(first: Demo, home: Home) -> None:
    # The mixture answers each pair as one of the five does, word for word: which one is read from the responses.
    facts = Facts(str(home.path / "facts"))
    said = {
        model: {(row.pair_id, row.side): row.text for row in facts.rows(Response, f"{SNAPSHOT}/{model}")}
        for model in ("mixture", *KNOWN)
    }
    pairs = {pair for pair, _ in said["mixture"]}
    drawn = Counter(
        model
        for pair in pairs
        for model in KNOWN
        if all(said["mixture"][pair, side] == said[model][pair, side] for side in ("for", "against"))
    )
    assert sum(drawn.values()) == len(pairs) == 47, "every pair is answered as exactly one of the five answers it"
    means = [
        sum(count * float(KNOWN[model][column]) for model, count in drawn.items()) / 47 for column in range(VPREF + 3)
    ]
    star = 100 * drawn["aligned"] / (drawn["aligned"] + drawn["opposed"])
    row = printed_leaderboard(first.printed)["stand-in-v3", "mixture (stand-in)"]
    assert tuple(row[column] for column in COLUMNS) == (*(f"{mean:.2f}" for mean in (*means, star)), "1.00", "47")


def test_the_demo_prints_the_other_judge_with_all_but_the_preference_that_it_is_not_asked_for(first: Demo) -> None:
    printed = printed_leaderboard(first.printed)
    judged = {
        judge: {model: row for (by, model), row in printed.items() if by == judge}
        for judge in ("stand-in-v3", "stand-in-released")
    }
    assert len(printed) == 12
    assert judged["stand-in-released"] == {model: {**row, "VPREF": "-"} for model, row in judged["stand-in-v3"].items()}


def test_the_demo_says_that_its_numbers_are_of_stand_ins(first: Demo) -> None:
    assert all(model.endswith(" (stand-in)") for _, model in printed_leaderboard(first.printed))
    assert "numbers marked stand-in say nothing of any real model" in first.printed


def test_the_demo_asks_no_request_twice_and_every_call_gets_a_reply(first: Demo) -> None:
    assert Counter(kind for _, kind, _ in first.asked) == {"reply": CALLS}
    assert len({fingerprint for fingerprint, _, _ in first.asked}) == CALLS


def test_a_second_demo_makes_no_call_and_prints_the_same(first: Demo, second: Demo) -> None:
    assert second.asked == first.asked
    assert second.printed == first.printed


def test_a_second_demo_leaves_every_fact_table_and_report_as_it_is(first: Demo, second: Demo) -> None:
    assert second.facts == first.facts
    assert differing(second.tables, first.tables) == []
    assert second.reports == first.reports
    assert {Path(name).name for name in first.reports} >= {"leaderboard.md", "leaderboard.csv"}


def test_no_table_holds_a_time_of_running_or_the_id_of_a_run(first: Demo) -> None:
    # What a run took and when it was stands in the ledger alone. `revision_time` is the article's, and text.
    found = [
        f"{name}.{column}"
        for name, table in first.tables.items()
        for column, kind in table.schema.items()
        if kind.is_temporal() or column in ("run", "run_id", "started_at", "latency", "attempts")
    ]
    assert found == []
    assert len(first.tables) > 10
