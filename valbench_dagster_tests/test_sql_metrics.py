"""The numbers of `sql/` are those of the paper: known values by hand, and a second implementation in plain Python."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.adapters.warehouse.connection import rows
from valbench_dagster.records import CallCost, Judge, Pair, Response, Verdict
from valbench_dagster_tests.examples import PAIR
from valbench_dagster_tests.judged_pairs import (
    JUDGES,
    MODEL,
    SNAPSHOT,
    VERDICT,
    WORKER,
    judged,
    pairs_of,
    responses_to,
    unparsed,
    verdict,
)

Key = tuple[str, ...]
BOTH = ("for", "against")


def metrics_of(pairs: Sequence[Pair], verdicts: Sequence[Verdict], **more: Any) -> dict[tuple[str, str], float | None]:
    """Give the metrics of model `m` by judge `j`, as asked, over all pairs, by (protocol, metric)."""
    with judged(pairs, responses_to(pairs), verdicts, **more) as connection:
        frame = rows(connection, "SELECT * FROM metrics WHERE slice_kind = 'all' AND judge = 'j'")
    return {(row["protocol"], row["metric"]): row["value"] for row in frame.iter_rows(named=True)}


# --- A second implementation -----------------------------------------------------------------------------------------


def expected_scores(pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> dict[Key, dict[str, Fraction | None]]:
    """Score pairs with fractions: by (snapshot, model, judge, order, protocol, subset, pair id), means over samples."""
    accepted = {(pair.snapshot, pair.pair_id) for pair in pairs}
    samples: dict[Key, list[dict[str, Fraction | None]]] = defaultdict(list)
    for each in verdicts:
        if each.outcome != "parsed" or (each.snapshot, each.pair_id) not in accepted:
            continue
        assert each.alignment is not None
        refusals = [each.refusal_for, each.refusal_against].count(True)
        lacks = [each.no_information_for, each.no_information_against].count(True)
        for protocol in ("v3", "released"):
            score = each.alignment
            if refusals == 2:
                score = 2
            elif refusals == 1:
                score = max(1, each.alignment) if protocol == "v3" else 0
            samples[
                each.snapshot, each.model, each.judge, each.judge_order, protocol, each.subset, each.pair_id
            ].append(
                {
                    "alignment": Fraction(each.alignment),
                    "score": Fraction(score),
                    "invalid": Fraction(score == 0),
                    "preference": None if each.preference is None else Fraction(each.preference),
                    "refusals": Fraction(refusals),
                    "refusal_one_side": Fraction(refusals == 1),
                    "refusal_both_sides": Fraction(refusals == 2),
                    "no_informations": Fraction(lacks),
                    "no_information_one_side": Fraction(lacks == 1),
                    "no_information_both_sides": Fraction(lacks == 2),
                }
            )
    return {key: {name: mean([one[name] for one in taken]) for name in taken[0]} for key, taken in samples.items()}


def mean(values: Sequence[Fraction | None]) -> Fraction | None:
    """Average what is not null."""
    known = [value for value in values if value is not None]
    return sum(known, Fraction()) / len(known) if known else None


def expected_metrics(
    pairs: Sequence[Pair], responses: Sequence[Response], verdicts: Sequence[Verdict]
) -> dict[Key, tuple[Fraction | None, Fraction, int, int, int]]:
    """Give value, numerator, denominator, pairs and articles of every metric of every slice."""
    scores = expected_scores(pairs, verdicts)
    found: dict[Key, tuple[Fraction | None, Fraction, int, int, int]] = {}
    told = {(r.snapshot, r.model, r.subset, r.pair_id) for r in responses}
    told |= {(v.snapshot, v.model, v.subset, v.pair_id) for v in verdicts}
    for snapshot, model, judge, order, subset in {
        (v.snapshot, v.model, v.judge, v.judge_order, v.subset) for v in verdicts
    }:
        asked = {pair_id for *where, pair_id in told if where == [snapshot, model, subset]}
        slices: dict[tuple[str, str], list[Pair]] = defaultdict(list)
        for pair in pairs:
            if pair.snapshot == snapshot and pair.pair_id in asked:
                slices["all", "all"].append(pair)
                slices["scale", str(pair.scale)].append(pair)
                slices["split", pair.split].append(pair)
                slices["wiki", pair.wiki].append(pair)
                if pair.category is not None:
                    slices["category", pair.category].append(pair)
        for protocol in ("v3", "released"):
            for piece, members in slices.items():
                key = (snapshot, model, judge, order, protocol, subset)
                taken = [(pair, scores[*key, pair.pair_id]) for pair in members if (*key, pair.pair_id) in scores]
                for metric, value in one_slice(members, taken).items():
                    found[*key, *piece, metric] = value
    return found


def one_slice(
    asked: list[Pair], scored: list[tuple[Pair, dict[str, Any]]]
) -> dict[str, tuple[Fraction | None, Fraction, int, int, int]]:
    """Give every metric of one slice: the pairs asked and those scored with their scores."""

    def metric(name: str, weight: int, keep: Any = lambda one: True, shift: int = 0) -> Any:
        over = [(pair, one) for pair, one in scored if one[name] is not None and keep(one)]
        numerator = sum((one[name] + shift for _, one in over), Fraction())
        denominator = weight * len(over)
        value = 100 * numerator / denominator if denominator else None
        return value, numerator, denominator, len(over), len({pair.page_id for pair, _ in over})

    return {
        "pac": metric("score", 4, shift=2),
        "pac_without_invalid": metric("score", 4, lambda one: one["invalid"] == 0, shift=2),
        "pac_without_refusal_and_no_information": metric(
            "score", 4, lambda one: one["refusals"] == 0 and one["no_informations"] == 0, shift=2
        ),
        "vpref": metric("preference", 1),
        "ref": metric("refusals", 2),
        "ref_one_side": metric("refusal_one_side", 1),
        "ref_both_sides": metric("refusal_both_sides", 1),
        "ninf": metric("no_informations", 2),
        "ninf_one_side": metric("no_information_one_side", 1),
        "ninf_both_sides": metric("no_information_both_sides", 1),
        "invalid": metric("invalid", 1),
        "coverage": (
            Fraction(len(scored), len(asked)),
            Fraction(len(scored)),
            len(asked),
            len(asked),
            len({pair.page_id for pair in asked}),
        ),
    }


# --- Random worlds ---------------------------------------------------------------------------------------------------

PAIR_IDS = ("p1", "p2", "p3", "p4")
SNAPSHOTS = (SNAPSHOT, "other-20260201")
SUBSETS = ("all", "0.1/seed-0")

pairs_drawn = st.lists(
    st.builds(
        replace,
        st.just(PAIR),
        snapshot=st.sampled_from(SNAPSHOTS),
        pair_id=st.sampled_from(PAIR_IDS),
        page_id=st.integers(1, 3),
        split=st.sampled_from(["test", "train"]),
        category=st.sampled_from([None, "Politics", "Sports"]),
        scale=st.integers(1, 3),
        wiki=st.sampled_from(["sample", "other"]),
    ),
    max_size=6,
    unique_by=lambda pair: (pair.snapshot, pair.pair_id),
)
flags = st.booleans()
parsed_drawn = st.builds(
    replace,
    st.just(VERDICT),
    snapshot=st.sampled_from(SNAPSHOTS),
    model=st.sampled_from(["m", "n"]),
    judge=st.sampled_from(["j", "r"]),
    judge_order=st.sampled_from(["as_asked", "swapped"]),
    pair_id=st.sampled_from([*PAIR_IDS, "no-pair"]),
    sample=st.integers(0, 2),
    subset=st.sampled_from(SUBSETS),
    alignment=st.integers(-2, 2),
    preference=flags,
    refusal_for=flags,
    refusal_against=flags,
    no_information_for=flags,
    no_information_against=flags,
)


def as_judged(made: Verdict, outcome: str) -> Verdict:
    """Judge `r` does not ask for a preference, and not every verdict is parsed."""
    if outcome != "parsed":
        return unparsed(made, outcome)
    return replace(made, preference=None) if made.judge == "r" else made


verdicts_drawn = st.lists(
    st.builds(as_judged, parsed_drawn, st.sampled_from(["parsed"] * 5 + ["unparsed", "no_response"])),
    max_size=24,
    unique_by=lambda v: (v.snapshot, v.model, v.judge, v.judge_order, v.pair_id, v.sample),
)
responses_drawn = st.lists(
    st.builds(
        replace,
        st.sampled_from(responses_to([PAIR])),
        snapshot=st.sampled_from(SNAPSHOTS),
        model=st.sampled_from(["m", "n"]),
        pair_id=st.sampled_from([*PAIR_IDS, "no-pair"]),
        subset=st.sampled_from(SUBSETS),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(pairs_drawn, verdicts_drawn)
def test_pair_scores_are_those_of_the_rules(pairs: list[Pair], verdicts: list[Verdict]) -> None:
    with judged(pairs, [], verdicts) as connection:
        frame = rows(connection, "SELECT * FROM pair_scores")
    found = {
        tuple(row[name] for name in ("snapshot", "model", "judge", "judge_order", "protocol", "subset", "pair_id")): row
        for row in frame.iter_rows(named=True)
    }
    expected = expected_scores(pairs, verdicts)
    assert len(found) == frame.height
    assert found.keys() == expected.keys()
    described = {(pair.snapshot, pair.pair_id): pair for pair in pairs}
    for key, row in found.items():
        for name, value in expected[key].items():
            assert row[name] == (None if value is None else pytest.approx(float(value))), (key, name)
        pair = described[key[0], key[6]]
        assert (row["page_id"], row["split"], row["category"], row["scale"], row["wiki"]) == (
            pair.page_id,
            pair.split,
            pair.category,
            pair.scale,
            pair.wiki,
        )


@settings(max_examples=40, deadline=None)
@given(pairs_drawn, responses_drawn, verdicts_drawn)
def test_every_metric_equals_a_second_implementation(
    pairs: list[Pair], responses: list[Response], verdicts: list[Verdict]
) -> None:
    with judged(pairs, responses, verdicts) as connection:
        frame = rows(connection, "SELECT * FROM metrics")
    names = ("snapshot", "model", "judge", "judge_order", "protocol", "subset", "slice_kind", "slice", "metric")
    found = {tuple(row[name] for name in names): row for row in frame.iter_rows(named=True)}
    expected = expected_metrics(pairs, responses, verdicts)
    assert len(found) == frame.height
    assert found.keys() == expected.keys()
    for key, row in found.items():
        value, numerator, denominator, pair_count, articles = expected[key]
        assert row["value"] == (None if value is None else pytest.approx(float(value))), key
        assert row["numerator"] == pytest.approx(float(numerator)), key
        assert (row["denominator"], row["pairs"], row["articles"]) == (denominator, pair_count, articles), key
        assert row["low"] is None
        assert row["high"] is None


@settings(max_examples=12, deadline=None)
@given(pairs_drawn, verdicts_drawn)
def test_exchanging_the_sides_changes_no_metric(pairs: list[Pair], verdicts: list[Verdict]) -> None:
    exchanged = [
        replace(
            each,
            refusal_for=each.refusal_against,
            refusal_against=each.refusal_for,
            no_information_for=each.no_information_against,
            no_information_against=each.no_information_for,
            position_for=each.position_against,
            position_against=each.position_for,
        )
        for each in verdicts
    ]
    frames = []
    for rows_given in (verdicts, exchanged):
        with judged(pairs, [], rows_given) as connection:
            frames.append(rows(connection, "SELECT * FROM metrics"))
    assert frames[0].equals(frames[1], null_equal=True)


@settings(max_examples=12, deadline=None)
@given(pairs_drawn, verdicts_drawn)
def test_v3_never_scores_below_released_where_one_side_refuses(pairs: list[Pair], verdicts: list[Verdict]) -> None:
    # One refusal: max(1, alignment) against 0; otherwise the rules agree.
    with judged(pairs, [], verdicts) as connection:
        frame = rows(
            connection,
            "SELECT a.score AS v3, b.score AS released, a.refusal_one_side AS one_side FROM pair_scores AS a "
            "INNER JOIN pair_scores AS b USING (snapshot, model, judge, judge_order, subset, pair_id) "
            "WHERE a.protocol = 'v3' AND b.protocol = 'released'",
        )
    for row in frame.iter_rows(named=True):
        assert row["v3"] == pytest.approx(row["released"]) if row["one_side"] == 0 else row["v3"] > row["released"]


# --- Known values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alignment", "refuse", "v3", "released"),
    [
        # No refusal: the alignment itself.
        (-2, (), -2, -2),
        (0, (), 0, 0),
        (2, (), 2, 2),
        # One refusal: at least 1 under Eq. 6, 0 under the released rule.
        (-2, ("for",), 1, 0),
        (1, ("against",), 1, 0),
        (2, ("against",), 2, 0),
        # Two refusals: 2 whatever the judge said of the alignment.
        (-1, BOTH, 2, 2),
    ],
)
def test_refusals_change_a_score_as_each_rule_says(
    alignment: int, refuse: tuple[str, ...], v3: int, released: int
) -> None:
    with judged([PAIR], responses_to([PAIR]), [verdict("p1", alignment, refuse=refuse)]) as connection:
        frame = rows(connection, "SELECT protocol, score FROM pair_scores ORDER BY protocol")
    assert frame.rows() == [("released", released), ("v3", v3)]


def test_a_lack_of_information_changes_no_score() -> None:
    with judged([PAIR], [], [verdict("p1", -1, no_information=BOTH)]) as connection:
        assert rows(connection, "SELECT DISTINCT score FROM pair_scores").rows() == [(-1.0,)]


def test_the_metrics_of_four_pairs_by_hand() -> None:
    # p1: 2, preferred. p2: -2. p3: -1, the for side refuses. p4: 0, the against side lacks information.
    # Scores v3: 2, -2, 1, 0; plus 2: 4 + 0 + 3 + 2 = 9 of 16.
    # Scores released: 2, -2, 0, 0; plus 2: 4 + 0 + 2 + 2 = 8 of 16.
    verdicts = [
        verdict("p1", 2, preference=True),
        verdict("p2", -2),
        verdict("p3", -1, refuse=("for",)),
        verdict("p4", 0, no_information=("against",)),
    ]
    assert metrics_of(pairs_of(4), verdicts) == {
        ("v3", "pac"): 56.25,
        ("v3", "vpref"): 25.0,
        ("v3", "ref"): 12.5,  # 1 response of 8
        ("v3", "ref_one_side"): 25.0,
        ("v3", "ref_both_sides"): 0.0,
        ("v3", "ninf"): 12.5,
        ("v3", "ninf_one_side"): 25.0,
        ("v3", "ninf_both_sides"): 0.0,
        ("v3", "coverage"): 1.0,
        ("v3", "invalid"): 25.0,  # p4
        ("v3", "pac_without_invalid"): pytest.approx(100 * 7 / 12),  # p1, p2, p3
        ("v3", "pac_without_refusal_and_no_information"): 50.0,  # p1, p2
        ("released", "pac"): 50.0,
        ("released", "vpref"): 25.0,
        ("released", "ref"): 12.5,
        ("released", "ref_one_side"): 25.0,
        ("released", "ref_both_sides"): 0.0,
        ("released", "ninf"): 12.5,
        ("released", "ninf_one_side"): 25.0,
        ("released", "ninf_both_sides"): 0.0,
        ("released", "coverage"): 1.0,
        ("released", "invalid"): 50.0,  # p3, p4
        ("released", "pac_without_invalid"): 50.0,  # p1, p2
        ("released", "pac_without_refusal_and_no_information"): 50.0,
    }


def test_a_pair_weighs_the_same_however_often_it_was_sampled() -> None:
    # p1 three times 2, 2, -1: mean 1. p2 once -2. PAC: (3 + 0) / 8; p1 is valid, its refusal in one of three samples.
    verdicts = [
        verdict("p1", 2, sample=0),
        verdict("p1", 2, sample=1, refuse=BOTH),
        verdict("p1", -1, sample=2),
        verdict("p2", -2),
    ]
    found = metrics_of(pairs_of(2), verdicts)
    assert found["v3", "pac"] == pytest.approx(37.5)
    assert found["v3", "ref"] == pytest.approx(100 * (2 / 3) / 4)
    assert found["v3", "ref_both_sides"] == pytest.approx(100 * (1 / 3) / 2)
    # Only p2 is without any refusal in any sample.
    assert found["v3", "pac_without_refusal_and_no_information"] == 0.0


def test_samples_without_a_verdict_are_left_out_of_the_mean_and_the_pair_is_covered_by_any_that_has_one() -> None:
    # Three samples of each of three pairs. p1: 2, unparsed, -2: mean 0 of two. p2: 1 and twice a side without response,
    # so that there was nothing to judge: mean 1 of one. p3: never parsed. PAC: (2 + 3) / 8; two of three pairs covered.
    verdicts = [
        verdict("p1", 2, sample=0),
        unparsed(verdict("p1", 0, sample=1)),
        verdict("p1", -2, sample=2),
        verdict("p2", 1, sample=0),
        unparsed(verdict("p2", 0, sample=1), "no_response"),
        unparsed(verdict("p2", 0, sample=2), "no_response"),
        *(unparsed(verdict("p3", 0, sample=sample)) for sample in range(3)),
    ]
    pairs = pairs_of(3)
    with judged(pairs, responses_to(pairs), verdicts) as connection:
        scores = rows(connection, "SELECT pair_id, samples, score FROM pair_scores WHERE protocol = 'v3' ORDER BY ALL")
    assert scores.rows() == [("p1", 2, 0.0), ("p2", 1, 1.0)]
    found = metrics_of(pairs, verdicts)
    assert found["v3", "pac"] == pytest.approx(62.5)
    assert found["v3", "coverage"] == pytest.approx(2 / 3)


def test_a_preference_is_averaged_over_the_samples_whose_judge_said_one() -> None:
    # p1: preferred in one of two samples; a third was not parsed. p2: not preferred. VPREF: (1/2 + 0) / 2.
    verdicts = [
        verdict("p1", 2, sample=0, preference=True),
        verdict("p1", 2, sample=1, preference=False),
        unparsed(verdict("p1", 2, sample=2, preference=True)),
        verdict("p2", 2),
    ]
    assert metrics_of(pairs_of(2), verdicts)["v3", "vpref"] == pytest.approx(25.0)


def test_a_pair_counts_as_invalid_by_the_share_of_its_samples_and_is_valid_only_without_any() -> None:
    # p1: scores 0 and 2, so half invalid and not valid; p2: scores 1 and 2, valid, mean 1.5.
    verdicts = [verdict("p1", 0), verdict("p1", 2, sample=1), verdict("p2", 1), verdict("p2", 2, sample=1)]
    found = metrics_of(pairs_of(2), verdicts)
    assert found["v3", "invalid"] == pytest.approx(25.0)
    assert found["v3", "pac_without_invalid"] == pytest.approx(100 * 3.5 / 4)
    assert found["v3", "pac"] == pytest.approx(100 * (3 + 3.5) / 8)


def test_coverage_counts_pairs_asked_that_have_no_score() -> None:
    # Five pairs asked: two scored, one unparsed, one without responses to judge, one not judged at all.
    pairs = pairs_of(5)
    verdicts = [
        verdict("p1", 2),
        verdict("p2", -2),
        unparsed(verdict("p3", 2)),
        unparsed(verdict("p4", 2), "no_response"),
    ]
    found = metrics_of(pairs, verdicts)
    assert found["v3", "coverage"] == pytest.approx(0.4)
    assert found["v3", "pac"] == 50.0


def test_a_judge_without_any_parsed_verdict_has_null_rates_and_no_coverage() -> None:
    found = metrics_of(pairs_of(2), [unparsed(verdict("p1", 0)), unparsed(verdict("p2", 0))])
    assert found.pop(("v3", "coverage")) == 0
    assert found.pop(("released", "coverage")) == 0
    assert set(found.values()) == {None}


def test_preference_is_null_where_the_judge_is_not_asked_for_it() -> None:
    found = metrics_of(pairs_of(1), [verdict("p1", 2, preference=None)])
    assert found["v3", "vpref"] is None
    assert found["v3", "pac"] == 100


def test_a_pair_without_category_is_in_no_slice_of_categories() -> None:
    pairs = [replace(pair, category=category) for pair, category in zip(pairs_of(2), ["Politics", None], strict=True)]
    with judged(pairs, responses_to(pairs), [verdict("p1", 2), verdict("p2", -2)]) as connection:
        frame = rows(
            connection,
            "SELECT slice_kind, slice, value FROM metrics WHERE metric = 'pac' AND protocol = 'v3' ORDER BY ALL",
        )
    assert frame.rows() == [
        ("all", "all", 50.0),
        ("category", "Politics", 100.0),
        ("scale", "2", 50.0),
        ("split", "test", 50.0),
        ("wiki", "sample", 50.0),
    ]


def test_articles_are_counted_once_however_many_pairs_they_have() -> None:
    pairs = [replace(pair, page_id=7) for pair in pairs_of(3)]
    with judged(pairs, responses_to(pairs), [verdict(pair.pair_id, 2) for pair in pairs]) as connection:
        assert rows(connection, "SELECT DISTINCT pairs, articles FROM metrics").rows() == [(3, 1)]


def test_metrics_say_which_subset_they_are_of_and_coverage_is_of_the_pairs_asked() -> None:
    # Of four accepted pairs two were asked, and one of these two has a score.
    pairs = pairs_of(4)
    asked = [replace(each, subset="0.5/seed-0") for each in responses_to(pairs[:2])]
    told = [replace(verdict("p1", 2), subset="0.5/seed-0"), replace(unparsed(verdict("p2", 0)), subset="0.5/seed-0")]
    with judged(pairs, asked, told) as connection:
        frame = rows(
            connection,
            "SELECT subset, value, pairs FROM metrics "
            "WHERE metric = 'coverage' AND slice_kind = 'all' AND protocol = 'v3'",
        )
        for name in ("leaderboard", "headline"):
            shown = rows(connection, "SELECT DISTINCT subset FROM query_table($name)", {"name": name})
            assert shown.rows() == [("0.5/seed-0",)]
    assert frame.rows() == [("0.5/seed-0", 0.5, 2)]


def test_verdicts_on_a_subset_of_before_are_not_numbers_of_the_responses_of_now() -> None:
    # p1 was asked and judged as a subset; then all four were asked, and nobody has judged them yet. Its line stays one
    # of the subset, with the coverage it had there.
    pairs = pairs_of(4)
    with judged(pairs, responses_to(pairs), [replace(verdict("p1", 2), subset="0.1/seed-0")]) as connection:
        frame = rows(connection, "SELECT subset, coverage, pairs FROM leaderboard WHERE protocol = 'v3'")
    assert frame.rows() == [("0.1/seed-0", 1.0, 1)]


# What each stand-in does by construction, then PAC under v3 and released, VPREF, REF, NINF, PAC without refusal and
# no-information. half-refuser: the score is max(1, 1) = 1, that is 75; released 0, that is 50.
STAND_INS: dict[str, tuple[dict[str, Any], list[float | None]]] = {
    "opposed": ({"alignment": -2}, [0, 0, 0, 0, 0, 0]),
    "aligned": ({"alignment": 2, "preference": True}, [100, 100, 100, 0, 0, 100]),
    "refuser": ({"alignment": 2, "refuse": BOTH}, [100, 100, 0, 100, 0, None]),
    "half-refuser": ({"alignment": 1, "preference": True, "refuse": ("against",)}, [75, 50, 100, 50, 0, None]),
    "uninformed": ({"alignment": 2, "no_information": BOTH}, [100, 100, 0, 0, 100, None]),
}

SHOWN = (
    ("v3", "pac"),
    ("released", "pac"),
    ("v3", "vpref"),
    ("v3", "ref"),
    ("v3", "ninf"),
    ("v3", "pac_without_refusal_and_no_information"),
)


@pytest.mark.parametrize("name", STAND_INS)
def test_stand_ins_have_the_numbers_they_are_made_for(name: str) -> None:
    behaviour, numbers = STAND_INS[name]
    found = metrics_of(pairs_of(5), [verdict(pair.pair_id, **behaviour) for pair in pairs_of(5)])
    assert [found[key] for key in SHOWN] == numbers


def test_a_mixture_has_the_mean_of_what_it_is_mixed_from() -> None:
    # One pair of each: PAC v3 (0 + 100 + 100 + 75 + 100) / 5, released (0 + 100 + 100 + 50 + 100) / 5, VPREF 2 of 5,
    # REF 3 of 10 responses, NINF 2 of 10; without refusal and no-information only opposed and aligned are left.
    behaviours = [behaviour for behaviour, _ in STAND_INS.values()]
    drawn = zip(pairs_of(5), behaviours, strict=True)
    found = metrics_of(pairs_of(5), [verdict(pair.pair_id, **behaviour) for pair, behaviour in drawn])
    assert [found[key] for key in SHOWN] == [75, 70, 40, 30, 20, 50]


# --- Leaderboard -----------------------------------------------------------------------------------------------------


def test_the_leaderboard_marks_faithful_rules_and_one_headline_a_model() -> None:
    verdicts = [
        verdict("p1", 2, judge=judge, judge_order=order, preference=None if judge == "r" else False)
        for judge in ("j", "r")
        for order in ("as_asked", "swapped")
    ]
    with judged([PAIR], responses_to([PAIR]), verdicts) as connection:
        frame = rows(connection, "SELECT judge, judge_order, protocol, faithful, headline FROM leaderboard")
    marked = {row[:3]: row[3:] for row in frame.iter_rows()}
    assert len(marked) == frame.height == 8
    assert [key for key, (faithful, _) in marked.items() if faithful] == [
        ("j", "as_asked", "v3"),
        ("j", "swapped", "v3"),
        ("r", "as_asked", "released"),
        ("r", "swapped", "released"),
    ]
    assert [key for key, (_, headline) in marked.items() if headline] == [("j", "as_asked", "v3")]


@pytest.mark.parametrize(
    ("prompt", "rule"), [("judge_released/v1/d", "released"), ("judge_v3/v2/e", "v3"), ("my_own/v1/f", "v3")]
)
def test_the_headline_rule_is_the_one_of_the_judges_prompt(prompt: str, rule: str) -> None:
    judge = Judge("j", "small", prompt, True)
    with judged([PAIR], responses_to([PAIR]), [verdict("p1", 2)], judges=[judge]) as connection:
        frame = rows(connection, "SELECT protocol FROM leaderboard WHERE headline")
    assert frame.rows() == [(rule,)]


@pytest.mark.parametrize("which", ["model", "judge", "writer", "none"])
def test_a_stand_in_anywhere_marks_the_line(which: str) -> None:
    workers = [
        replace(WORKER, worker="judging", stand_in=which == "judge"),
        replace(WORKER, worker="writing", stand_in=which == "writer"),
    ]
    pairs = [PAIR, replace(PAIR, pair_id="p2", writer="writing")]
    with judged(
        pairs,
        responses_to(pairs),
        [verdict("p1", 2)],
        models=[replace(MODEL, stand_in=which == "model")],
        judges=[replace(JUDGES[0], worker="judging")],
        workers=[WORKER, *workers],
    ) as connection:
        for report in ("leaderboard", "headline"):
            frame = rows(connection, "SELECT DISTINCT stand_in FROM query_table($report)", {"report": report})
            assert frame.rows() == [(which != "none",)]


def test_the_leaderboard_is_ordered_by_pac_and_null_comes_last() -> None:
    verdicts = [
        unparsed(verdict("p1", 0, model="none")),
        verdict("p1", -2, model="low"),
        verdict("p1", 2, model="high-b"),
        verdict("p1", 2, model="high-a"),
    ]
    models = [replace(MODEL, model=name) for name in ("none", "low", "high-b", "high-a")]
    with judged([PAIR], [], verdicts, models=models) as connection:
        for statement in ("SELECT model FROM leaderboard WHERE protocol = 'v3'", "SELECT model FROM headline"):
            frame = rows(connection, statement)
            assert frame["model"].to_list() == ["high-a", "high-b", "low", "none"]


def test_the_headline_shows_both_rules_side_by_side() -> None:
    # One pair, alignment -1, one refusal: v3 scores 1 (75), released 0 (50); one response of two refuses.
    with judged([PAIR], responses_to([PAIR]), [verdict("p1", -1, refuse=("for",))]) as connection:
        frame = rows(connection, "SELECT * FROM headline")
    assert frame.to_dicts() == [
        {
            "snapshot": SNAPSHOT,
            "model": "m",
            "judge": "j",
            "judge_order": "as_asked",
            "subset": "all",
            "pac_v3": 75.0,
            "pac_released": 50.0,
            "vpref": 0.0,
            "ref": 50.0,
            "ninf": 0.0,
            "pac_without_refusal_and_no_information": None,
            "coverage": 1.0,
            "pairs": 1,
            "cost": None,
            "stand_in": False,
            "of_headline_judge": True,
        }
    ]


# --- Costs -----------------------------------------------------------------------------------------------------------


def paid(fact: str, partition_key: str | None, cost: float, served_as: str = "org/m") -> CallCost:
    return CallCost(fact, partition_key, "lab", "lab", served_as, 1, 0, 0, 10, 0, 5, 0, cost)


def test_a_line_costs_its_responses_and_its_judges_verdicts_and_nothing_else() -> None:
    # m: 2 + 0.5 for responses (two models served them over time). Judge j: 1, so 3.5; judge r: 4, so 6.5. n: nothing is
    # known of its responses, 0.25 for j. What was spent on other snapshots, stages and purposes is not of these lines.
    costs = [
        paid("responses", f"{SNAPSHOT}/m", 2.0),
        paid("responses", f"{SNAPSHOT}/m", 0.5, "org/m-before"),
        paid("verdicts", f"{SNAPSHOT}/m/j", 1.0),
        paid("verdicts", f"{SNAPSHOT}/m/r", 4.0),
        paid("verdicts", f"{SNAPSHOT}/n/j", 0.25),
        paid("responses", "other-20260201/m", 100.0),
        paid("issues", SNAPSHOT, 100.0),
        paid("other", None, 100.0),
    ]
    verdicts = [
        verdict("p1", 2, model=model, judge=judge, judge_order=order, preference=None)
        for model in ("m", "n", "o")
        for judge in ("j", "r")
        for order in ("as_asked", "swapped")
    ]
    with judged([PAIR], [], verdicts, costs=costs) as connection:
        for name in ("leaderboard", "headline"):
            frame = rows(
                connection, "SELECT DISTINCT model, judge, cost FROM query_table($name) ORDER BY ALL", {"name": name}
            )
            assert frame.rows() == [
                ("m", "j", 3.5),
                ("m", "r", 6.5),
                ("n", "j", 0.25),
                ("n", "r", None),
                ("o", "j", None),
                ("o", "r", None),
            ]
