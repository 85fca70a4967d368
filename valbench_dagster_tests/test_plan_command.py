"""`valbench plan`: a table of at most 100 columns, what it rests on, and the command to run."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from click import Context
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.cli import main
from valbench_dagster.llm.estimate import Estimate
from valbench_dagster.project_files import project_file
from valbench_dagster.records import Pair
from valbench_dagster.report.plan_lines import WIDTH, cap_sentence, duration, money, plan_lines, tokens
from valbench_dagster.steps.planned import CapFit, Plan, PlannedStep
from valbench_dagster.steps.project import open_project
from valbench_dagster_tests.examples import PAIR

STEP = PlannedStep(
    run="llama-4-chat",
    fact="responses",
    asker="llama-4-chat",
    endpoint="lab",
    model="org/llama",
    questions=22_950,
    known=17_233,
    shared=0,
    failed=12,
    foreseen=0,
    published=False,
    estimate=Estimate(5_717, 400_190, 1_715_100, 4.1234, 3.5, 4.75, 812.0),
    basis="1000 replies of org/llama to `responses` as llama-4-chat",
)
VERDICTS = replace(
    STEP,
    fact="verdicts",
    asker="gemma-v3",
    questions=11_475,
    known=8_000,
    shared=100,
    failed=0,
    foreseen=3_375,
    estimate=Estimate(3_375, 3_375_000, 1_012_500, 0.5, 0.25, 1.0, None),
    basis="not calibrated: 4 characters a token, 300 tokens a reply",
)
PLAN = Plan(
    snapshot="enwiki-20261101",
    asked="11,475 of 11,475 pairs (1,043 of 1,043 articles, subset all)",
    steps=(STEP, VERDICTS),
    total=STEP.estimate + VERDICTS.estimate,
    caps=(CapFit("max_cost", 5.0, "llama-4-chat", 4.6234, 5.75),),
    notes=("pairs: all candidate_pairs give pairs: at most, as no snapshot tells",),
    to_run=("valbench evaluate --snapshot enwiki-20261101 --model llama-4-chat", "something else"),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The environment is what the command is told by: setting it is using it, not patching it.
    monkeypatch.setenv("VALBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VALBENCH_ROSTER", str(project_file("roster.toml")))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["plan", *words], catch_exceptions=False)


def publish_pairs() -> None:
    rows = [
        replace(PAIR, pair_id=f"p{each}", page_id=each, for_question=f"Why {each}?", against_question=f"No {each}?")
        for each in range(5)
    ]
    open_project().facts.publish(Pair, "sample-20260101", rows, input_fingerprint="by hand")


def test_a_plan_as_a_person_sees_it() -> None:
    assert list(plan_lines(PLAN)) == [
        "enwiki-20261101: 11,475 of 11,475 pairs (1,043 of 1,043 articles, subset all)",
        "",
        "                                     questions in ledger    to make tok. in tok. out    cost    time",
        "evaluation of llama-4-chat",
        "  responses                             22,950    17,233      5,717    400k     1.7M    4.12  14 min",
        "  verdicts/gemma-v3                    ~11,475     8,100     ~3,375    3.4M     1.0M  0.5000 unknown",
        "total                                   34,425    25,333      9,092    3.8M     2.7M    4.62 unknown",
        "",
        "The cost should lie between 3.75 and 5.75.",
        "Under max_cost 5.00 every run fits: probably; the evaluation of llama-4-chat needs most, 4.62 to",
        "  5.75.",
        "",
        "  responses of llama-4-chat: 1000 replies of org/llama to `responses` as llama-4-chat",
        "  responses of llama-4-chat: 12 of those to make were asked before and have no reply",
        "  verdicts/gemma-v3 of llama-4-chat: not calibrated: 4 characters a token, 300 tokens a reply",
        "  ~ verdicts/gemma-v3 of llama-4-chat: 3,375 are foreseen, as what they would ask about is not there",
        "    yet",
        "  verdicts/gemma-v3 of llama-4-chat: 100 are the same calls as in a step above, made and paid once",
        "  unknown time: how long a call takes is known from the first replies on, and never of a batch",
        "  pairs: all candidate_pairs give pairs: at most, as no snapshot tells",
        "Run: valbench evaluate --snapshot enwiki-20261101 --model llama-4-chat",
        "Then: something else",
    ]


def test_a_plan_with_nothing_to_ask_says_so() -> None:
    done = replace(STEP, known=22_950, failed=0, estimate=Estimate(), basis=None, published=True)
    lines = list(plan_lines(replace(PLAN, steps=(done,), total=Estimate(), notes=())))
    assert "Nothing is to be asked: every reply is there." in lines
    assert not any("cost should lie" in line for line in lines)


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (CapFit("max_cost", 20.0, "m", 12.3, 13.8), "Under max_cost 20.00 every run fits: yes"),
        (CapFit("max_cost", 13.0, "m", 12.3, 13.8), "Under max_cost 13.00 every run fits: probably"),
        (CapFit("max_cost", 5.0, "m", 12.3, 13.8), "no; the evaluation of m needs 12.30"),
        (CapFit("max_cost", 5.0, "m", 12.3, 13.8), "again: 3 runs in all"),
        (CapFit("max_tokens", 1_000_000, "dataset", 1_000_000, 1_000_000), "max_tokens 1,000,000 every run fits: yes"),
        (CapFit("max_calls", 100, "dataset", 101, 101), "no; the dataset needs 101"),
    ],
)
def test_a_cap_is_told_with_the_run_that_needs_most(fit: CapFit, said: str) -> None:
    assert said in cap_sentence(fit)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0.0, "0.00"),
        (0.00001, "<0.0001"),
        (0.0123, "0.0123"),
        (1.0, "1.00"),
        (999.99, "999.99"),
        (1234.5, "1,234"),
        (999_999.0, "999,999"),
        (1_500_000.0, "1.5M"),
    ],
)
def test_an_amount_has_the_digits_that_matter(amount: float, shown: str) -> None:
    assert money(amount) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0k"),
        (99_949, "99.9k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (3_400_000_000, "3.4G"),
    ],
)
def test_tokens_are_shown_in_short(count: int, shown: str) -> None:
    assert tokens(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "unknown"),
        (0.0, "0 s"),
        (89.0, "89 s"),
        (90.0, "2 min"),
        (812.0, "14 min"),
        (5_400.0, "1.5 h"),
        (172_800.0, "2.0 d"),
    ],
)
def test_a_time_is_shown_in_the_unit_that_fits(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


names = st.text(st.sampled_from("abcxyz0123456789-._"), min_size=1, max_size=64)


@settings(max_examples=50)
@given(names, names, st.integers(0, 10**9), st.floats(0, 10**8), st.integers(0, 10**12))
def test_no_line_of_the_table_is_wider_than_a_terminal(
    model: str, judge: str, calls: int, cost: float, count: int
) -> None:
    needed = Estimate(calls, count, count, cost, cost, cost, cost)
    steps = tuple(
        replace(step, run=model, asker=judge, questions=calls, known=calls, foreseen=calls, estimate=needed)
        for step in (STEP, VERDICTS)
    )
    table = list(plan_lines(replace(PLAN, steps=steps, total=needed + needed)))
    end = next(number for number, line in enumerate(table) if line.startswith("total"))
    assert all(len(line) <= WIDTH for line in table[: end + 1])


def test_the_command_plans_and_writes_nothing(home: Path) -> None:
    publish_pairs()
    result = run("-s", "sample-20260101", "-m", "opposed")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "sample-20260101: 5 of 5 pairs (5 of 5 articles, subset all)"
    assert any(line.split()[:4] == ["responses", "10", "0", "10"] for line in lines)
    assert "No cap is set: max_cost, max_tokens or max_calls in [defaults] of the roster stop a run." in lines
    assert lines[-1] == "Run: valbench evaluate --snapshot sample-20260101 --model opposed"
    assert max(map(len, lines)) <= WIDTH
    assert [path.name for path in home.iterdir()] == ["facts"]


def test_the_plan_as_json_holds_every_number(home: Path) -> None:
    publish_pairs()
    result = run("-s", "sample-20260101", "-m", "opposed", "-j", "stand-in-v3", "--json")
    made = orjson.loads(result.output)
    assert [step["fact"] for step in made["steps"]] == ["responses", "verdicts"]
    assert made["steps"][0]["estimate"]["calls"] == 10
    assert made["total"]["cost_high"] == 0.0
    assert made["to_run"] == ["valbench evaluate --snapshot sample-20260101 --model opposed"]


def test_caps_for_one_run_are_held_against_the_plan_and_named_in_the_command(home: Path) -> None:
    publish_pairs()
    lines = run("-s", "sample-20260101", "-m", "opposed", "--max-calls", "6", "--max-cost", "1.5").output.splitlines()
    assert "Under max_cost 1.50 every run fits: yes; the evaluation of opposed needs most, 0.00." in lines
    assert any(line.startswith("Under max_calls 6 every run fits: no; the evaluation of opposed") for line in lines)
    assert lines[-1].endswith("--model opposed --max-cost 1.5 --max-calls 6")


def test_the_command_that_a_plan_ends_with_is_one_that_there_is(home: Path) -> None:
    publish_pairs()
    words = ("-s", "sample-20260101", "-m", "opposed", "--subset", "0.4", "--seed", "2", "--max-tokens", "9")
    [evaluate, *options] = run(*words).output.splitlines()[-1].removeprefix("Run: valbench ").split()
    command = main.get_command(Context(main), evaluate)
    assert command is not None
    known = {name for option in command.params for name in option.opts}
    assert {option for option in options if option.startswith("--")} <= known


def test_a_subset_may_be_named_by_its_share_or_its_seed_alone(home: Path) -> None:
    publish_pairs()
    assert "subset 0.4/seed-0" in run("-s", "sample-20260101", "-m", "opposed", "--subset", "0.4").output
    assert "subset all" in run("-s", "sample-20260101", "-m", "opposed", "--seed", "4").output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("-s", "sample-20260101"), 2, "name a model by --model, or plan the dataset alone by --dataset"),
        (("-s", "sample-20260101", "-m", "opposed"), 1, "there are no sections of sample-20260101 yet"),
        (("-s", "sample-20260101", "-m", "alined"), 1, "the roster has no model 'alined'"),
        (("-s", "sample-20260101", "-m", "opposed", "-j", "x"), 1, "the roster has no judge 'x'; it has: stand-in-"),
        (("-s", "sample-20260101", "-m", "opposed", "--subset", "0"), 2, "0.0 is not in the range 0<x<=1"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence(home: Path, words: tuple[str, ...], code: int, said: str) -> None:
    result = run(*words)
    assert result.exit_code == code
    assert said in result.output
    assert not home.exists()
