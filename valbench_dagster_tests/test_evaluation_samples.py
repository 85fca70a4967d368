"""Several samples and subsets, from the roster to the leaderboard: what is asked, what is paid again, what is shown.

The stand-ins are deterministic, so samples of one prompt have equal texts; what differs is that each is a request of
its own to the respondent, and that the judge is shown equal texts once.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from valbench_dagster.adapters.warehouse.checks import load_checks
from valbench_dagster.project_files import project_file
from valbench_dagster.prompting import load_prompt
from valbench_dagster.records import CandidatePair, Issue, Pair, Record, Response, Verdict
from valbench_dagster.settings import read_settings
from valbench_dagster.stages.subsets import Subset
from valbench_dagster.stages.verdicts import judged_pairs, read_verdict
from valbench_dagster.steps.checking import run_checks
from valbench_dagster.steps.dataset import candidates_step, issues_step
from valbench_dagster.steps.evaluation import (
    chosen_pairs,
    publish_responses,
    publish_verdicts,
    responses_step,
    verdicts_step,
)
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster.steps.reporting import read_report
from valbench_dagster.steps.scoring import partition_scores
from valbench_dagster.steps.step_report import StepReport
from valbench_dagster_tests.chain import SNAPSHOT, build, make_dataset, unwatched
from valbench_dagster_tests.examples import PAIR, response

JUDGE = "stand-in-v3"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample's dataset, made once; each test asks models of its own or asks the same ones anew."""
    home = tmp_path_factory.mktemp("home")
    project = open_project(
        read_settings({"VALBENCH_HOME": str(home), "VALBENCH_ROSTER": str(project_file("roster.toml"))})
    )
    make_dataset(project)
    return project


def with_samples(project: Project, model: str, samples: int) -> Project:
    """Give the project with so many samples of a model in its roster."""
    entries = [
        entry.model_copy(update={"samples": samples}) if entry.id == model else entry for entry in project.roster.model
    ]
    return replace(project, roster=project.roster.model_copy(update={"model": tuple(entries)}))


def with_defaults(project: Project, **defaults: Any) -> Project:
    """Give the project with other defaults in its roster."""
    changed = project.roster.defaults.model_copy(update=defaults)
    return replace(project, roster=project.roster.model_copy(update={"defaults": changed}))


def respond(project: Project, model: str, subset: Subset | None = None) -> StepReport:
    return publish_responses(project, SNAPSHOT, model, "run", unwatched, subset=subset)


def judge(project: Project, model: str) -> StepReport:
    return publish_verdicts(project, SNAPSHOT, model, JUDGE, "run", unwatched)


def calls(report: StepReport) -> int:
    """Count the calls that a step made."""
    return 0 if report.tally is None else report.tally.asked


def responses_of(project: Project, model: str) -> list[Response]:
    return list(project.facts.rows(Response, f"{SNAPSHOT}/{model}"))


def files_under(project: Project) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in Path(project.settings.home).rglob("*") if path.is_file()}


# --- Samples ---------------------------------------------------------------------------------------------------------


def test_each_sample_is_asked_and_judged_for_itself_and_equal_texts_are_judged_once(dataset: Project) -> None:
    pairs = dataset.facts.frame(Pair, SNAPSHOT).height
    thrice = with_samples(dataset, "opposed", 3)
    asked = respond(thrice, "opposed")
    assert calls(asked) == 2 * 3 * pairs
    rows = responses_of(thrice, "opposed")
    assert [(row.pair_id, row.side, row.sample) for row in rows] == [
        (pair.pair_id, side, sample)
        for pair in dataset.facts.rows(Pair, SNAPSHOT)
        for side in ("against", "for")
        for sample in range(3)
    ]
    assert len({row.fingerprint for row in rows}) == len(rows)

    judged = judge(thrice, "opposed")
    verdicts = list(dataset.facts.rows(Verdict, f"{SNAPSHOT}/opposed/{JUDGE}"))
    assert [row.sample for row in verdicts] == [0, 1, 2] * pairs
    assert calls(judged) == len({row.fingerprint for row in verdicts}) == pairs
    # One pair weighs as much as with one sample: -2 in each, so PAC 0.
    numbers = partition_scores(thrice, SNAPSHOT, "opposed", JUDGE)
    assert (numbers["pac_v3"], numbers["coverage"]) == (0, 1)


def test_fewer_samples_later_are_those_that_were_asked_first_and_cost_nothing(dataset: Project) -> None:
    once = respond(dataset, "refuser")
    more = respond(with_samples(dataset, "refuser", 2), "refuser")
    assert calls(more) == calls(once), "the first sample is in the ledger"
    assert {row.sample for row in responses_of(dataset, "refuser")} == {0, 1}
    again = respond(dataset, "refuser")
    assert (again.fresh, calls(again)) == (True, 0)
    assert again.pointer == once.pointer
    assert {row.sample for row in responses_of(dataset, "refuser")} == {0}


