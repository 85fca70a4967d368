"""A real server, llama.cpp's, with a tiny random model: the chain from sections to the leaderboard, and what it does
with requests that are wrong.

The annotator and the judges are held to their prompts' JSON schemas by the server, the writer to the form of a pair by
a grammar of the roster's (a random model would never begin with "Explain why"), the respondents speak freely, by each
of the three API kinds. What they say is noise: here is asserted that all of it is accounted for, never what it is.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.openai.transport import OpenAITransport
from valbench_dagster.llm.calls import Answer, Message, Question, Request, ServedModel, Structured
from valbench_dagster.llm.dispatcher import EndpointRefused, ask_missing
from valbench_dagster.llm.endpoint import EndpointSettings
from valbench_dagster.llm.retry import RetryRules
from valbench_dagster.llm.settle import answers
from valbench_dagster.llm.structured import fault_against, read_structured
from valbench_dagster.prompting import load_prompt
from valbench_dagster.records import CandidatePair, Issue, Pair, Response, Section, Verdict
from valbench_dagster.settings import read_settings
from valbench_dagster.stages.verdicts import VerdictV3
from valbench_dagster.steps.evaluation import publish_responses, publish_verdicts
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster.steps.reporting import read_report
from valbench_dagster_tests.chain import SNAPSHOT, build, make_dataset, unwatched
from valbench_dagster_tests.real_server import ABSENT, SLOTS, real_server
from valbench_dagster_tests.tiny_model import CONTEXT, NAME

pytestmark = [pytest.mark.slow, pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))]

KINDS = ("chat", "responses", "completions")
TEMPLATE = "{system} Q: {question} A:"


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_server(tmp_path_factory.mktemp("real-server")) as url:
        yield url


# --- the whole chain -------------------------------------------------------------------------------------------------

# What the writer may say: the object of its prompt, in words of four to nine letters. Both questions name one place.
GRAMMAR = r"""
root ::= "{" issue "," for "," askfor "," against "," askagainst "}"
issue ::= "\"specific_divergent_issue\":\"Whether " text "\""
for ::= "\"for_description\":\"It holds that " text ".\""
askfor ::= "\"for_question\":\"Explain why in Harlow " text ".\""
against ::= "\"against_description\":\"It holds that " text ".\""
askagainst ::= "\"against_question\":\"Explain why in Harlow " text ".\""
text ::= word (" " word){4,8}
word ::= [a-z]{4,9}
"""

WORKER = f'model = "{NAME}"\ntemperature = 1.0\nseed = 1\nmax_tokens = 1024\n'


def roster_text(base_url: str) -> str:
    """Give a roster whose every model is the tiny one, by every API kind."""
    endpoints = "".join(
        f'[endpoint.{api}]\nbase_url = "{base_url}"\nprovider = "llama"\napi = "{api}"\nconcurrency = {SLOTS}\n\n'
        for api in KINDS
    )
    # OpenAI's Responses know no seed, and the roster refuses one there by name; this server obeys one all the same.
    own = {
        "chat": "seed = 7\nmax_tokens = 96\n",
        "responses": "extra_body = { seed = 7 }\nmax_output_tokens = 96\n",
        "completions": f'seed = 7\nmax_tokens = 96\ntemplate = "{TEMPLATE}"\n',
    }
    models = "".join(
        f'[[model]]\nid = "by-{api}"\nfamily = "tiny"\nendpoint = "{api}"\nmodel = "{NAME}"\nsystem_prompt = "paper"\n'
        f"temperature = 1.0\n{own[api]}\n"
        for api in KINDS
    )
    return f"""[defaults]
split = "all"
annotator = "annotator"
writer = "writer"
judges = ["v3", "released"]

{endpoints}
[worker.annotator]
endpoint = "chat"
{WORKER}
[worker.writer]
endpoint = "chat"
structured = "prompt"
{WORKER}
[worker.writer.extra_body]
grammar = '''{GRAMMAR}'''

[worker.judge]
endpoint = "chat"
{WORKER}
[judge.v3]
worker = "judge"
prompt = "judge_v3"

[judge.released]
worker = "judge"
prompt = "judge_released"
orders = ["swapped"]

{models}"""


@pytest.fixture(scope="module")
def evaluated(base_url: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with every table, made of what the real server said."""
    base = tmp_path_factory.mktemp("real-chain")
    roster = base / "roster.toml"
    roster.write_text(roster_text(base_url), encoding="utf-8")
    project = open_project(read_settings({"VALBENCH_HOME": str(base / "home"), "VALBENCH_ROSTER": str(roster)}))
    make_dataset(project)
    for api in KINDS:
        publish_responses(project, SNAPSHOT, f"by-{api}", "run", unwatched)
        publish_verdicts(project, SNAPSHOT, f"by-{api}", "v3", "run", unwatched)
    publish_verdicts(project, SNAPSHOT, "by-chat", "released", "run", unwatched)
    build(project)
    return project


