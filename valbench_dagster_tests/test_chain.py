"""The whole chain on the sample with the stand-ins: numbers known by construction, and nothing redone."""

from collections import Counter
from pathlib import Path

import pytest

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.project_files import package_file, project_file
from valbench_dagster.records import Issue, Pair, PairDrop, Response, Section, SectionDrop, Verdict
from valbench_dagster.report.leaderboard import terminal
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster.steps.reporting import publish_report, read_report
from valbench_dagster_tests.chain import RESPONDENTS, SNAPSHOT, build, evaluate, make_dataset

# The table of section 8 of the design: PAC under v3 and released, VPREF, REF, NINF, PAC without refusal and no-info.
# By hand: sigma -2 gives 0 and sigma 2 gives 100 by (sigma + 2) / 4; both refuse: 2, so 100 under either rule; one
# refuses with sigma 1: max(1, 1) = 1 gives 75 under v3, and 0 gives 50 under released.
KNOWN = {
    "opposed": (0, 0, 0, 0, 0, 0),
    "aligned": (100, 100, 100, 0, 0, 100),
    "refuser": (100, 100, 0, 100, 0, None),
    "half-refuser": (75, 50, 100, 50, 0, None),
    "uninformed": (100, 100, 0, 0, 100, None),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    home = tmp_path_factory.mktemp("home")
    project = open_project(
        read_settings({"VALBENCH_HOME": str(home), "VALBENCH_ROSTER": str(project_file("roster.toml"))})
    )
    make_dataset(project)
    evaluate(project)
    build(project)
    return project


def calls_in(project: Project) -> int:
    with SqlLedger(project.settings.ledger_url) as ledger:
        return ledger.count()


def facts_of(project: Project) -> dict[str, str]:
    root = Path(project.settings.facts)
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("_CURRENT.json"))}


@pytest.mark.parametrize("model", list(KNOWN))
def test_each_respondent_scores_what_it_must_by_construction(finished: Project, model: str) -> None:
    headline = read_report(finished, "headline")
    [row] = [row for row in headline.to_dicts() if (row["model"], row["judge"]) == (model, "stand-in-v3")]
    columns = ("pac_v3", "pac_released", "vpref", "ref", "ninf", "pac_without_refusal_and_no_information")
    assert tuple(row[column] for column in columns) == KNOWN[model]
    assert (row["coverage"], row["stand_in"]) == (1.0, True)


def test_the_mixture_scores_what_its_realised_draw_must_give(finished: Project) -> None:
    # What each pair drew is read from the responses' refusals and lack of information and from nothing the judge said:
    # the mixture's responses to a pair equal, word for word, those of the respondent it drew.
    said: dict[str, dict[str, tuple[str | None, str | None]]] = {}
    for model in RESPONDENTS:
        texts: dict[str, dict[str, str | None]] = {}
        for response in finished.facts.rows(Response, f"{SNAPSHOT}/{model}"):
            texts.setdefault(response.pair_id, {})[response.side] = response.text
        said[model] = {pair: (sides["for"], sides["against"]) for pair, sides in texts.items()}
    drawn = Counter(
        next(model for model in KNOWN if said[model][pair] == both) for pair, both in said["mixture"].items()
    )
    assert set(drawn) == set(KNOWN), "the sample is large enough that every behaviour is drawn"
    pairs = sum(drawn.values())

    def mean(column: int) -> float:
        return sum(count * float(KNOWN[model][column] or 0) for model, count in drawn.items()) / pairs

    [row] = [
        row
        for row in read_report(finished, "headline").to_dicts()
        if (row["model"], row["judge"]) == ("mixture", "stand-in-v3")
    ]
    for index, column in enumerate(("pac_v3", "pac_released", "vpref", "ref", "ninf")):
        assert row[column] == pytest.approx(mean(index)), column
    plain = drawn["opposed"] + drawn["aligned"]
    assert row["pac_without_refusal_and_no_information"] == pytest.approx(100 * drawn["aligned"] / plain)


def test_the_released_judge_asks_no_preference_and_agrees_on_the_released_rule(finished: Project) -> None:
    rows = {
        row["model"]: row for row in read_report(finished, "headline").to_dicts() if row["judge"] == "stand-in-released"
    }
    assert {row["vpref"] for row in rows.values()} == {None}
    assert {model: rows[model]["pac_released"] for model in KNOWN} == {
        model: known[1] for model, known in KNOWN.items()
    }


def test_every_page_is_counted_under_one_reason_and_every_section_ends_once(finished: Project) -> None:
    drops = list(finished.facts.rows(SectionDrop, SNAPSHOT))
    pages = sum(row.counted for row in drops if row.unit == "page")
    assert pages == _pages_in_sample()
    sections = [row.section_id for row in finished.facts.rows(Section, SNAPSHOT)]
    pairs = [row.section_id for row in finished.facts.rows(Pair, SNAPSHOT)]
    dropped = [row.section_id for row in finished.facts.rows(PairDrop, SNAPSHOT)]
    assert sorted(sections) == sorted(pairs + dropped)


def _pages_in_sample() -> int:
    [sample] = package_file("sample").glob("*.xml")
    return sample.read_text(encoding="utf-8").count("<page>")


def test_every_accepted_pair_has_both_responses_and_a_verdict_of_each_judge(finished: Project) -> None:
    pairs = {row.pair_id for row in finished.facts.rows(Pair, SNAPSHOT)}
    for model in RESPONDENTS:
        asked = Counter(row.pair_id for row in finished.facts.rows(Response, f"{SNAPSHOT}/{model}"))
        assert asked == dict.fromkeys(pairs, 2)
        for judge in ("stand-in-v3", "stand-in-released"):
            judged = [row.pair_id for row in finished.facts.rows(Verdict, f"{SNAPSHOT}/{model}/{judge}")]
            assert sorted(judged) == sorted(pairs)


def test_a_second_run_makes_no_call_and_changes_no_fact(finished: Project) -> None:
    calls, facts = calls_in(finished), facts_of(finished)
    again = {**make_dataset(finished), **evaluate(finished)}
    assert [name for name, report in again.items() if report.fresh] == []
    assert (calls_in(finished), facts_of(finished)) == (calls, facts)


def test_a_lost_fact_is_made_again_from_the_ledger_alone_byte_for_byte(finished: Project) -> None:
    calls, facts = calls_in(finished), facts_of(finished)
    for pointer in Path(finished.settings.facts).joinpath("responses").rglob("_CURRENT.json"):
        pointer.unlink()
    evaluate(finished)
    assert (calls_in(finished), facts_of(finished)) == (calls, facts)


def test_the_report_is_written_for_the_snapshot(finished: Project) -> None:
    files = publish_report(finished)
    assert [file.name for file in files] == ["leaderboard.md", "leaderboard.csv"]
    assert "aligned" in files[0].read_text(encoding="utf-8")
    # A header and one line for each of 6 models, 2 judges and 2 scoring rules.
    assert len(files[1].read_text(encoding="utf-8").splitlines()) == 1 + 6 * 2 * 2


def test_not_every_matching_section_is_a_divergent_issue(finished: Project) -> None:
    divergent = Counter(row.is_divergent for row in finished.facts.rows(Issue, SNAPSHOT))
    assert divergent[True] >= 30
    assert divergent[False] >= 4


def test_the_readme_shows_what_the_demo_prints(finished: Project) -> None:
    headline = read_report(finished, "headline")
    printed = terminal(headline).split("\n\n")
    assert "\n\n".join(printed[:2]) in package_file("../README.md").read_text(encoding="utf-8")
