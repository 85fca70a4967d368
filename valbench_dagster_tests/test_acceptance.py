"""Acceptance: every issue ends as one pair or one drop with one reason."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.identity import split_of
from valbench_dagster.records import CandidatePair, Issue, Pair, Section
from valbench_dagster.stages.acceptance import accept, is_kept
from valbench_dagster_tests.examples import ISSUE, PAIR, SECTION

CANDIDATE = CandidatePair(
    snapshot="sample-20260101",
    pair_id="p1",
    issue_id="i1",
    section_id="s1",
    page_id=7,
    heading_index=2,
    issue=PAIR.issue,
    for_description=PAIR.for_description,
    for_question=PAIR.for_question,
    against_description=PAIR.against_description,
    against_question=PAIR.against_question,
    text_cut=False,
    outcome="parsed",
    detail=None,
    raw=None,
    worker="small",
    prompt="write_pair/v1/abc",
    fingerprint="f2",
    input_tokens=10,
    output_tokens=5,
    cached_tokens=None,
    reasoning_tokens=None,
)


def no_check(pairs: Sequence[Pair]) -> Mapping[str, tuple[str, str]]:
    """Let every pair pass."""
    return {}


class Failing:
    """Checks that fail the pairs of these ids; remembers what it was asked about."""

    def __init__(self, *pair_ids: str) -> None:
        self.pair_ids = pair_ids
        self.asked: list[str] = []

    def __call__(self, pairs: Sequence[Pair]) -> Mapping[str, tuple[str, str]]:
        self.asked = [pair.pair_id for pair in pairs]
        return {pair_id: ("loaded_words", f"said of {pair_id}") for pair_id in self.pair_ids}


def _issue(outcome: str, divergent: bool | None = None, scale: int | None = None) -> Issue:
    return replace(ISSUE, outcome=outcome, is_divergent=divergent, scale=scale, detail="what the call said")


def test_a_good_candidate_becomes_a_pair_with_everything_joined() -> None:
    accepted, drops = accept([CANDIDATE], {"i1": ISSUE}, {"s1": SECTION}, no_check)
    # PAIR is made of the same examples; only the split follows from the article.
    assert accepted == [replace(PAIR, split=split_of("sample", 7))]
    assert drops == []


@pytest.mark.parametrize(
    ("divergent", "scale", "kept"),
    [(True, 1, True), (True, 5, True), (True, 0, False), (False, 0, False), (False, 3, False), (True, None, False)],
)
def test_an_issue_is_kept_when_it_is_divergent_and_on_the_scale(divergent: bool, scale: int | None, kept: bool) -> None:
    assert is_kept(_issue("parsed", divergent, scale)) is kept


@pytest.mark.parametrize(
    ("issue", "reason", "detail"),
    [
        (_issue("parsed", False, 0), "not_divergent", "not divergent, scale 0"),
        (_issue("parsed", True, 0), "not_divergent", "divergent, scale 0"),
        (_issue("parsed", False, 2), "not_divergent", "not divergent, scale 2"),
        (_issue("unparsed"), "issue_unparsed", "what the call said"),
        (_issue("rejected"), "issue_rejected", "what the call said"),
        (_issue("failed"), "issue_failed", "what the call said"),
    ],
)
def test_an_issue_without_a_candidate_is_dropped_with_its_reason(issue: Issue, reason: str, detail: str) -> None:
    accepted, [drop] = accept([], {"i1": issue}, {"s1": SECTION}, no_check)
    assert accepted == []
    assert (drop.issue_id, drop.section_id, drop.pair_id) == ("i1", "s1", None)
    assert (drop.reason, drop.detail) == (reason, detail)


@pytest.mark.parametrize("outcome", ["unparsed", "rejected", "failed"])
def test_a_candidate_without_a_usable_reply_is_dropped_under_its_outcome(outcome: str) -> None:
    candidate = replace(CANDIDATE, outcome=outcome, for_question=None, detail="no JSON")
    accepted, [drop] = accept([candidate], {"i1": ISSUE}, {"s1": SECTION}, no_check)
    assert accepted == []
    assert (drop.pair_id, drop.reason, drop.detail) == ("p1", f"pair_{outcome}", "no JSON")


def test_a_pair_that_fails_a_check_is_dropped_under_the_check() -> None:
    accepted, [drop] = accept([CANDIDATE], {"i1": ISSUE}, {"s1": SECTION}, Failing("p1"))
    assert accepted == []
    assert (drop.pair_id, drop.reason, drop.detail) == ("p1", "loaded_words", "said of p1")


def test_pairs_are_sorted_by_id_and_drops_by_page_and_heading() -> None:
    # ids descend while pages ascend, so that one order cannot be taken for the other
    places = [(1, 9), (2, 1), (2, 3), (10, 2)]
    issues, sections, candidates = {}, {}, []
    for number, (page, heading) in enumerate(places):
        place: dict[str, Any] = {"page_id": page, "heading_index": heading, "section_id": f"s{number}"}
        sections[f"s{number}"] = replace(SECTION, **place)
        issues[f"i{number}"] = replace(ISSUE, issue_id=f"i{number}", **place)
        candidates.append(replace(CANDIDATE, issue_id=f"i{number}", pair_id=f"p{9 - number}", **place))
    accepted, _ = accept(candidates, issues, sections, no_check)
    assert [pair.pair_id for pair in accepted] == ["p6", "p7", "p8", "p9"]
    checks = Failing("p6", "p7", "p8", "p9")
    _, drops = accept(candidates, dict(reversed(issues.items())), sections, checks)
    assert [(drop.page_id, drop.heading_index) for drop in drops] == places
    assert checks.asked == ["p6", "p7", "p8", "p9"]


@pytest.mark.parametrize(
    ("candidates", "issues", "sections", "complaint"),
    [
        ([], {"i1": ISSUE}, {"s1": SECTION}, "issue i1 was kept and has no candidate"),
        ([CANDIDATE, CANDIDATE], {"i1": ISSUE}, {"s1": SECTION}, "issue i1 has 2 candidates"),
        ([CANDIDATE], {}, {}, "candidate p1 is of no issue that was kept (i1)"),
        ([CANDIDATE], {"i1": _issue("parsed", False, 0)}, {"s1": SECTION}, "candidate p1 is of no issue that was kept"),
        ([CANDIDATE], {"i1": ISSUE}, {}, "issue i1 is of section s1, which is not there"),
        ([replace(CANDIDATE, issue=None)], {"i1": ISSUE}, {"s1": SECTION}, "pair p1 counts as parsed and has no issue"),
    ],
)
def test_facts_of_different_runs_are_refused(
    candidates: list[CandidatePair], issues: dict[str, Issue], sections: dict[str, Section], complaint: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        accept(candidates, issues, sections, no_check)


def test_a_check_that_names_no_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match="check loaded_words names p2, which is the id of no candidate pair"):
        accept([CANDIDATE], {"i1": ISSUE}, {"s1": SECTION}, Failing("p2"))


_ENDS = st.sampled_from(
    [
        *(("parsed", True, 3, outcome) for outcome in ("parsed", "parsed", "unparsed", "rejected", "failed")),
        *(("parsed", *answer, None) for answer in ((True, 0), (False, 0), (False, 4))),
        *((outcome, None, None, None) for outcome in ("unparsed", "rejected", "failed")),
    ]
)


@given(st.lists(st.tuples(_ENDS, st.booleans()), max_size=30))
def test_every_issue_ends_exactly_once(
    ends: list[tuple[tuple[str, bool | None, int | None, str | None], bool]],
) -> None:
    issues, sections, candidates, failing = {}, {}, [], []
    for number, ((outcome, divergent, scale, written), fails) in enumerate(ends):
        place: dict[str, Any] = {"page_id": number // 2, "heading_index": number % 2, "section_id": f"s{number}"}
        sections[f"s{number}"] = replace(SECTION, **place)
        issues[f"i{number}"] = replace(_issue(outcome, divergent, scale), issue_id=f"i{number}", **place)
        if written:
            # the ids of every third pair are equal to those of its neighbour
            pair_id = f"p{number - (number % 3 == 2)}"
            candidates.append(replace(CANDIDATE, issue_id=f"i{number}", pair_id=pair_id, outcome=written, **place))
            if fails and written == "parsed":
                failing.append(pair_id)
    accepted, drops = accept(candidates, issues, sections, Failing(*failing))
    ended = [pair.issue_id for pair in accepted] + [drop.issue_id for drop in drops]
    assert sorted(ended) == sorted(issues)
    assert {pair.pair_id for pair in accepted}.isdisjoint(failing)
    assert len({(drop.page_id, drop.heading_index) for drop in drops}) == len(drops)
