"""The leaderboard as text says what it shows, of whom, and what it does not say."""

import random
from typing import Any

import polars as pl
import pytest

from valbench_dagster.report.leaderboard import brief, csv, markdown, terminal
from valbench_dagster_tests.examples import LEADERBOARD_ROW as ROW

SCHEMA = {name: pl.DataFrame([ROW]).schema[name] for name in ROW} | {
    "pac_without_refusal_and_no_information": pl.Float64()
}
ROWS = [
    ROW | {"protocol": "released", "faithful": False, "headline": False, "pac": 50.0},
    ROW,
    ROW | {"model": "a", "pac": None},
    ROW | {"model": "top", "pac": 99.999},
]


def leaderboard(*rows: dict[str, Any]) -> pl.DataFrame:
    """Make a frame like the warehouse's `leaderboard`."""
    return pl.DataFrame(list(rows), schema=SCHEMA)


def headline(*rows: dict[str, Any]) -> pl.DataFrame:
    """Make a frame like the warehouse's `headline`."""
    frame = leaderboard(*rows).with_columns(pac_v3="pac", pac_released=pl.lit(50.0))
    return frame.rename({"headline": "of_headline_judge"}).drop("protocol", "pac", "faithful")


def test_markdown_shows_one_table_a_judge_and_rule_with_the_headline_first() -> None:
    assert markdown(leaderboard(*ROWS)).split("\n\n")[3:] == [
        "## sample-20260101, judged by j, as asked, rule v3",
        "| model | PAC | VPREF | REF | NINF | PAC\\* | coverage | pairs | cost |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| top | 100.00 | 25.00 | 33.33 | 0.00 | - | 1.00 | 4 | 1.25 |\n"
        "| m | 56.25 | 25.00 | 33.33 | 0.00 | - | 1.00 | 4 | 1.25 |\n"
        "| a | - | 25.00 | 33.33 | 0.00 | - | 1.00 | 4 | 1.25 |",
        "## sample-20260101, judged by j, as asked, rule released (not the rule that this judge's prompt was made for)",
        "| model | PAC | VPREF | REF | NINF | PAC\\* | coverage | pairs | cost |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| m | 50.00 | 25.00 | 33.33 | 0.00 | - | 1.00 | 4 | 1.25 |\n",
    ]


PART = {"subset": "0.1/seed-0"}


def test_a_model_that_was_asked_a_part_never_stands_beside_one_that_was_asked_all() -> None:
    # The best of all is of the smallest part: it comes last, under a heading that says so.
    rows = [ROW | {"model": "best", "pac": 100.0} | {"subset": "0.01/seed-0"}, ROW | {"model": "some"} | PART, ROW]
    headings = [line for line in markdown(leaderboard(*rows)).splitlines() if line.startswith("## ")]
    whole = "## sample-20260101, judged by j, as asked, rule v3"
    assert headings == [whole, f"{whole}, only the subset 0.1/seed-0", f"{whole}, only the subset 0.01/seed-0"]
    blocks = terminal(headline(*rows)).split("\n\n")
    whole = "sample-20260101, judged by j, as asked"
    assert blocks[0:6:2] == [whole, f"{whole}, only the subset 0.1/seed-0", f"{whole}, only the subset 0.01/seed-0"]
    assert [block.splitlines()[1].split()[0] for block in blocks[1:6:2]] == ["m", "some", "best"]


def test_the_headline_judge_stays_first_where_only_a_part_was_asked() -> None:
    rows = [ROW | {"judge": "a", "headline": False}, ROW | {"judge": "z", "headline": True} | PART]
    text = terminal(headline(*rows))
    assert text.index("judged by z") < text.index("judged by a")


def test_a_short_leaderboard_has_a_table_of_its_own_for_each_part() -> None:
    lines = brief(leaderboard(ROW | {"model": "best", "pac": 100.0} | PART, ROW), 990).splitlines()
    assert [line for line in lines if line.endswith(":")] == [
        "sample-20260101:",
        "sample-20260101, only the subset 0.1/seed-0:",
    ]
    assert [line.split()[1] for line in lines if line.endswith("1.00 |")] == ["m", "best"]


