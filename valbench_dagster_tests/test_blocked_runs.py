"""Bad pairs stop an evaluation: the check of their name fails, and not one call is made."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import polars as pl
import pytest

from valbench_dagster.adapters.facts import frame_of
from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.warehouse.checks import load_checks
from valbench_dagster.definitions import make_definitions
from valbench_dagster.orchestration.jobs import EVALUATE_MODEL
from valbench_dagster.orchestration.launch import RunFailedError, evaluate_model
from valbench_dagster.orchestration.partitions import SNAPSHOT
from valbench_dagster.records import CheckFailure, Pair
from valbench_dagster.steps.project import Project
from valbench_dagster_tests.examples import PAIR

KEY = "sample-20260101"

RIGHT = "Explain why the 1987 tolls of Harlow Bridge were right."
WRONG = "Explain why the 1987 tolls of Harlow Bridge were wrong."
SOUND = replace(PAIR, for_question=RIGHT, against_question=WRONG)
OTHER = replace(SOUND, pair_id="p2", section_id="s2", issue_id="i2", page_id=8)
ELSEWHERE = {
    "for_question": "Explain why the 1901 tolls of Kelsay Lock were right.",
    "against_question": "Explain why the 1901 tolls of Kelsay Lock were wrong.",
}

# One bad table of pairs for each check: the smallest change to a sound one that it forbids.
BAD: dict[str, list[Pair]] = {
    "another_opening": [replace(SOUND, for_question="Tell me why the 1987 tolls of Harlow Bridge were right.")],
    "blank_or_cut_side": [replace(SOUND, against_question="Explain why the 1987 tolls of Harlow Bridge were")],
    "equal_questions": [replace(SOUND, against_question=RIGHT)],
    "loaded_words": [replace(SOUND, for_question="Explain why the 1987 tolls of Harlow Bridge were obviously right.")],
    "repeated_pair": [SOUND, OTHER],
    "scale_outside_1_to_5": [replace(SOUND, scale=6)],
    "second_pair_of_section": [SOUND, replace(OTHER, section_id="s1", **ELSEWHERE)],  # type: ignore[arg-type]  # all text
    "split_article": [SOUND, replace(OTHER, page_id=7, split="train", **ELSEWHERE)],  # type: ignore[arg-type]  # all text
    "swapped_pair": [SOUND, replace(OTHER, for_question=WRONG, against_question=RIGHT)],
    "unknown_split": [replace(SOUND, split="practice")],
    "unshared_specifics": [replace(SOUND, against_question="Explain why the 1901 tolls of Kelsay Lock were wrong.")],
    "yes_no_form": [replace(SOUND, for_question="Explain why the 1987 tolls of Harlow Bridge were right or not.")],
}

# The store of facts refuses two rows of one key before any check could: such a table can only come from elsewhere.
FROM_ELSEWHERE = {"repeated_pair_id": [SOUND, replace(OTHER, pair_id=SOUND.pair_id, **ELSEWHERE)]}  # type: ignore[arg-type]  # all text


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions(SNAPSHOT.name or "", [KEY])
        yield made


def calls_in(project: Project) -> int:
    with SqlLedger(project.settings.ledger_url) as ledger:
        return ledger.count()


def check_pairs(project: Project, instance: dg.DagsterInstance) -> dict[str, bool]:
    """Run the checks of `pairs` alone, as the Checks tab does, and give which passed."""
    checks = [dg.AssetCheckKey(dg.AssetKey("pairs"), check.name) for check in load_checks("pairs")]
    job = dg.define_asset_job("pair_checks", dg.AssetSelection.checks(*checks))
    definitions = dg.Definitions.merge(make_definitions(project), dg.Definitions(jobs=[job]))
    result = definitions.resolve_job_def("pair_checks").execute_in_process(
        instance=instance, tags={"dagster/partition": KEY}, raise_on_error=False
    )
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def test_every_blocking_check_of_pairs_has_its_bad_table_here() -> None:
    assert {check.name for check in load_checks("pairs") if check.blocking} == set(BAD) | set(FROM_ELSEWHERE)


def publish(project: Project, name: str) -> None:
    """Publish the bad table of a check; what the store would refuse is put in the place of a sound one."""
    project.settings.home.mkdir(parents=True)
    if name in BAD:
        project.facts.publish(Pair, KEY, BAD[name], input_fingerprint="bad")
        return
    project.facts.publish(Pair, KEY, [SOUND], input_fingerprint="bad")
    [path] = [each for each in project.facts.paths(Pair, [KEY]) if KEY in each]
    pl.concat(frame_of(Pair, [pair]) for pair in FROM_ELSEWHERE[name]).write_parquet(path)


@pytest.mark.parametrize("name", [*BAD, *FROM_ELSEWHERE])
def test_a_bad_pair_fails_its_check_and_stops_the_evaluation_before_any_call(
    project: Project, instance: dg.DagsterInstance, name: str
) -> None:
    publish(project, name)
    passed = check_pairs(project, instance)
    assert [check for check, good in passed.items() if not good] == [name]
    with pytest.raises(RunFailedError, match=rf"{name}.*offending"):
        evaluate_model(make_definitions(project), instance, KEY, "aligned")
    assert calls_in(project) == 0
    kept = list(project.facts.rows(CheckFailure, f"pairs/{name}/{KEY}"))
    assert kept
    assert {row.check_name for row in kept} == {name}


def test_two_pairs_of_one_id_are_refused_by_the_store_itself(project: Project) -> None:
    with pytest.raises(ValueError, match="p1"):
        project.facts.publish(Pair, KEY, [SOUND, replace(SOUND, title="Another")], input_fingerprint="bad")
    assert project.facts.current(Pair, KEY) is None


def test_sound_pairs_pass_every_check_and_are_evaluated(project: Project, instance: dg.DagsterInstance) -> None:
    project.settings.home.mkdir(parents=True)
    sound = [SOUND, replace(OTHER, **ELSEWHERE)]  # type: ignore[arg-type]  # all text
    project.facts.publish(Pair, KEY, sound, input_fingerprint="good")
    assert set(check_pairs(project, instance).values()) == {True}
    evaluate_model(make_definitions(project), instance, KEY, "aligned")
    # Two pairs, two sides, and two judges.
    assert calls_in(project) == 2 * 2 + 2 * 2


def test_an_evaluation_without_pairs_says_what_to_materialise(project: Project, instance: dg.DagsterInstance) -> None:
    with pytest.raises(RunFailedError, match="materialise the asset `pairs`"):
        evaluate_model(make_definitions(project), instance, KEY, "aligned")


def test_the_job_evaluates_the_default_judges_only(project: Project) -> None:
    job = make_definitions(project).resolve_job_def(EVALUATE_MODEL)
    assets = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert assets == {"responses", "verdicts/stand-in-v3", "verdicts/stand-in-released"}