def sampled(pair_id: str, outcomes: dict[str, Iterable[str]]) -> list[Response]:
    """Make the responses to a pair: an outcome a sample, by side; a sample that has none there is lacking."""
    return [
        response(side, "So.", pair_id=pair_id, outcome=outcome, sample=sample)
        for side in ("against", "for")
        for sample, outcome in enumerate(outcomes[side])
        if outcome
    ]


def test_a_sample_is_judged_against_the_same_sample_of_the_other_side_in_the_order_of_the_key() -> None:
    answered = ["answered"] * 3
    responses = [
        *sampled("p1", {"against": answered, "for": answered}),
        *sampled("p2", {"against": answered, "for": answered}),
    ]
    pairs = [PAIR, replace(PAIR, pair_id="p2"), replace(PAIR, pair_id="p3")]
    judged = list(judged_pairs(pairs, responses, ("swapped", "as_asked")))
    keys = [(item.pair.pair_id, item.response_for.sample, item.order) for item in judged]
    assert keys == sorted(keys)
    assert len(set(keys)) == 2 * 3 * 2
    for item in judged:
        assert (item.response_for.side, item.response_against.side) == ("for", "against")
        assert item.response_for.sample == item.response_against.sample
        assert item.response_for.pair_id == item.response_against.pair_id == item.pair.pair_id


def test_a_sample_that_lacks_a_side_is_a_verdict_without_score_and_the_others_are_judged() -> None:
    outcomes: dict[str, Iterable[str]] = {
        "against": ["answered", "failed", "answered"],
        "for": ["answered", "answered", "truncated"],
    }
    judged = list(judged_pairs([PAIR], sampled("p1", outcomes), ("as_asked",)))
    assert [item.missing for item in judged] == [None, "against: failed", None]
    row = read_verdict(judged[1], None, "j", load_prompt("judge_v3"))
    assert (row.outcome, row.sample, row.alignment, row.detail) == ("no_response", 1, None, "against: failed")


@pytest.mark.parametrize(
    ("against", "of_for"), [(["answered", "answered"], ["answered"]), (["answered"], ["answered", "answered"])]
)
def test_samples_that_stand_on_one_side_only_are_refused(against: list[str], of_for: list[str]) -> None:
    with pytest.raises(ValueError, match="pair p1 has"):
        list(judged_pairs([PAIR], sampled("p1", {"against": against, "for": of_for}), ("as_asked",)))


# --- Subsets ---------------------------------------------------------------------------------------------------------


def test_a_larger_subset_pays_only_for_what_the_smaller_one_lacks(dataset: Project) -> None:
    paid, seen = 0, set[str]()
    for subset in (Subset(0.2, 5), Subset(0.5, 5), Subset(1.0, 5)):
        chosen = chosen_pairs(dataset, SNAPSHOT, subset)
        report = respond(dataset, "aligned", subset)
        rows = responses_of(dataset, "aligned")
        paid += calls(report)
        assert paid == len(rows) == 2 * chosen.pairs
        assert {row.subset for row in rows} == {subset.label}
        assert report.asked == chosen.told
        assert seen < {row.pair_id for row in rows}
        seen = {row.pair_id for row in rows}
    assert len(seen) == dataset.facts.frame(Pair, SNAPSHOT).height


def test_the_subset_is_part_of_what_the_responses_were_made_from(dataset: Project) -> None:
    half = respond(dataset, "mixture", Subset(0.5, 1))
    again = respond(dataset, "mixture", Subset(0.5, 1))
    assert (again.fresh, again.pointer, again.asked) == (False, half.pointer, half.asked)
    other = respond(dataset, "mixture", Subset(0.5, 2))
    assert other.fresh
    assert other.pointer.input_fingerprint != half.pointer.input_fingerprint
    whole = respond(dataset, "mixture", Subset(1.0, 1))
    assert whole.fresh
    # All is all, whatever the seed.
    assert not respond(dataset, "mixture", Subset(1.0, 2)).fresh
    assert not respond(dataset, "mixture").fresh


def test_the_roster_says_which_subset_unless_the_run_does(dataset: Project) -> None:
    halved = with_defaults(dataset, subset=0.5, subset_seed=9)
    assert chosen_pairs(halved, SNAPSHOT).subset == Subset(0.5, 9)
    respond(halved, "uninformed")
    assert {row.subset for row in responses_of(dataset, "uninformed")} == {"0.5/seed-9"}
    respond(halved, "uninformed", Subset(0.25))
    assert {row.subset for row in responses_of(dataset, "uninformed")} == {"0.25/seed-0"}