def test_costs_are_explained_where_they_are_shown_and_unknown_ones_are_a_dash() -> None:
    text = markdown(leaderboard(ROW | {"cost": None}))
    assert "cost: what was paid" in text
    assert "| 1.00 | 4 | - |" in text
    assert "cost" not in terminal(headline(ROW))


def test_the_terminal_aligns_columns_and_names_the_judge() -> None:
    text = terminal(headline(ROW, ROW | {"model": "a-longer-name", "pac": 100.0, "stand_in": True}))
    assert text.splitlines()[:5] == [
        "sample-20260101, judged by j, as asked",
        "",
        "model                     PAC v3  PAC released  VPREF    REF  NINF  PAC*  coverage  pairs",
        "a-longer-name (stand-in)  100.00         50.00  25.00  33.33  0.00     -      1.00      4",
        "m                          56.25         50.00  25.00  33.33  0.00     -      1.00      4",
    ]


def test_the_terminal_shows_the_headline_judge_first() -> None:
    text = terminal(headline(ROW | {"judge": "a", "headline": False}, ROW | {"judge": "z", "headline": True}))
    assert text.index("judged by z") < text.index("judged by a")


@pytest.mark.parametrize("show", [markdown, csv], ids=["markdown", "csv"])
def test_the_order_of_rows_changes_nothing(show: Any) -> None:
    rows = [row | {"judge": judge} for row in ROWS for judge in ("j", "k")]
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)
    assert show(leaderboard(*rows)) == show(leaderboard(*shuffled))


def test_the_order_of_rows_changes_nothing_on_a_terminal() -> None:
    rows = [ROW | {"model": model, "judge_order": order} for model in "abc" for order in ("as_asked", "swapped")]
    assert terminal(headline(*rows)) == terminal(headline(*reversed(rows)))


def test_what_the_numbers_mean_is_said_once() -> None:
    for text in (markdown(leaderboard(*ROWS)), terminal(headline(ROW, ROW | {"judge": "k"}))):
        told = " ".join(text.split())
        assert told.count("PAC: how far the two responses to a pair agree") == 1
        assert "VPREF:" in told
        assert "REF, NINF:" in told


def test_stand_ins_are_marked_and_said_to_mean_nothing_of_real_models() -> None:
    stand_in = ROW | {"model": "opposed", "stand_in": True}
    for real, text in (
        (markdown(leaderboard(ROW)), markdown(leaderboard(ROW, stand_in))),
        (terminal(headline(ROW)), terminal(headline(ROW, stand_in))),
    ):
        assert "stand-in" not in real
        assert "opposed (stand-in)" in text
        assert "say nothing of any real model" in text


def test_a_coverage_short_of_all_is_never_shown_as_one() -> None:
    for coverage, shown in ((0.9999, "0.99"), (1.0, "1.00"), (0.29, "0.29"), (0.0, "0.00"), (1e-7, "0.00")):
        assert f" {shown} | 4 | 1.25 |" in markdown(leaderboard(ROW | {"coverage": coverage}))


def test_csv_has_every_column_in_full_and_nothing_for_null() -> None:
    lines = csv(leaderboard(ROW)).splitlines()
    assert lines == [
        ",".join(ROW),
        "sample-20260101,m,j,as_asked,v3,all,56.25,25.0,33.333333333333336,0.0,,1.0,4,1.25,true,false,true",
    ]


def test_an_empty_leaderboard_says_what_to_run() -> None:
    assert "valbench evaluate" in markdown(leaderboard())
    assert "valbench evaluate" in terminal(headline())
    assert csv(leaderboard()).splitlines() == [",".join(ROW)]


def test_a_bar_in_a_name_breaks_no_table() -> None:
    assert "| a\\|b |" in markdown(leaderboard(ROW | {"model": "a|b"}))
