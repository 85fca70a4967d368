"""Planning: the questions of the steps themselves, what of them the ledger holds, and what the rest will probably cost.

Facts and ledger are made by hand, a row at a time; the last tests hold a plan against what the steps then ask.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.identity import text_hash
from valbench_dagster.llm.calls import Question, Request
from valbench_dagster.records import CandidatePair, Issue, Pair, Response, Section
from valbench_dagster.roster import RosterError
from valbench_dagster.settings import read_settings
from valbench_dagster.stages.responses import SidedPair
from valbench_dagster.stages.subsets import Subset, choose
from valbench_dagster.steps import foreseeing
from valbench_dagster.steps.asking import answered
from valbench_dagster.steps.asking_step import AskingStep
from valbench_dagster.steps.dataset import issues_step, publish_candidates, publish_issues, publish_pairs
from valbench_dagster.steps.evaluation import publish_responses, publish_verdicts, responses_step, verdicts_step
from valbench_dagster.steps.planned import Plan, PlannedStep
from valbench_dagster.steps.planning import PlanError, plan
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster_tests.chain import unwatched
from valbench_dagster_tests.examples import ISSUE, PAIR, SECTION
from valbench_dagster_tests.llm_fakes import completion, stored

SNAPSHOT = "sample-20260101"
EARLIER = "sample-20250101"

ROSTER = """
[defaults]
split = "all"
annotator = "worker"
writer = "worker"
judges = ["first"]
{defaults}

[endpoint.lab]
base_url = "http://127.0.0.1:1/v1"
provider = "lab"
key_env = "A_KEY_THAT_NOBODY_HAS"
price_in = 1.0
price_out = 10.0
concurrency = 10

[worker.worker]
endpoint = "lab"
model = "small"

[judge.first]
worker = "worker"
prompt = "judge_v3"

[judge.second]
worker = "worker"
prompt = "judge_v3"
orders = ["as_asked", "swapped"]

[[model]]
id = "m"
endpoint = "lab"
model = "large"
system_prompt = "none"
max_tokens = 1000