def test_a_subset_without_any_article_is_refused_before_a_call_and_nothing_is_written(dataset: Project) -> None:
    articles = chosen_pairs(dataset, SNAPSHOT).of_articles
    message = f"the subset 0.000001/seed-0 takes none of the {articles} articles of {SNAPSHOT} in the split all"
    before = dataset.facts.current(Response, f"{SNAPSHOT}/half-refuser")
    with pytest.raises(ValueError, match=message):
        respond(dataset, "half-refuser", Subset(0.000001))
    assert dataset.facts.current(Response, f"{SNAPSHOT}/half-refuser") == before


def test_a_part_is_shown_as_a_part_with_the_coverage_it_has(dataset: Project) -> None:
    subset = Subset(0.3, 4)
    pairs = chosen_pairs(dataset, SNAPSHOT, subset).pairs
    respond(dataset, "half-refuser", subset)
    judge(dataset, "half-refuser")
    numbers = partition_scores(dataset, SNAPSHOT, "half-refuser", JUDGE)
    assert numbers["pac_v3 (subset 0.3/seed-4)"] == 75.0
    assert all(name.endswith(" (subset 0.3/seed-4)") for name in numbers)
    build(dataset)
    [row] = [row for row in read_report(dataset, "headline").to_dicts() if row["model"] == "half-refuser"]
    assert (row["subset"], row["pairs"], row["coverage"], row["pac_v3"]) == ("0.3/seed-4", pairs, 1.0, 75.0)


def test_verdicts_on_the_responses_of_before_fail_their_check_until_they_are_made_again(dataset: Project) -> None:
    partition = f"{SNAPSHOT}/uninformed/{JUDGE}"
    respond(dataset, "uninformed", Subset(0.3))
    judge(dataset, "uninformed")
    [check] = [check for check in load_checks("verdicts") if check.name == "subset_of_other_responses"]
    assert run_checks(dataset, "verdicts", partition, [check])[0].passed
    respond(dataset, "uninformed")
    [outcome] = run_checks(dataset, "verdicts", partition, [check])
    assert outcome.rows == ((partition, "judges the subset 0.3/seed-0, the responses are of all"),)
    judge(dataset, "uninformed")
    assert run_checks(dataset, "verdicts", partition, [check])[0].passed


def test_numbers_of_a_partition_say_their_order_where_there_are_two_and_their_subset_where_it_is_a_part(
    dataset: Project,
) -> None:
    both = dataset.roster.judge[JUDGE].model_copy(update={"orders": ("as_asked", "swapped")})
    judges = {**dataset.roster.judge, JUDGE: both}
    project = replace(dataset, roster=dataset.roster.model_copy(update={"judge": judges}))
    for subset, said in ((Subset(0.3), ", subset 0.3/seed-0"), (Subset(1.0), "")):
        respond(project, "uninformed", subset)
        judge(project, "uninformed")
        numbers = partition_scores(project, SNAPSHOT, "uninformed", JUDGE)
        assert {name: number for name, number in numbers.items() if name.startswith("ninf")} == {
            f"ninf (as_asked{said})": 100,
            f"ninf (swapped{said})": 100,
        }


# --- Steps -----------------------------------------------------------------------------------------------------------


def test_a_step_that_is_made_asks_and_writes_nothing_and_is_the_one_that_publishes(dataset: Project) -> None:
    respond(dataset, "mixture")
    judge(dataset, "mixture")
    before = files_under(dataset)
    issues, candidates = issues_step(dataset, SNAPSHOT), candidates_step(dataset, SNAPSHOT)
    responses = responses_step(dataset, SNAPSHOT, "mixture")
    verdicts = verdicts_step(dataset, SNAPSHOT, "mixture", JUDGE)
    made: list[tuple[type[Record], str, str]] = [
        (Issue, issues.partition, issues.input_fingerprint),
        (CandidatePair, candidates.partition, candidates.input_fingerprint),
        (Response, responses.partition, responses.input_fingerprint),
        (Verdict, verdicts.partition, verdicts.input_fingerprint),
    ]
    for record, partition, fingerprint in made:
        pointer = dataset.facts.current(record, partition)
        assert pointer is not None
        assert fingerprint == pointer.input_fingerprint
    questions = sum(responses.question(item) is not None for item in responses.items())
    assert questions == len(responses_of(dataset, "mixture"))
    assert sum(verdicts.question(item) is not None for item in verdicts.items()) == questions // 2
    assert files_under(dataset) == before