def called(project: Project) -> list[tuple[str, str, str | None, str | None]]:
    """Give endpoint, kind, schema mode and served model of every call in the ledger."""
    with closing(sqlite3.connect(project.settings.home / "ledger.sqlite")) as ledger:
        return list(ledger.execute("SELECT endpoint, kind, schema_mode, served_model FROM calls"))


def test_every_section_has_an_annotation_and_every_kept_issue_a_pair_or_a_reason(evaluated: Project) -> None:
    facts = evaluated.facts
    issues = list(facts.rows(Issue, SNAPSHOT))
    assert len(issues) == len(list(facts.rows(Section, SNAPSHOT))) > 0
    assert {issue.outcome for issue in issues} <= {"parsed", "unparsed"}
    parsed = [issue for issue in issues if issue.outcome == "parsed"]
    # Random text is empty now and then, which no annotation may be, three times in a row.
    assert 2 * len(parsed) > len(issues)
    candidates = list(facts.rows(CandidatePair, SNAPSHOT))
    assert {candidate.outcome for candidate in candidates} == {"parsed"}
    # The grammar gives what the pair checks want, but for a loaded word by chance.
    assert len(candidates) - 1 <= len(list(facts.rows(Pair, SNAPSHOT))) <= len(candidates)
    assert len(candidates) > 1


@pytest.mark.parametrize("api", KINDS)
def test_every_side_of_every_pair_has_a_response_by_each_api_kind(evaluated: Project, api: str) -> None:
    pairs = {pair.pair_id for pair in evaluated.facts.rows(Pair, SNAPSHOT)}
    responses = list(evaluated.facts.rows(Response, f"{SNAPSHOT}/by-{api}"))
    assert Counter(response.pair_id for response in responses) == dict.fromkeys(pairs, 2)
    assert {response.outcome for response in responses} <= {"answered", "truncated", "empty"}
    for response in responses:
        assert response.served_model == NAME
        assert (response.outcome == "truncated") == (response.finish_reason == "length")
        assert response.input_tokens is not None
        assert response.input_tokens > 0
        assert response.output_tokens is not None
        assert response.output_tokens <= 96


@pytest.mark.parametrize(("model", "judge"), [*((f"by-{api}", "v3") for api in KINDS), ("by-chat", "released")])
def test_every_pair_has_a_verdict_within_the_schema_or_the_reason_why_not(
    evaluated: Project, model: str, judge: str
) -> None:
    pairs = {pair.pair_id for pair in evaluated.facts.rows(Pair, SNAPSHOT)}
    verdicts = list(evaluated.facts.rows(Verdict, f"{SNAPSHOT}/{model}/{judge}"))
    assert sorted(verdict.pair_id for verdict in verdicts) == sorted(pairs)
    assert {verdict.outcome for verdict in verdicts} <= {"parsed", "unparsed", "no_response"}
    for verdict in verdicts:
        assert (verdict.outcome == "parsed") == (verdict.detail is None) == (verdict.alignment is not None)
        assert verdict.alignment in (None, -2, -1, 0, 1, 2)
    assert any(verdict.outcome == "parsed" for verdict in verdicts)


def test_the_ledger_says_how_each_reply_was_held_to_its_schema(evaluated: Project) -> None:
    calls = called(evaluated)
    assert {(kind, model) for _, kind, _, model in calls} == {("reply", NAME)}
    assert {mode for endpoint, _, mode, _ in calls if endpoint != "chat"} == {None}
    # Annotator and judges by the server's schema, the writer by its own grammar, the respondent by nothing.
    assert {mode for endpoint, _, mode, _ in calls if endpoint == "chat"} == {"json_schema", "prompt", None}


def test_the_leaderboard_has_a_line_of_each_model_with_its_coverage(evaluated: Project) -> None:
    lines = read_report(evaluated, "leaderboard")
    found = {(line["model"], line["judge"], line["protocol"]) for line in lines.iter_rows(named=True)}
    assert {(f"by-{api}", "v3", "v3") for api in KINDS} | {("by-chat", "released", "released")} <= found
    assert lines["coverage"].is_between(0.0, 1.0).all()
    assert (lines["coverage"] > 0).all()
    assert not lines["stand_in"].any()
    scored = lines.filter(pl.col("pac").is_not_null())
    assert scored["pac"].is_between(0.0, 100.0).all()


def test_a_second_evaluation_asks_nothing(evaluated: Project) -> None:
    before = len(called(evaluated))
    assert not publish_responses(evaluated, SNAPSHOT, "by-chat", "again", unwatched).fresh
    assert not publish_verdicts(evaluated, SNAPSHOT, "by-chat", "v3", "again", unwatched).fresh
    assert len(called(evaluated)) == before


# --- one request at a time -------------------------------------------------------------------------------------------

JUDGE = load_prompt("judge_v3")