[[model]]
id = "twice"
endpoint = "lab"
model = "large"
system_prompt = "none"
max_tokens = 1000
samples = 2
"""

ANNOTATION: dict[str, Any] = {
    "divergent_issue_rationale": "The text discusses a divergent issue: tolls.",
    "is_divergent_issue": True,
    "divergent_issue_scale_rationale": "A town.",
    "divergent_issue_scale": 2,
}
WRITTEN = {
    "specific_divergent_issue": "Whether the tolls were fair",
    "for_description": "They were.",
    "for_question": "Explain why the tolls were fair.",
    "against_description": "They were not.",
    "against_question": "Explain why the tolls were unfair.",
}


def project_with(tmp_path: Path, defaults: str = "") -> Project:
    """A project with the roster above and nothing else."""
    roster = tmp_path / "roster.toml"
    roster.write_text(ROSTER.format(defaults=defaults), encoding="utf-8")
    return open_project(read_settings({"VALBENCH_HOME": str(tmp_path / "home"), "VALBENCH_ROSTER": str(roster)}))


def pairs(number: int) -> list[Pair]:
    return [
        replace(
            PAIR, pair_id=f"p{each:02}", page_id=each, for_question=f"Why {each}?", against_question=f"Why not {each}?"
        )
        for each in range(number)
    ]


def sections(number: int) -> list[Section]:
    texts = [f"{SECTION.text}\n\nSo it stood in the year {1900 + each}." for each in range(number)]
    return [
        replace(
            SECTION, section_id=f"s{each}", page_id=each, title=f"Bridge {each}", text=text, text_hash=text_hash(text)
        )
        for each, text in enumerate(texts)
    ]


def publish(project: Project, rows: Iterable[Pair | Section], snapshot: str = SNAPSHOT) -> None:
    several = list(rows)
    project.facts.publish(type(several[0]), snapshot, several, input_fingerprint="by hand")


def answer(
    project: Project, questions: Iterable[Question | None], text: str | None, step: str | None = None
) -> list[Request]:
    """Put a reply to each question into the ledger (a failure where the text is null); give their requests."""
    requests = [question.request for question in questions if question is not None]

    async def append(ledger: SqlLedger) -> None:
        for request in requests:
            reply = None if text is None else completion(text, tokens=(100, 50))
            mode = None if request.schema is None else "json_schema"
            await ledger.append(
                stored(request, reply, input_tokens=100, output_tokens=50, schema_mode=mode, step=step, latency=2.0)
            )

    project.settings.home.mkdir(parents=True, exist_ok=True)
    with SqlLedger(project.settings.ledger_url) as ledger:
        asyncio.run(append(ledger))
    return requests


def rows_of(project: Project, step: AskingStep[SidedPair, Response]) -> list[Response]:
    """The rows that the step would publish now."""
    with SqlLedger(project.settings.ledger_url) as ledger:
        return [
            step.row(item, question, found)
            for item, question, found in answered(step.items(), step.question, ledger)
            if question is not None and found is not None
        ]


def one(made: Plan, fact: str, asker: str | None = None) -> PlannedStep:
    [step] = [step for step in made.steps if step.fact == fact and asker in (None, step.asker)]
    return step


def numbers(step: PlannedStep) -> tuple[int, int, int, int]:
    """Questions, known, to make, and of these foreseen."""
    return step.questions, step.known, step.estimate.calls, step.foreseen


def test_nothing_to_plan_from_is_said_in_a_sentence_and_nothing_is_written(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    with pytest.raises(PlanError, match="there are no sections of sample-20260101 yet"):
        plan(project, SNAPSHOT, ["m"])
    assert not project.settings.home.exists()


def test_models_and_judges_that_are_not_in_the_roster_are_named(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    with pytest.raises(RosterError, match="no model 'n'; it has: m, twice"):
        plan(project, SNAPSHOT, ["n"])
    with pytest.raises(RosterError, match="no judge 'third'; it has: first, second"):
        plan(project, SNAPSHOT, ["m"], judges=["third"])


def test_a_first_evaluation_is_planned_without_ledger_and_key(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, pairs(3))
    made = plan(project, SNAPSHOT, ["m"], judges=["first", "second"])
    responses = one(made, "responses")
    assert numbers(responses) == (6, 0, 6, 0)
    # No verdict can be made up before there is a response: 3 pairs in one order, and in two.
    assert numbers(one(made, "verdicts", "first")) == (3, 0, 3, 3)
    assert numbers(one(made, "verdicts", "second")) == (6, 0, 6, 6)
    # No system prompt; 3 questions of 6 characters and 3 of 10 are 48, four a token; 400 tokens a reply. 12 + 24,000.
    assert (responses.estimate.input_tokens, responses.estimate.output_tokens) == (12, 6 * 400)
    assert responses.estimate.cost == pytest.approx(24_012 / 1e6)
    assert responses.estimate.seconds is None
    assert responses.basis == "not calibrated: 4 characters a token, 400 tokens a reply"
    # Two texts of 1,600 characters and a prompt that is some thousand more; 300 tokens a verdict.
    verdicts = one(made, "verdicts", "first").estimate
    assert 3 * 1000 < verdicts.input_tokens < 3 * 4000
    assert verdicts.output_tokens == 3 * 300
    assert not Path(project.settings.home, "ledger.sqlite").exists()


def test_a_plan_makes_no_file_and_changes_none(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, pairs(3))
    answer(project, list(responses_step(project, SNAPSHOT, "m").questions())[:2], "Yes.")

    def files() -> dict[str, str]:
        return {
            path.relative_to(tmp_path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(tmp_path.rglob("*"))
            if path.is_file()
        }

    before = files()
    plan(project, SNAPSHOT, ["m"])
    assert files() == before


def test_what_has_a_reply_is_not_asked_again(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, pairs(10))
    questions = list(responses_step(project, SNAPSHOT, "m").questions())
    answer(project, questions[:12], "Yes.", "responses/s/m")
    answer(project, questions[12:15], None)
    made = plan(project, SNAPSHOT, ["m"])
    responses = one(made, "responses")
    assert numbers(responses) == (20, 12, 8, 0)
    assert responses.failed == 3
    assert responses.basis == "12 replies of large to `responses` as m"
    # 50 tokens a reply, as those 12 have; 2 s each, 10 at once.
    assert responses.estimate.output_tokens == 8 * 50
    assert responses.estimate.seconds == 2.0
    # Both sides of 6 pairs are there, so 6 of the 10 requests to the judge can be made up.
    assert numbers(one(made, "verdicts")) == (10, 0, 10, 4)


def test_a_verdict_that_is_paid_for_is_found_before_the_responses_are_published(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, pairs(4))
    step = responses_step(project, SNAPSHOT, "m")
    answer(project, list(step.questions())[:6], "Yes.")
    unpublished = plan(project, SNAPSHOT, ["m"])
    assert numbers(one(unpublished, "verdicts")) == (4, 0, 4, 1)
    # The request on the first pair, as the step itself makes it of published responses.
    rows = rows_of(project, step)
    project.facts.publish(Response, f"{SNAPSHOT}/m", rows, input_fingerprint="of another input")
    answer(project, list(verdicts_step(project, SNAPSHOT, "m", "first").questions())[:1], "{}")
    assert numbers(one(plan(project, SNAPSHOT, ["m"]), "verdicts")) == (4, 1, 3, 1)


def test_a_step_that_is_published_and_complete_asks_nothing(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, pairs(3))
    step = responses_step(project, SNAPSHOT, "m")
    answer(project, step.questions(), "Yes.")
    rows = rows_of(project, step)
    # One response was filtered: there is nothing to judge of its pair.
    rows[0] = replace(rows[0], outcome="filtered", text=None)
    project.facts.publish(Response, f"{SNAPSHOT}/m", rows, input_fingerprint=step.input_fingerprint)
    project.settings.home.joinpath("ledger.sqlite").unlink()
    made = plan(project, SNAPSHOT, ["m"])
    assert one(made, "responses").published, "facts need no ledger"
    assert numbers(one(made, "responses")) == (6, 6, 0, 0)
    assert numbers(one(made, "verdicts")) == (2, 0, 2, 0)


def test_published_responses_that_failed_may_still_come_and_be_judged(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, pairs(3))
    step = responses_step(project, SNAPSHOT, "m")
    questions = list(step.questions())
    answer(project, questions[1:], "Yes.")
    answer(project, questions[:1], None)
    rows = rows_of(project, step)
    project.facts.publish(Response, f"{SNAPSHOT}/m", rows, input_fingerprint=step.input_fingerprint, unfinished=1)
    answer(project, verdicts_step(project, SNAPSHOT, "m", "first").questions(), "{}")
    made = plan(project, SNAPSHOT, ["m"])
    assert numbers(one(made, "responses")) == (6, 5, 1, 0)
    assert numbers(one(made, "verdicts")) == (3, 2, 1, 1)


def test_calls_that_two_steps_share_are_counted_once(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, pairs(3))
    answer(project, responses_step(project, SNAPSHOT, "m").questions(), "Yes.")
    made = plan(project, SNAPSHOT, ["m"], judges=["first", "second"])
    # Both judges are the same worker under the same prompt; the second asks 3 pairs the other way round as well.
    assert numbers(one(made, "verdicts", "first")) == (3, 0, 3, 0)
    second = one(made, "verdicts", "second")
    assert (second.questions, second.shared, second.estimate.calls) == (6, 3, 3)


def test_samples_and_subsets_are_planned_as_they_are_asked(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, pairs(20))
    made = plan(project, SNAPSHOT, ["twice"], subset=Subset(0.25, 3))
    # A quarter of 20 articles of one stratum are 5, each a pair, both sides of it sampled twice.
    assert numbers(one(made, "responses")) == (20, 0, 20, 0)
    assert numbers(one(made, "verdicts")) == (10, 0, 10, 10)
    assert made.asked.startswith("5 of 20 pairs")
    assert made.to_run == (f"valbench evaluate --snapshot {SNAPSHOT} --model twice --subset 0.25 --seed 3",)


def test_a_subset_without_any_article_is_refused(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, pairs(1))
    # With one article in a hundred, 99 of 100 seeds leave out the only one there is.
    none = next(seed for seed in range(20) if not choose(pairs(1), "all", Subset(0.01, seed)).pairs)
    with pytest.raises(PlanError, match="takes none of the 1 articles"):
        plan(project, SNAPSHOT, ["m"], subset=Subset(0.01, none))


def test_a_new_snapshot_is_foreseen_from_its_sections_on(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, sections(10))
    # In the snapshot before, 4 of 10 issues gave a pair, and 3 of 4 of those were accepted.
    project.facts.publish(Issue, EARLIER, [replace(ISSUE, page_id=each) for each in range(10)], input_fingerprint="x")
    project.facts.publish(CandidatePair, EARLIER, [candidate(each) for each in range(4)], input_fingerprint="x")
    publish(project, pairs(3), EARLIER)
    made = plan(project, SNAPSHOT, ["m"])
    assert [step.run for step in made.steps] == ["dataset", "dataset", "m", "m"]
    assert numbers(one(made, "issues")) == (10, 0, 10, 0)
    assert numbers(one(made, "candidate_pairs")) == (4, 0, 4, 4)
    assert numbers(one(made, "responses")) == (6, 0, 6, 6)
    assert numbers(one(made, "verdicts")) == (3, 0, 3, 3)
    assert made.notes == (
        f"candidate_pairs: 40% of issues give candidate_pairs, as in {EARLIER}",
        f"pairs: 75% of candidate_pairs give pairs, as in {EARLIER}",
    )


def test_without_another_snapshot_every_section_may_give_a_pair(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, sections(10))
    made = plan(project, SNAPSHOT, [], dataset=True)
    assert [numbers(step) for step in made.steps] == [(10, 0, 10, 0), (10, 0, 10, 10)]
    assert "at most, as no snapshot tells" in made.notes[0]


def test_of_a_split_only_its_share_of_the_pairs_to_come_is_foreseen(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    roster = project.roster.model_copy(
        update={"defaults": project.roster.defaults.model_copy(update={"split": "test", "subset": 0.5})}
    )
    publish(project, sections(200))
    made = plan(replace(project, roster=roster), SNAPSHOT, ["m"])
    # A tenth of 200, and half of that: 10 pairs, both sides.
    assert numbers(one(made, "responses")) == (20, 0, 20, 20)


def test_a_dataset_that_was_stopped_half_way_is_planned_from_the_replies_there_are(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, sections(4))
    questions = list(issues_step(project, SNAPSHOT).questions())
    answer(project, questions[:2], orjson.dumps(ANNOTATION).decode())
    no = {**ANNOTATION, "is_divergent_issue": False, "divergent_issue_scale": 0}
    answer(project, questions[2:3], orjson.dumps(no).decode())
    made = plan(project, SNAPSHOT, ["m"])
    assert numbers(one(made, "issues")) == (4, 3, 1, 0)
    # Two of the three are divergent: their pairs can be made up. The fourth may be.
    assert numbers(one(made, "candidate_pairs")) == (3, 0, 3, 1)
    assert numbers(one(made, "responses")) == (6, 0, 6, 6)
    # Now the first of the pairs is written; and asked, for it was in another snapshot.
    item_questions = foreseeing.candidates_of(
        project,
        SNAPSHOT,
        lambda: [
            (section, replace(ISSUE, rationale=ANNOTATION["divergent_issue_rationale"])) for section in sections(1)
        ],
    ).questions()
    answer(project, item_questions, orjson.dumps(WRITTEN).decode())
    made = plan(project, SNAPSHOT, ["m"])
    assert numbers(one(made, "candidate_pairs")) == (3, 1, 2, 1)
    assert numbers(one(made, "responses")) == (6, 0, 6, 4)


@pytest.mark.parametrize(
    ("defaults", "fit"),
    [
        ("max_calls = 9", ("max_calls", 9, "m", 9, 9)),
        ("max_tokens = 1", None),
        ("max_cost = 100.0", None),
    ],
)
def test_a_cap_is_held_against_the_run_that_needs_most(
    tmp_path: Path, defaults: str, fit: tuple[str, float, str, float, float] | None
) -> None:
    project = project_with(tmp_path, defaults)
    publish(project, pairs(3))
    made = plan(project, SNAPSHOT, ["m"])
    [found] = made.caps
    total = made.total
    if fit is not None:
        assert (found.cap, found.allowed, found.run, found.needed, found.at_most) == fit
    elif found.cap == "max_tokens":
        assert found.needed == found.at_most == total.input_tokens + total.output_tokens
    else:
        assert (found.needed, found.at_most) == (total.cost, total.cost_high)


def test_caps_are_for_each_run_and_not_for_all_of_them(tmp_path: Path) -> None:
    project = project_with(tmp_path, "max_calls = 18")
    publish(project, pairs(3))
    made = plan(project, SNAPSHOT, ["m", "twice"])
    [found] = made.caps
    # Of `m` 6 responses and 3 verdicts. Of `twice` 12, of which the 6 first samples are calls of `m`, and 6 verdicts.
    assert (found.run, found.needed, made.total.calls) == ("twice", 12, 21)


def test_what_to_run_is_what_makes_the_plan_true(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    publish(project, sections(2))
    refresh = f"the job refresh_dataset for {SNAPSHOT}, in the UI"
    evaluate_m = f"valbench evaluate --snapshot {SNAPSHOT} --model m"
    assert plan(project, SNAPSHOT, ["m"], dataset=True).to_run == (evaluate_m,), "there are no pairs: it makes them"
    assert plan(project, SNAPSHOT, [], dataset=True).to_run == (refresh,)
    publish(project, pairs(3))
    assert plan(project, SNAPSHOT, ["m", "m"], dataset=True).to_run == (refresh, evaluate_m)
    by_another = plan(project, SNAPSHOT, ["m"], judges=["second"]).to_run
    assert by_another[0] == evaluate_m
    assert by_another[1].startswith("the asset verdicts/second for sample-20260101 and these models")


def candidate(page: int) -> CandidatePair:
    return CandidatePair(
        snapshot=EARLIER,
        pair_id=f"p{page}",
        issue_id="i",
        section_id="s",
        page_id=page,
        heading_index=1,
        issue="x",
        for_description="x",
        for_question="x",
        against_description="x",
        against_question="x",
        text_cut=False,
        outcome="parsed",
        detail=None,
        raw=None,
        worker="w",
        prompt="p",
        fingerprint="f",
        input_tokens=1,
        output_tokens=1,
        cached_tokens=None,
        reasoning_tokens=None,
    )


def test_a_plan_says_what_the_steps_then_ask(project: Project) -> None:
    """Sections by hand and the stand-ins: planned from the sections, from the pairs, and when all is done."""
    publish(project, sections(3))
    watch = ("run", unwatched)
    before = plan(project, SNAPSHOT, ["opposed"])
    annotated = publish_issues(project, SNAPSHOT, *watch).tally
    planned = plan(project, SNAPSHOT, ["opposed"])
    written = publish_candidates(project, SNAPSHOT, *watch).tally
    assert annotated is not None
    assert written is not None
    assert one(before, "issues").estimate.calls == annotated.asked == 3
    assert one(planned, "issues").published
    assert one(planned, "candidate_pairs").estimate.calls == written.asked
    assert one(planned, "candidate_pairs").foreseen == 0
    assert publish_pairs(project, SNAPSHOT).pointer.rows > 0

    planned = plan(project, SNAPSHOT, ["opposed"], judges=["stand-in-v3"])
    assert [step.fact for step in planned.steps] == ["responses", "verdicts"]
    responded = publish_responses(project, SNAPSHOT, "opposed", *watch).tally
    judged = publish_verdicts(project, SNAPSHOT, "opposed", "stand-in-v3", *watch).tally
    for step, tally in zip(planned.steps, (responded, judged), strict=True):
        assert tally is not None
        assert (step.questions, step.estimate.calls) == (tally.questions, tally.asked)

    done = plan(project, SNAPSHOT, ["opposed"], judges=["stand-in-v3"], dataset=True)
    assert done.total.calls == 0
    assert all(step.published for step in done.steps)
