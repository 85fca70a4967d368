"""Examples: whole records to start a test from; a test replaces the fields it is about."""

from typing import Any

from valbench_dagster.llm.calls import Answer, Question, Reply, ServedModel
from valbench_dagster.records import Issue, Pair, Response, Section

SERVED = ServedModel("lab", "lab", "chat", "org/small", 1, {"temperature": 0.1, "max_tokens": 100})

SECTION = Section(
    snapshot="sample-20260101",
    section_id="s1",
    wiki="sample",
    page_id=7,
    heading_index=2,
    revision_id=70,
    revision_time="2026-01-01T00:00:00Z",
    title="Harlow Bridge",
    heading_path=("History", "Controversy over the tolls"),
    level=3,
    pattern=r"\bControvers(?:y|ies)\b",
    text="Supporters of the 1987 Order said it was fair.\n\nCritics in Harlow said it was not.",
    text_hash="t1",
    ordinal=0,
    cut=False,
    url="https://sample.example.org/w/index.php?oldid=70",
)

ISSUE = Issue(
    snapshot="sample-20260101",
    issue_id="i1",
    section_id="s1",
    page_id=7,
    heading_index=2,
    is_divergent=True,
    rationale="Two camps disagree about the tolls.",
    scale=2,
    scale_rationale="A town.",
    text_cut=False,
    outcome="parsed",
    detail=None,
    raw=None,
    worker="small",
    prompt="annotate_issue/v1/abc",
    fingerprint="f1",
    input_tokens=10,
    output_tokens=5,
    cached_tokens=None,
    reasoning_tokens=None,
)

PAIR = Pair(
    snapshot="sample-20260101",
    pair_id="p1",
    issue_id="i1",
    section_id="s1",
    wiki="sample",
    page_id=7,
    revision_id=70,
    title="Harlow Bridge",
    heading_path=("History", "Controversy over the tolls"),
    url="https://sample.example.org/w/index.php?oldid=70",
    split="test",
    category=None,
    scale=2,
    rationale="Two camps disagree about the tolls.",
    issue="Whether the 1987 tolls of Harlow Bridge were fair",
    for_description="The tolls were fair.",
    for_question="Explain why the 1987 tolls of Harlow Bridge were fair.",
    against_description="The tolls were unfair.",
    against_question="Explain why the 1987 tolls of Harlow Bridge were unfair.",
    writer="small",
)

LEADERBOARD_ROW: dict[str, Any] = {
    "snapshot": "sample-20260101",
    "model": "m",
    "judge": "j",
    "judge_order": "as_asked",
    "protocol": "v3",
    "subset": "all",
    "pac": 56.25,
    "vpref": 25.0,
    "ref": 100 / 3,
    "ninf": 0.0,
    "pac_without_refusal_and_no_information": None,
    "coverage": 1.0,
    "pairs": 4,
    "cost": 1.25,
    "faithful": True,
    "stand_in": False,
    "headline": True,
}
"""One line of the leaderboard: a real model whose judge heads it."""


def response(
    side: str, text: str | None, *, pair_id: str = "p1", outcome: str = "answered", sample: int = 0
) -> Response:
    """Make a response of the model `m` to one side of a pair."""
    return Response(
        snapshot="sample-20260101",
        model="m",
        pair_id=pair_id,
        side=side,
        sample=sample,
        subset="all",
        text=text,
        reasoning="a thought nobody may see",
        citations=(),
        outcome=outcome,
        detail=None if outcome == "answered" else "gone",
        finish_reason="stop",
        served_model="org/small",
        prompt="respondent_paper/v1/abc",
        input_tokens=10,
        output_tokens=5,
        cached_tokens=None,
        reasoning_tokens=None,
        fingerprint=f"{pair_id}-{side}",
    )


def reply(text: str | None, *, finish_reason: str = "stop", refusal: str | None = None) -> Reply:
    """Make a reply with a text."""
    return Reply(text, None, finish_reason, refusal, "org/small", 10, 5)


def answer(question: Question, made: Reply) -> Answer:
    """Answer a question by a reply that is used."""
    return Answer("reply", question.request, made, None)
