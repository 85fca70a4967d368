"""The checks of facts other than pairs and of the warehouse's tables, and how check files are read and run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from valbench_dagster.adapters.facts import Facts, frame_of
from valbench_dagster.adapters.warehouse.checks import (
    WAREHOUSE_FACTS,
    CheckError,
    load_checks,
    offending,
    offending_all,
    problems_in,
)
from valbench_dagster.adapters.warehouse.connection import connect
from valbench_dagster.adapters.warehouse.sql_files import tables_read
from valbench_dagster.identity import text_hash
from valbench_dagster.records import (
    CandidatePair,
    Issue,
    Pair,
    PairDrop,
    Record,
    Response,
    Section,
    SectionDrop,
    Verdict,
)
from valbench_dagster_tests.examples import ISSUE, PAIR, SECTION, response
from valbench_dagster_tests.test_acceptance import CANDIDATE

ELSEWHERE = ("pairs", "dump", "mined_files", "dump_damages")
"""Facts whose checks are shown in `test_pair_checks.py` and `test_dump_checks.py`."""

CHECKS = {(check.fact, check.name): check for check in load_checks()}
RECORDS: dict[str, type[Record]] = {
    record.TABLE: record for record in (Section, SectionDrop, Issue, CandidatePair, Pair, PairDrop, Response, Verdict)
}

GOOD_SECTION = replace(SECTION, text_hash=text_hash(SECTION.text))

COUNTED = SectionDrop("sample-20260101", "section", "kept", 3, None, None, None, None, None, None)
NAMED = SectionDrop("sample-20260101", "section", "cut", 1, 7, 70, "Harlow Bridge", 2, "Controversy", "long")

DROP = PairDrop("sample-20260101", "s1", 7, 2, "i1", None, "not_divergent", None)

VERDICT = Verdict(
    snapshot="sample-20260101",
    model="m",
    judge="j",
    judge_order="as_asked",
    pair_id="p1",
    sample=0,
    subset="all",
    alignment=-2,
    preference=None,
    refusal_for=False,
    refusal_against=False,
    no_information_for=False,
    no_information_against=False,
    central_issue=None,
    position_for=None,
    position_against=None,
    points_of_alignment=None,
    points_of_opposition=None,
    text_cut=False,
    outcome="parsed",
    detail=None,
    raw=None,
    prompt="judge_v3/v1/abc",
    input_tokens=10,
    output_tokens=5,
    cached_tokens=None,
    reasoning_tokens=None,
    fingerprint="f3",
)
UNPARSED = replace(
    VERDICT,
    outcome="unparsed",
    alignment=None,
    refusal_for=None,
    refusal_against=None,
    no_information_for=None,
    no_information_against=None,
)

FOR, AGAINST = response("for", "Because."), response("against", "Because not.")
PARTS = ("0.1/seed-0", "0.1/seed-1")
PARTIAL = [replace(AGAINST, subset="0.1/seed-0"), replace(FOR, subset="0.1/seed-0")]


def _issues(parsed: int, lost: int) -> list[Issue]:
    none: dict[str, Any] = {"outcome": "unparsed", "is_divergent": None, "scale": None}
    return [replace(ISSUE, page_id=page, **({} if page < parsed else none)) for page in range(parsed + lost)]


def _candidates(parsed: int, lost: int) -> list[CandidatePair]:
    outcomes = ["parsed"] * parsed + ["failed"] * lost
    return [replace(CANDIDATE, page_id=page, outcome=outcome) for page, outcome in enumerate(outcomes)]


def _responses(answered: int, lost: int) -> list[Response]:
    outcomes = ["answered"] * answered + ["rejected"] * lost
    return [response("for", "So.", pair_id=f"p{place:03}", outcome=outcome) for place, outcome in enumerate(outcomes)]


def _verdicts(parsed: int, lost: int, unasked: int = 0) -> list[Verdict]:
    rows = [VERDICT] * parsed + [UNPARSED] * lost + [replace(UNPARSED, outcome="no_response")] * unasked
    return [replace(row, pair_id=f"p{place:03}") for place, row in enumerate(rows)]


class Case(NamedTuple):
    """Rows that one check is asked about, by fact where it reads others, and the ids that it must name."""

    check: str
    rows: Sequence[Any]
    named: Sequence[str]
    others: dict[str, Sequence[Any]] = {}  # noqa: RUF012  # a named tuple's default, never changed


CASES = [
    # sections
    Case("sections/repeated_section_id", [SECTION, replace(SECTION, heading_index=3)], ["s1"]),
    Case("sections/repeated_section_id", [SECTION, replace(SECTION, heading_index=3, section_id="s2")], []),
    Case("sections/repeated_section_id", [SECTION, replace(SECTION, page_id=8, snapshot="sample-20260201")], []),
    Case("sections/empty_text", [replace(SECTION, text="\n – \u00a0")], ["s1"]),
    Case("sections/empty_text", [replace(SECTION, text="否")], []),
    Case("sections/url_without_revision", [replace(SECTION, url="https://x.example.org/wiki/Harlow_Bridge")], ["s1"]),
    Case("sections/url_without_revision", [replace(SECTION, url="https://x.example.org/w/?oldid=701")], ["s1"]),
    Case("sections/url_without_revision", [replace(SECTION, url="/w/index.php?oldid=70")], ["s1"]),
    Case("sections/url_without_revision", [SECTION], []),
    Case("sections/url_without_revision", [replace(SECTION, url="https://x.example.org/wiki/S:PermanentLink/70")], []),
    Case("sections/wiki_of_another_snapshot", [replace(SECTION, wiki="enwiki")], ["s1"]),
    Case("sections/wiki_of_another_snapshot", [replace(SECTION, wiki="samp")], ["s1"]),
    Case("sections/wiki_of_another_snapshot", [SECTION], []),
    Case("sections/hash_of_another_text", [SECTION], ["s1"]),
    Case("sections/hash_of_another_text", [GOOD_SECTION], []),
    Case("sections/hash_of_another_text", [replace(SECTION, text="Füße", text_hash=text_hash("Füße"))], []),
    # section_drops
    Case("section_drops/impossible_count", [replace(COUNTED, counted=-1)], ["section/kept"]),
    Case("section_drops/impossible_count", [replace(NAMED, counted=0)], ["section/cut/7/2"]),
    Case("section_drops/impossible_count", [replace(NAMED, counted=2)], ["section/cut/7/2"]),
    Case("section_drops/impossible_count", [NAMED, replace(COUNTED, counted=0)], []),
    Case("section_drops/half_named_page", [replace(NAMED, title=None)], ["section/cut/7/2"]),
    Case("section_drops/half_named_page", [replace(NAMED, page_id=None)], ["section/cut/2"]),
    Case("section_drops/half_named_page", [replace(COUNTED, heading="Controversy")], ["section/kept"]),
    Case("section_drops/half_named_page", [replace(NAMED, unit="page", reason="kept")], ["page/kept/7/2"]),
    Case("section_drops/half_named_page", [NAMED, COUNTED], []),
    Case("section_drops/unknown_unit", [replace(COUNTED, unit="article")], ["article/kept"]),
    Case("section_drops/unknown_unit", [replace(COUNTED, unit="page"), COUNTED], []),
    Case("section_drops/miscounted_sections", [COUNTED], ["section/kept"], {"sections": [SECTION]}),
    Case("section_drops/miscounted_sections", [], ["section/kept"], {"sections": [SECTION]}),
    Case("section_drops/miscounted_sections", [NAMED], ["section/cut"], {"sections": []}),
    Case(
        "section_drops/miscounted_sections",
        [NAMED, replace(COUNTED, counted=1), replace(COUNTED, unit="page", counted=9)],
        [],
        {"sections": [SECTION, replace(SECTION, heading_index=3, cut=True)]},
    ),
    # issues
    Case("issues/unknown_outcome", [replace(ISSUE, outcome="lost")], ["i1"]),
    Case("issues/unknown_outcome", [ISSUE, replace(ISSUE, page_id=8, outcome="failed")], []),
    Case("issues/parsed_without_annotation", [replace(ISSUE, scale=None)], ["i1"]),
    Case("issues/parsed_without_annotation", [replace(ISSUE, scale=6)], ["i1"]),
    Case("issues/parsed_without_annotation", [replace(ISSUE, scale=-1)], ["i1"]),
    Case("issues/parsed_without_annotation", [replace(ISSUE, is_divergent=None)], ["i1"]),
    Case("issues/parsed_without_annotation", [replace(ISSUE, rationale=None)], ["i1"]),
    Case("issues/parsed_without_annotation", [replace(ISSUE, outcome="unparsed")], ["i1"]),
    Case("issues/parsed_without_annotation", [replace(ISSUE, scale=0), *_issues(0, 3)[1:]], []),
    Case("issues/scale_against_answer", [replace(ISSUE, scale=0)], ["i1"]),
    Case("issues/scale_against_answer", [replace(ISSUE, is_divergent=False)], ["i1"]),
    Case("issues/scale_against_answer", [ISSUE, replace(ISSUE, page_id=8, is_divergent=False, scale=0)], []),
    Case("issues/scale_against_answer", _issues(0, 1), []),
    # 2 of 39 are 5.1%, 2 of 40 are 5%
    Case("issues/over_5_percent_unparsed", _issues(37, 2), ["sample-20260101"]),
    Case("issues/over_5_percent_unparsed", _issues(38, 2), []),
    # candidate_pairs
    Case("candidate_pairs/unknown_outcome", [replace(CANDIDATE, outcome="lost")], ["p1"]),
    Case("candidate_pairs/unknown_outcome", [CANDIDATE], []),
    Case("candidate_pairs/parsed_without_questions", [replace(CANDIDATE, for_question=None)], ["p1"]),
    Case("candidate_pairs/parsed_without_questions", [replace(CANDIDATE, issue=None)], ["p1"]),
    Case("candidate_pairs/parsed_without_questions", [replace(CANDIDATE, issue=None, outcome="failed")], []),
    Case("candidate_pairs/parsed_without_questions", [CANDIDATE], []),
    Case("candidate_pairs/over_5_percent_unparsed", _candidates(37, 2), ["sample-20260101"]),
    Case("candidate_pairs/over_5_percent_unparsed", _candidates(38, 2), []),
    # pair_drops
    Case("pair_drops/lost_issue", [], ["i1"], {"issues": [ISSUE], "pairs": []}),
    Case("pair_drops/lost_issue", [DROP], ["i1"], {"issues": [ISSUE], "pairs": [PAIR]}),
    Case("pair_drops/lost_issue", [DROP], ["i1"], {"issues": [], "pairs": []}),
    Case("pair_drops/lost_issue", [], ["i1"], {"issues": [], "pairs": [PAIR]}),
    Case("pair_drops/lost_issue", [DROP], [], {"issues": [ISSUE], "pairs": []}),
    Case("pair_drops/lost_issue", [], [], {"issues": [ISSUE], "pairs": [PAIR]}),
    # responses
    Case("responses/unknown_side_or_outcome", [replace(FOR, side="middle")], ["p1/middle/0"]),
    Case("responses/unknown_side_or_outcome", [replace(FOR, outcome="lost")], ["p1/for/0"]),
    Case("responses/unknown_side_or_outcome", [AGAINST, FOR], []),
    Case("responses/missing_side", [FOR], ["p1/0"]),
    Case("responses/missing_side", [AGAINST, replace(FOR, sample=1)], ["p1/0", "p1/1"]),
    Case("responses/missing_side", [AGAINST, FOR, replace(FOR, side="middle")], ["p1/0"]),
    Case("responses/missing_side", [AGAINST, replace(FOR, outcome="failed", text=None)], []),
    Case("responses/answer_without_text", [replace(FOR, text=None)], ["p1/for/0"]),
    Case("responses/answer_without_text", [replace(FOR, text=" \n\u00a0")], ["p1/for/0"]),
    Case("responses/answer_without_text", [replace(FOR, text=None, outcome="truncated")], ["p1/for/0"]),
    Case("responses/answer_without_text", [replace(AGAINST, text="…"), replace(FOR, text=None, outcome="empty")], []),
    # 2 of 99 are 2.02%, 2 of 100 are 2%
    Case("responses/over_2_percent_without_reply", _responses(97, 2), ["sample-20260101/m"]),
    Case("responses/over_2_percent_without_reply", _responses(98, 2), []),
    Case("responses/mixed_subsets", [AGAINST, replace(FOR, subset="0.1/seed-0")], ["sample-20260101/m"]),
    Case("responses/mixed_subsets", [replace(FOR, subset=s, pair_id=s[-1]) for s in PARTS], ["sample-20260101/m"]),
    Case("responses/mixed_subsets", [AGAINST, FOR, replace(FOR, subset="0.1/seed-0", model="n")], []),
    # verdicts
    Case("verdicts/subset_of_other_responses", [VERDICT], ["sample-20260101/m/j"], {"responses": PARTIAL}),
    Case(
        "verdicts/subset_of_other_responses",
        [VERDICT, replace(VERDICT, subset="0.1/seed-0", sample=1)],
        ["sample-20260101/m/j"],
        {"responses": [AGAINST, FOR]},
    ),
    Case("verdicts/subset_of_other_responses", [VERDICT], [], {"responses": [AGAINST, FOR]}),
    Case("verdicts/subset_of_other_responses", [replace(VERDICT, subset="0.1/seed-0")], [], {"responses": PARTIAL}),
    Case("verdicts/subset_of_other_responses", [replace(VERDICT, model="n")], [], {"responses": PARTIAL}),
    Case("verdicts/unknown_order_or_outcome", [replace(VERDICT, judge_order="reversed")], ["p1/0/reversed"]),
    Case("verdicts/unknown_order_or_outcome", [replace(VERDICT, outcome="answered")], ["p1/0/as_asked"]),
    Case("verdicts/unknown_order_or_outcome", [VERDICT, replace(VERDICT, judge_order="swapped")], []),
    Case("verdicts/parsed_without_score", [replace(VERDICT, alignment=-3)], ["p1/0/as_asked"]),
    Case("verdicts/parsed_without_score", [replace(VERDICT, alignment=3)], ["p1/0/as_asked"]),
    Case("verdicts/parsed_without_score", [replace(VERDICT, alignment=None)], ["p1/0/as_asked"]),
    Case("verdicts/parsed_without_score", [replace(VERDICT, refusal_for=None)], ["p1/0/as_asked"]),
    Case("verdicts/parsed_without_score", [replace(VERDICT, no_information_against=None)], ["p1/0/as_asked"]),
    Case("verdicts/parsed_without_score", [VERDICT, replace(UNPARSED, sample=1)], []),
    Case("verdicts/score_without_verdict", [replace(UNPARSED, alignment=0)], ["p1/0/as_asked"]),
    Case("verdicts/score_without_verdict", [replace(UNPARSED, refusal_against=False)], ["p1/0/as_asked"]),
    Case("verdicts/score_without_verdict", [VERDICT, replace(UNPARSED, sample=1)], []),
    Case("verdicts/judged_missing_side", [VERDICT], ["p1/0/as_asked"], {"responses": []}),
    Case("verdicts/judged_missing_side", [VERDICT], ["p1/0/as_asked"], {"responses": [FOR]}),
    Case(
        "verdicts/judged_missing_side",
        [VERDICT],
        ["p1/0/as_asked"],
        {"responses": [replace(AGAINST, outcome="filtered"), FOR]},
    ),
    Case(
        "verdicts/judged_missing_side",
        [VERDICT],
        ["p1/0/as_asked"],
        {"responses": [replace(AGAINST, model="another"), replace(FOR, model="another")]},
    ),
    Case(
        "verdicts/judged_missing_side",
        [VERDICT, replace(VERDICT, judge_order="swapped")],
        [],
        {"responses": [replace(AGAINST, outcome="truncated"), FOR]},
    ),
    Case("verdicts/judged_missing_side", [UNPARSED], [], {"responses": []}),
    Case("verdicts/over_2_percent_unparsed", _verdicts(97, 2), ["sample-20260101/m/j"]),
    # pairs that were never asked dilute nothing
    Case("verdicts/over_2_percent_unparsed", _verdicts(97, 2, unasked=50), ["sample-20260101/m/j"]),
    Case("verdicts/over_2_percent_unparsed", _verdicts(98, 2), []),
    Case("verdicts/over_2_percent_unparsed", _verdicts(98, 2, unasked=50), []),
]


def _frame(fact: str, rows: Sequence[Any]) -> pl.DataFrame:
    frames = [frame_of(RECORDS[fact], [row]) for row in rows]  # one by one: bad facts need not be in order
    return pl.concat(frames) if frames else frame_of(RECORDS[fact], [])


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.check} {n}") for n, case in enumerate(CASES)])
def test_a_check_names_offending_rows_and_no_others(case: Case) -> None:
    fact, name = case.check.split("/")
    check = CHECKS[fact, name]
    relations = {other: _frame(other, rows) for other, rows in case.others.items()}
    found = offending(check, {fact: _frame(fact, case.rows), **relations})
    assert found["row_id"].to_list() == list(case.named)


def test_every_check_of_facts_is_shown_able_to_fail_and_to_pass() -> None:
    shown = [check for check in load_checks() if check.fact not in (*ELSEWHERE, *WAREHOUSE_FACTS)]
    checks = {f"{check.fact}/{check.name}" for check in shown}
    assert {case.check for case in CASES if case.named} == checks
    assert {case.check for case in CASES if not case.named} == checks


# The warehouse's tables, with no more columns than their checks read.
METRIC = {
    **{"snapshot": "sample-20260101", "model": "m", "judge": "j", "judge_order": "as_asked", "protocol": "v3"},
    **{"slice_kind": "all", "slice": "all", "metric": "pac", "value": 50.0, "numerator": 2.0, "denominator": 4},
    **{"low": 40.0, "high": 60.0},
}
LINE = {
    **{"snapshot": "sample-20260101", "model": "m", "judge": "j", "judge_order": "as_asked", "protocol": "v3"},
    **{"subset": "all", "coverage": 1.0, "pairs": 4},
}


SPENT = {
    **{"fact": "responses", "partition_key": "sample-20260101/m", "endpoint": "lab", "provider": "lab"},
    **{"served_as": "org/m", "replies": 4, "rejected": 0, "failed": 1, "input_tokens": 40, "cached_tokens": 10},
    **{"output_tokens": 20, "reasoning_tokens": 5, "cost": 1.25},
}


@pytest.mark.parametrize(
    ("metrics", "leaderboard", "problem"),
    [
        ([METRIC], [LINE], None),
        ([METRIC | {"value": None, "low": None, "high": None, "denominator": 0, "numerator": 0.0}], [LINE], None),
        ([METRIC | {"value": 100.0, "low": 90.0, "high": 100.0, "numerator": 4.0}], [LINE], None),
        ([METRIC | {"value": -1.0, "low": -1.0}], [LINE], "metrics/value_outside_range"),
        ([METRIC | {"value": 101.0, "high": 102.0}], [LINE], "metrics/value_outside_range"),
        ([METRIC | {"value": float("nan"), "low": None, "high": None}], [LINE], "metrics/value_outside_range"),
        ([METRIC | {"metric": "coverage", "value": 1.5, "low": None}], [LINE], "metrics/value_outside_range"),
        ([METRIC | {"numerator": 5.0}], [LINE], "metrics/numerator_above_denominator"),
        ([METRIC | {"numerator": -1.0}], [LINE], "metrics/numerator_above_denominator"),
        ([METRIC | {"low": 51.0}], [LINE], "metrics/value_outside_interval"),
        ([METRIC | {"high": 49.0}], [LINE], "metrics/value_outside_interval"),
        ([METRIC | {"low": 70.0, "value": None}], [LINE], "metrics/value_outside_interval"),
        ([METRIC | {"value": None}], [LINE], "metrics/value_outside_interval"),
        ([METRIC], [LINE | {"coverage": 1.25}], "leaderboard/coverage_above_1"),
        ([METRIC], [LINE | {"coverage": -0.1}], "leaderboard/coverage_above_1"),
        ([METRIC], [LINE, LINE | {"coverage": 0.5}], "leaderboard/repeated_row"),
        ([METRIC], [LINE, LINE | {"subset": "0.1/seed-0"}], "leaderboard/repeated_row"),
        ([METRIC], [LINE, LINE | {"protocol": "released"}], None),
    ],
)
def test_an_unsound_warehouse_is_told_by_its_check(
    metrics: list[dict[str, Any]], leaderboard: list[dict[str, Any]], problem: str | None
) -> None:
    assert _told_of(metrics, leaderboard, SPENT) == (([problem] if problem else []), [])


@pytest.mark.parametrize(
    ("spent", "problems", "warnings"),
    [
        ({"cached_tokens": 40, "reasoning_tokens": 20, "cost": 0.0}, [], []),
        ({"fact": "other", "partition_key": None}, [], []),
        ({"cost": -0.01}, ["call_costs/negative_amount"], []),
        ({"cost": float("nan")}, ["call_costs/negative_amount"], []),
        ({"replies": -1}, ["call_costs/negative_amount"], []),
        ({"output_tokens": -1, "reasoning_tokens": -1}, ["call_costs/negative_amount"], []),
        # A server that counts so is told of; the numbers of its models are as good as ever.
        ({"cached_tokens": 41}, [], ["call_costs/more_cached_than_input"]),
        ({"reasoning_tokens": 21}, [], ["call_costs/more_reasoning_than_output"]),
    ],
)
def test_costs_that_cannot_be_stop_a_warehouse_and_those_that_lack_something_are_told(
    spent: dict[str, Any], problems: list[str], warnings: list[str]
) -> None:
    assert _told_of([METRIC], [LINE], SPENT | spent) == (problems, warnings)


def _told_of(
    metrics: list[dict[str, Any]], leaderboard: list[dict[str, Any]], spent: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """Give the checks that stop a warehouse of these rows, and those that are told of it."""
    with connect(None) as connection:
        types = {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
        connection.register("metrics", pl.DataFrame(metrics, schema_overrides=types))
        connection.register("leaderboard", pl.DataFrame(leaderboard))
        connection.register("call_costs", pl.DataFrame([spent], schema_overrides={"partition_key": pl.String}))
        problems, warnings = (problems_in(connection, blocking=blocking) for blocking in (True, False))
    return [told.partition(":")[0] for told in problems], [told.partition(":")[0] for told in warnings]


def test_a_check_reads_its_fact_and_what_its_header_says_and_nothing_else() -> None:
    with connect(None) as connection:
        for check in load_checks():
            reads, names = tables_read(connection, check.statement)
            assert reads == set(check.relations), f"{check.fact}/{check.name}"
            assert names.isdisjoint(reads), f"{check.fact}/{check.name} hides a table behind a WITH of its name"


def test_checks_run_over_parquet_files_and_give_what_they_give_over_frames(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    key = "sample-20260101/m=a"  # looks like a column of a partitioned folder, and is none
    rows = [AGAINST, replace(FOR, text=None)]
    facts.publish(Response, key, rows, input_fingerprint="f")
    checks = load_checks("responses")
    stored = offending_all(checks, {"responses": facts.paths(Response, [key])})
    framed = offending_all(checks, {"responses": _frame("responses", rows)})
    assert {name: frame.rows() for name, frame in stored.items()} == {
        name: frame.rows() for name, frame in framed.items()
    }
    assert stored["answer_without_text"].rows() == [("p1/for/0", "is answered, without text")]


def test_checks_run_over_an_object_store(tmp_path: Path) -> None:
    facts = Facts("memory://checked")
    facts.publish(Response, "sample-20260101/m", [FOR], input_fingerprint="f")
    paths = facts.paths(Response, ["sample-20260101/m"])
    assert all(path.startswith("memory://") for path in paths)
    found = offending_all(load_checks("responses"), {"responses": paths})
    assert found["missing_side"]["row_id"].to_list() == ["p1/0"]


def _write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


HEADER = "-- Forbids ones.\n-- severity: error\n-- blocking: yes\n"


def test_a_header_becomes_a_check(tmp_path: Path) -> None:
    _write(
        tmp_path, "pairs/ones.sql", "-- Forbids\n-- ones.\n-- severity: warn\n-- blocking: no\n-- also reads: a, b\nx\n"
    )
    _write(tmp_path, "issues/twos.sql", HEADER + "-- also reads earlier: issues, c\nSELECT 1")
    [twos, ones] = load_checks(folder=tmp_path)
    assert (ones.name, ones.fact, ones.severity, ones.blocking) == ("ones", "pairs", "warn", False)
    assert (ones.description, ones.also_reads, ones.statement) == ("Forbids ones.", ("a", "b"), "x")
    assert ones.relations == ("pairs", "a", "b")
    assert (twos.severity, twos.blocking, twos.also_reads) == ("error", True, ())
    assert twos.relations == ("issues", "earlier_issues", "earlier_c")
    assert load_checks("pairs", tmp_path) == [ones]
    assert load_checks("responses", tmp_path) == []


def test_all_errors_of_all_headers_are_told_at_once(tmp_path: Path) -> None:
    _write(tmp_path, "pairs/a.sql", "-- severity: error\n-- blocking: yes\nSELECT 1")
    _write(tmp_path, "pairs/b.sql", "-- Forbids b.\n-- severity: fatal\n-- blocking: yes\nSELECT 1")
    _write(tmp_path, "pairs/c.sql", "-- Forbids c.\n-- severity: error\nSELECT 1")
    _write(tmp_path, "pairs/d.sql", "-- Forbids d.\n-- severity: warn\n-- blocking: yes\nSELECT 1")
    _write(tmp_path, "issues/e.sql", HEADER + "-- owner: me\nSELECT 1")
    _write(tmp_path, "issues/f.sql", HEADER + "-- severity: error\nSELECT 1")
    _write(tmp_path, "issues/g.sql", HEADER + "-- also reads: issues\nSELECT 1")
    _write(tmp_path, "issues/h.sql", HEADER)
    _write(tmp_path, "issues/Big.sql", HEADER + "SELECT 1")
    _write(tmp_path, "issues/j.sql", HEADER + "-- also reads earlier: a b\nSELECT 1")
    _write(tmp_path, "i.sql", HEADER + "SELECT 1")
    with pytest.raises(CheckError) as raised:
        load_checks("responses", tmp_path)
    told = str(raised.value).splitlines()[1:]
    assert [line.strip() for line in told] == [
        "i.sql: expected <fact>/<name>.sql, the name of small letters, digits and underscores",
        "issues/Big.sql: expected <fact>/<name>.sql, the name of small letters, digits and underscores",
        "issues/e.sql: line 4: expected severity, blocking, also reads or also reads earlier, once each, "
        "found “owner: me”",
        "issues/f.sql: line 4: expected severity, blocking, also reads or also reads earlier, once each, "
        "found “severity: error”",
        "issues/g.sql: expected names of other relations after “also reads:”, separated by commas",
        "issues/h.sql: expected a query after the comment lines, found none",
        "issues/j.sql: expected names of relations after “also reads earlier:”, separated by commas",
        "pairs/a.sql: line 1: expected comment lines that say what is forbidden and why",
        "pairs/b.sql: expected “-- severity: error or warn”, found fatal",
        "pairs/c.sql: expected “-- blocking: yes or no”, found no such line",
        "pairs/d.sql: a warning cannot block: expected “-- blocking: no”",
    ]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("SELECT pair_id AS row_id FROM pairs", "gives row_id String; expected row_id and detail, both text"),
        ("SELECT pair_id AS row_id, 1 AS detail FROM pairs", "expected row_id and detail, both text"),
        ("SELECT pair_id AS row_id, category AS detail FROM pairs", "gives null as row_id or detail"),
    ],
)
def test_a_query_that_gives_no_row_ids_and_details_is_refused(tmp_path: Path, query: str, complaint: str) -> None:
    _write(tmp_path, "pairs/ones.sql", HEADER + query)
    [check] = load_checks(folder=tmp_path)
    with pytest.raises(CheckError, match=complaint):
        offending(check, {"pairs": frame_of(Pair, [PAIR])})


def test_a_relation_that_was_not_given_is_told() -> None:
    check = CHECKS["verdicts", "judged_missing_side"]
    with pytest.raises(CheckError, match="verdicts/judged_missing_side reads responses, which was not given"):
        offending(check, {"verdicts": _frame("verdicts", [VERDICT])})


def test_two_checks_of_one_name_are_refused() -> None:
    checks = [check for check in load_checks() if check.name == "unknown_outcome"]
    assert len(checks) == 2
    with pytest.raises(CheckError, match="two checks are named unknown_outcome"):
        offending_all(checks, {"issues": _frame("issues", []), "candidate_pairs": _frame("candidate_pairs", [])})


def test_equal_rows_are_named_once_and_in_order(tmp_path: Path) -> None:
    query = "SELECT unnest(['b', 'a', 'b']) AS row_id, 'x' AS detail FROM pairs"
    _write(tmp_path, "pairs/ones.sql", f"{HEADER}{query}")
    [check] = load_checks(folder=tmp_path)
    assert offending(check, {"pairs": frame_of(Pair, [PAIR])}).rows() == [("a", "x"), ("b", "x")]
