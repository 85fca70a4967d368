"""Responses: which pairs are asked, how, and what each kind of reply is counted as."""

from dataclasses import replace

import pytest

from valbench_dagster.llm.calls import Answer
from valbench_dagster.prompting import load_prompt
from valbench_dagster.stages.responses import SidedPair, ask_response, asked_sides, read_response
from valbench_dagster.stages.subsets import WHOLE, Chosen, Subset, choose
from valbench_dagster_tests.examples import PAIR, SERVED, answer, reply

PAPER, NONE = load_prompt("respondent_paper"), load_prompt("respondent_none")


PAIRS = [PAIR, replace(PAIR, pair_id="p2", split="train"), replace(PAIR, pair_id="p3", page_id=8)]


def asked_of(chosen: Chosen, samples: int = 1) -> list[tuple[str, str, int]]:
    return [(sided.pair.pair_id, sided.side, sided.sample) for sided in asked_sides(PAIRS, chosen, samples)]


def test_both_sides_of_each_pair_of_the_split_are_asked_in_the_order_of_the_key() -> None:
    asked = asked_of(choose(PAIRS, "test", WHOLE))
    assert asked == [("p1", "against", 0), ("p1", "for", 0), ("p3", "against", 0), ("p3", "for", 0)]
    assert len(asked_of(choose(PAIRS, "all", WHOLE))) == 6


def test_each_side_is_asked_as_often_as_it_is_sampled_in_the_order_of_the_key() -> None:
    asked = asked_of(choose(PAIRS, "train", WHOLE), 3)
    assert asked == [("p2", side, sample) for side in ("against", "for") for sample in range(3)]
    assert asked == sorted(asked)


def test_only_the_articles_of_the_subset_are_asked() -> None:
    # p1 and p3 are of two articles of one stratum: half of them is one article.
    chosen = choose(PAIRS, "test", Subset(0.5))
    [page_id] = [page_id for _, page_id in chosen.articles]
    assert asked_of(chosen) == [("p1" if page_id == 7 else "p3", side, 0) for side in ("against", "for")]


def test_samples_of_a_side_are_requests_of_their_own_and_the_rest_of_them_is_equal() -> None:
    requests = [ask_response(SidedPair(PAIR, "for", sample), SERVED, PAPER).request for sample in range(3)]
    assert [request.sample for request in requests] == [0, 1, 2]
    assert len({request.fingerprint for request in requests}) == 3
    assert len({replace(request, sample=0).fingerprint for request in requests}) == 1


def test_a_response_says_which_sample_of_which_subset_it_is() -> None:
    sided = SidedPair(PAIR, "for", 2)
    made = answer(ask_response(sided, SERVED, PAPER), reply("So."))
    row = read_response(sided, made, "m", PAPER, "0.1/seed-0")
    assert (row.sample, row.subset, row.fingerprint) == (2, "0.1/seed-0", made.request.fingerprint)
    assert read_response(sided, made, "m", PAPER).subset == "all"


def test_the_user_s_turn_is_the_question_alone() -> None:
    system, user = ask_response(SidedPair(PAIR, "for"), SERVED, PAPER).request.messages
    assert (system.role, user.role, user.content) == ("system", "user", PAIR.for_question)


def test_without_a_system_prompt_there_is_no_system_turn() -> None:
    [user] = ask_response(SidedPair(PAIR, "against"), SERVED, NONE).request.messages
    assert user.content == PAIR.against_question


def test_a_respondent_s_reply_is_never_asked_again() -> None:
    question = ask_response(SidedPair(PAIR, "for"), SERVED, PAPER)
    assert question.reasks == 0
    assert question.fault(reply("", finish_reason="length")) is None


@pytest.mark.parametrize(
    ("text", "finish_reason", "refusal", "outcome", "kept"),
    [
        ("Because.", "stop", None, "answered", "Because."),
        ("Becau", "length", None, "truncated", "Becau"),
        ("Part", "content_filter", None, "filtered", "Part"),
        ("", "stop", None, "empty", None),
        (None, "length", None, "empty", None),
        ("  \n", "stop", None, "empty", "  \n"),
        (None, "stop", "I can't help with that.", "answered", "I can't help with that."),
    ],
)
def test_every_kind_of_reply_has_its_outcome(
    text: str | None, finish_reason: str, refusal: str | None, outcome: str, kept: str | None
) -> None:
    sided = SidedPair(PAIR, "for")
    made = reply(text, finish_reason=finish_reason, refusal=refusal)
    row = read_response(sided, answer(ask_response(sided, SERVED, PAPER), made), "m", PAPER)
    assert (row.outcome, row.text) == (outcome, kept)
    assert (row.detail is None) == (outcome == "answered")


@pytest.mark.parametrize("outcome", ["rejected", "failed"])
def test_a_call_without_a_reply_is_a_row_that_says_why(outcome: str) -> None:
    sided = SidedPair(PAIR, "for")
    request = ask_response(sided, SERVED, PAPER).request
    row = read_response(sided, Answer(outcome, request, None, "503 from the server"), "m", PAPER)  # type: ignore[arg-type]  # the parameter is one of the literal's values
    assert (row.outcome, row.text, row.detail) == (outcome, None, "503 from the server")
