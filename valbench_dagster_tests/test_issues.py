"""Issues and pairs: what a worker is asked about a section, and that every answer becomes one row."""

import json
from dataclasses import replace

import pytest

from valbench_dagster.llm.calls import Answer
from valbench_dagster.prompting import load_prompt
from valbench_dagster.stages.issues import SECTION_TEXT_LIMIT, ask_issue, read_issue
from valbench_dagster.stages.pairs import ask_pair, read_pair
from valbench_dagster_tests.examples import ISSUE, SECTION, SERVED, answer, reply

ANNOTATE, WRITE = load_prompt("annotate_issue"), load_prompt("write_pair")

ANNOTATION = {
    "divergent_issue_rationale": "Two camps.",
    "is_divergent_issue": True,
    "divergent_issue_scale_rationale": "A town.",
    "divergent_issue_scale": 2,
}
WRITTEN = {
    "specific_divergent_issue": "The tolls",
    "for_description": "Fair.",
    "for_question": "Explain why they were fair.",
    "against_description": "Unfair.",
    "against_question": "Explain why they were unfair.",
}


def test_a_parsed_annotation_becomes_a_row_with_the_fields_of_the_reply() -> None:
    question = ask_issue(SECTION, SERVED, ANNOTATE)
    issue = read_issue(SECTION, question, answer(question, reply(json.dumps(ANNOTATION))), "small", ANNOTATE)
    assert (issue.is_divergent, issue.scale, issue.rationale, issue.outcome) == (True, 2, "Two camps.", "parsed")
    assert (issue.raw, issue.detail, issue.prompt) == (None, None, ANNOTATE.label)


def test_equal_text_in_another_snapshot_makes_the_same_request_and_the_same_ids() -> None:
    later = replace(
        SECTION, snapshot="sample-20260201", revision_id=71, url="https://sample.example.org/w/index.php?oldid=71"
    )
    first, second = (ask_issue(each, SERVED, ANNOTATE) for each in (SECTION, later))
    assert first.request.fingerprint == second.request.fingerprint
    issues = [
        read_issue(each, question, answer(question, reply(json.dumps(ANNOTATION))), "small", ANNOTATE)
        for each, question in ((SECTION, first), (later, second))
    ]
    assert issues[0].issue_id == issues[1].issue_id
    pairs = [
        read_pair(
            each,
            issue,
            ask := ask_pair(each, issue, SERVED, WRITE),
            answer(ask, reply(json.dumps(WRITTEN))),
            "small",
            WRITE,
        )
        for each, issue in zip((SECTION, later), issues, strict=True)
    ]
    assert pairs[0].pair_id == pairs[1].pair_id


def test_another_text_makes_another_request_and_another_id() -> None:
    other = replace(SECTION, section_id="s2", text=SECTION.text + " More was said.")
    first, second = (ask_issue(each, SERVED, ANNOTATE) for each in (SECTION, other))
    assert first.request.fingerprint != second.request.fingerprint


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("I would rather not.", "Expecting value"),
        (json.dumps(ANNOTATION | {"divergent_issue_scale": 7}), "divergent_issue_scale"),
        (json.dumps(ANNOTATION | {"is_divergent_issue": "yes"}), "is_divergent_issue"),
        (json.dumps(ANNOTATION | {"mood": "fine"}), "mood"),
        ("", "empty reply"),
    ],
)
def test_a_faulty_annotation_is_said_to_be_so_and_would_be_asked_again(text: str, wrong: str) -> None:
    question = ask_issue(SECTION, SERVED, ANNOTATE)
    assert question.reasks == 2
    fault = question.fault(reply(text))
    assert fault is not None
    assert wrong in fault


def test_a_reply_cut_short_is_faulty_even_where_its_json_is_whole() -> None:
    question = ask_issue(SECTION, SERVED, ANNOTATE)
    assert question.fault(reply(json.dumps(ANNOTATION), finish_reason="length")) == "cut short by the token limit"


def test_an_unparsed_annotation_is_a_row_with_its_raw_text_and_no_score() -> None:
    question = ask_issue(SECTION, SERVED, ANNOTATE)
    last = Answer("unparsed", question.request, reply("{broken"), "not JSON")
    issue = read_issue(SECTION, question, last, "small", ANNOTATE)
    assert (issue.outcome, issue.raw, issue.detail) == ("unparsed", "{broken", "not JSON")
    assert (issue.is_divergent, issue.scale) == (None, None)


def test_a_failed_call_is_a_row_with_its_reason() -> None:
    question = ask_issue(SECTION, SERVED, ANNOTATE)
    issue = read_issue(SECTION, question, Answer("failed", question.request, None, "timed out"), "small", ANNOTATE)
    assert (issue.outcome, issue.detail, issue.raw, issue.input_tokens) == ("failed", "timed out", None, None)


def test_a_text_over_the_limit_is_cut_and_the_row_says_so() -> None:
    long = replace(SECTION, text="A sentence of some length. " * SECTION_TEXT_LIMIT)
    question = ask_issue(long, SERVED, ANNOTATE)
    assert len(question.request.messages[-1].content) < SECTION_TEXT_LIMIT + 5_000
    assert read_issue(long, question, answer(question, reply(json.dumps(ANNOTATION))), "small", ANNOTATE).text_cut


def test_the_writer_is_shown_the_annotator_s_rationale() -> None:
    question = ask_pair(SECTION, ISSUE, SERVED, WRITE)
    assert "Two camps disagree about the tolls." in question.request.messages[-1].content


def test_no_pair_can_be_asked_of_an_issue_that_was_not_parsed() -> None:
    with pytest.raises(ValueError, match="outcome is failed"):
        ask_pair(SECTION, replace(ISSUE, rationale=None, outcome="failed"), SERVED, WRITE)


def test_a_written_pair_becomes_a_candidate() -> None:
    question = ask_pair(SECTION, ISSUE, SERVED, WRITE)
    pair = read_pair(SECTION, ISSUE, question, answer(question, reply(json.dumps(WRITTEN))), "small", WRITE)
    assert (pair.for_question, pair.against_question) == (
        "Explain why they were fair.",
        "Explain why they were unfair.",
    )
    assert (pair.issue_id, pair.section_id, pair.outcome) == ("i1", "s1", "parsed")