def served(
    api: str = "chat", *, model: str = NAME, seed: int = 1, structured: Structured = "auto", max_tokens: int = 64
) -> ServedModel:
    """Give the tiny model as it is served by an API kind."""
    limit = "max_output_tokens" if api == "responses" else "max_tokens"
    settings = {"temperature": 1.0, "seed": seed, limit: max_tokens}
    template = TEMPLATE if api == "completions" else None
    return ServedModel("llama", "llama", api, model, 1, settings, template=template, structured=structured)


def said(text: str) -> tuple[Message, ...]:
    """Give the messages that say `text`."""
    return (Message("system", "Say something."), Message("user", text))


def ask(base_url: str, folder: Path, questions: Sequence[Question]) -> list[Answer]:
    """Ask the real server, with the rules of a run and a ledger in `folder`; give what became of each question."""

    async def asked(ledger: SqlLedger) -> None:
        async with OpenAITransport(EndpointSettings("llama", base_url, concurrency=SLOTS)) as transport:
            await ask_missing(questions, ledger, {"llama": transport}, RetryRules(), "run", unwatched)

    ledger = SqlLedger(f"sqlite:///{folder / 'ledger.sqlite'}")
    try:
        asyncio.run(asked(ledger))
        return list(answers(questions, ledger))
    finally:
        ledger.close()


def stored(folder: Path) -> list[tuple[Any, ...]]:
    """Give kind, schema mode and message of every call that the ledger in `folder` holds."""
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger:
        return ledger.execute("SELECT kind, schema_mode, message FROM calls").fetchall()


@pytest.mark.parametrize("api", KINDS)
def test_a_seed_gives_the_same_words_again_and_another_seed_others(base_url: str, tmp_path: Path, api: str) -> None:
    texts = []
    for number, seed in enumerate((5, 5, 6)):
        folder = tmp_path / str(number)
        folder.mkdir()
        [answer] = ask(base_url, folder, [Question(Request(served(api, seed=seed), said("Hello.")))])
        assert answer.reply is not None
        texts.append(answer.reply.text)
    assert texts[0] == texts[1] != texts[2]


def verdicts_asked(api: str) -> list[Question]:
    """Give questions whose replies are to be verdicts; one is asked again where the limit cuts its reply short."""
    model = served(api, max_tokens=1024)
    return [
        Question(Request(model, said(f"Pair {number}."), JUDGE.name, JUDGE.schema), fault_against(VerdictV3), 2)
        for number in range(4)
    ]


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_the_server_holds_a_verdict_to_its_schema(base_url: str, tmp_path: Path, api: str) -> None:
    for answer in ask(base_url, tmp_path, verdicts_asked(api)):
        assert answer.outcome == "reply", answer.detail
        assert answer.reply is not None
        assert -2 <= read_structured(VerdictV3, answer.reply).alignment_score <= 2
    assert {mode for _, mode, _ in stored(tmp_path)} == {"json_schema"}


def test_a_schema_that_the_server_ignores_without_a_word_is_found_out(base_url: str, tmp_path: Path) -> None:
    # llama.cpp takes the Responses' `text.format` and heeds nothing of it: prose comes, status 200. From the first
    # reply on the prompt asks for JSON, which a random model writes no better: all of it is unparsed, and says so.
    for answer in ask(base_url, tmp_path, verdicts_asked("responses")):
        assert answer.outcome == "unparsed"
        assert answer.detail
    assert {mode for _, mode, _ in stored(tmp_path)} == {"json_schema", "prompt"}


@pytest.mark.parametrize("api", KINDS)
def test_a_model_that_the_server_does_not_have_stops_the_run_at_once(base_url: str, tmp_path: Path, api: str) -> None:
    # llama.cpp answers for any name, by the one model it has; only the name in its reply tells.
    questions = [Question(Request(served(api, model="org/large"), said(f"Question {number}."))) for number in range(50)]
    with pytest.raises(EndpointRefused, match="llama") as refused:
        ask(base_url, tmp_path, questions)
    assert "org/large" in str(refused.value)
    assert NAME in str(refused.value)
    assert base_url not in str(refused.value)
    assert all(kind != "reply" for kind, _, _ in stored(tmp_path))
    assert len(stored(tmp_path)) <= SLOTS


def test_a_prompt_that_is_too_long_is_a_rejected_row_among_replies(base_url: str, tmp_path: Path) -> None:
    texts = ["Hello.", "word " * CONTEXT, "Good day."]
    found = ask(base_url, tmp_path, [Question(Request(served(), said(text))) for text in texts])
    assert [answer.outcome for answer in found] == ["reply", "rejected", "reply"]
    assert "exceeds the available context size" in str(found[1].detail)


def test_a_schema_that_the_server_cannot_read_is_a_rejected_row_with_its_message(base_url: str, tmp_path: Path) -> None:
    nonsense = {"type": "object", "properties": {"score": {"type": "nonsense"}}, "required": ["score"]}
    request = Request(served(structured="json_schema"), said("Hello."), "nonsense", nonsense)
    [answer] = ask(base_url, tmp_path, [Question(request)])
    assert answer.outcome == "rejected"
    assert "nonsense" in str(answer.detail)
