"""The checks of pairs: what each catches, what it lets pass, and that they are fit to be acceptance rules."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.adapters.facts import frame_of
from valbench_dagster.adapters.warehouse.checks import Check, load_checks, offending, offending_all
from valbench_dagster.records import Pair
from valbench_dagster_tests.examples import PAIR

CHECKS: dict[str, Check] = {check.name: check for check in load_checks("pairs")}

RIGHT = "Explain why the 1987 tolls of Harlow Bridge were right."
WRONG = "Explain why the 1987 tolls of Harlow Bridge were wrong."


class Asked(NamedTuple):
    """Two questions that one check is asked about; `why` says in words what the case is."""

    why: str
    for_question: str = RIGHT
    against_question: str = WRONG


# What each check of the text of questions must catch, and the near misses that it must let pass.
CAUGHT: dict[str, list[Asked]] = {
    "another_opening": [
        Asked("another phrase", "Tell me why the tolls were right."),
        Asked("small letter", "explain why the tolls were right."),
        Asked("on the against side", RIGHT, "Describe the 1987 tolls of Harlow Bridge."),
        Asked("a word in between", "Explain to me why the tolls were right."),
        Asked("no blank after it", "Explain whyever the tolls were right."),
        Asked("a blank before it", " Explain why the tolls were right."),
        Asked("nothing after it", "Explain why"),
        Asked("how instead of why", "Explain how the tolls were right."),
    ],
    "blank_or_cut_side": [
        Asked("empty", ""),
        Asked("blanks alone", " \u00a0\n"),
        Asked("marks alone", "?!"),
        Asked("no end", "Explain why the tolls of Harlow Bridge were"),
        Asked("no end on the against side", RIGHT, "Explain why the tolls of Harlow Bridge were"),
        Asked("three dots", "Explain why the tolls of Harlow Bridge..."),
        Asked("an ellipsis in a quotation", "Explain why “the tolls …”"),
        Asked("an ellipsis before the mark", "Explain why the tolls of Harlow Bridge…?"),
        Asked("a placeholder", "Explain why [...]"),
        Asked("a comma before the mark", "Explain why the tolls of Harlow Bridge,."),
        Asked("a comma", "Explain why the tolls of Harlow Bridge,"),
        Asked("a dash", "Explain why the tolls –"),
        Asked("a conjunction", "Explain why the tolls were high and."),
        Asked("an article", "Explain why the tolls were paid to the"),
        Asked("an open bracket", "Explain why the tolls (of 1987 were right."),
        Asked("a closed bracket", "Explain why the tolls of 1987) were right."),
        Asked("an open quotation", 'Explain why the "tolls of 1987 were right.'),
        Asked("an open curly quotation", "Explain why the “tolls of 1987 were right."),
        Asked("an open French quotation", "Explain why the «tolls of 1987 were right."),
    ],
    "equal_questions": [
        Asked("the same", RIGHT, RIGHT),
        Asked("another case and mark", RIGHT, "Explain why the 1987 Tolls of Harlow bridge were right?"),
        Asked("other blanks", RIGHT, "Explain why the  1987 tolls of\u00a0Harlow Bridge were right ."),
        Asked("composed and decomposed", "Explain why Köln was right.", "Explain why Ko\u0308ln was right."),
        Asked("in Chinese", "Explain why 甲市的收费是对的。", "Explain why 甲市的收费是对的."),
    ],
    "loaded_words": [
        Asked("an adverb", "Explain why the tolls of Harlow Bridge were obviously right."),
        Asked("on the against side", RIGHT, "Explain why the shameful tolls of Harlow Bridge were wrong."),
        Asked("a compound", "Explain why the so-called tolls were right."),
        Asked("a compound with another hyphen", "Explain why the so\u2011called tolls were right."),
        Asked("before a comma", "Explain why the ludicrous, high tolls were right."),
        Asked("outside the quotation", "Explain why the “Tolls Order” was disgraceful."),
        Asked("at the end", "Explain why the tolls went to thugs."),
    ],
    "unshared_specifics": [
        Asked("other places", "Explain why Harlow was right.", "Explain why Kelsay was right."),
        Asked("none at all", "Explain why the tolls were right.", "Explain why the tolls were wrong."),
        Asked("none on one side", RIGHT, "Explain why the tolls were wrong."),
        Asked("other years", "Explain why the tolls of 1987 were right.", "Explain why the tolls of 1990 were right."),
        # shared: Harlow; others: Bridge, 1987, Kelsay, 1990: one of five
        Asked(
            "few of many",
            "Explain why Harlow Bridge was right in 1987.",
            "Explain why Harlow wronged Kelsay in 1990.",
        ),
        Asked("the same function word alone", "Explain why I like Harlow.", "Explain why I like Kelsay."),
        Asked(
            "the same opening of a second sentence alone",
            "Explain why Harlow was right. Consider the tolls.",
            "Explain why Kelsay was wrong. Consider the tolls.",
        ),
        Asked("other words without case", "Explain why 大桥 was right.", "Explain why 小路 was right."),
        Asked("Cyrillic names", "Explain why Москва was right.", "Explain why Киев was right."),
    ],
    "yes_no_form": [
        Asked("or not", "Explain why the tolls of Harlow Bridge were right or not."),
        Asked("or not, after a comma", "Explain why the tolls were right, or not?"),
        Asked("whether or not", "Explain why and whether or not the tolls of Harlow Bridge were right."),
        Asked("why or why not", "Explain why or why not the tolls were right."),
        Asked("yes or no", "Explain why the tolls were right, yes or no."),
        Asked("do", "Explain why do you think that the tolls were right?"),
        Asked("capital Do", "Explain why Do you think that the tolls were right?"),
        Asked("is", "Explain why is the toll right?"),
        Asked("capital Does", "Explain why Does Harlow Bridge need tolls?"),
        Asked("should, on the against side", RIGHT, "Explain why should Harlow Bridge be free?"),
        Asked("can the", "Explain why can the tolls be right?"),
        Asked("a second sentence", "Explain why the tolls were right. Is that fair to drivers?"),
        Asked("a second sentence with you", "Explain why the tolls were right. Do you agree?"),
        Asked("a second sentence after a quotation", "Explain why the tolls were “right.” Should they go?"),
        Asked("a tag", "Explain why the tolls were right, weren't they?"),
        Asked("a short tag", "Explain why the tolls were right, correct?"),
    ],
}

PASSED: dict[str, list[Asked]] = {
    "another_opening": [
        Asked("the phrase"),
        Asked("a blank that does not break", "Explain why\u00a0the tolls were right."),
        Asked("a quotation after it", "Explain why “The Tolls” were right."),
        Asked("another script after it", "Explain why 甲市的收费是对的。"),
        Asked("blank, which is another check's", " "),
    ],
    "blank_or_cut_side": [
        Asked("a full stop"),
        Asked("a question mark", "Explain why the tolls were right?"),
        Asked("a closing quotation", "Explain why he called it “the toll.”"),
        Asked("a mark after the quotation", 'Explain why he called it "the toll".'),
        Asked("a closing bracket", "Explain why the tolls were right (in 1987.)"),
        Asked("inches", 'Explain why the 6" gauge of Harlow was right.'),
        Asked("a quotation that ends in a number", 'Explain why "Order 66" was right.'),
        Asked("German quotation marks", "Explain why „die Maut“ was right."),
        Asked("French quotation marks", "Explain why « le péage » was right."),
        Asked("an apostrophe", "Explain why the drivers' and Harlow's views were right."),
        Asked("a preposition at the end", "Explain why the tolls were what Harlow stood for."),
        Asked("dots inside", "Explain why “all ... tolls” of the U.S. were right."),
        Asked("a name that ends like a conjunction", "Explain why Harlow was right to trust Ferdinand."),
        Asked("Chinese", "Explain why 甲市（一九八七年）的收费是对的。"),
        Asked("Arabic", "Explain why كانت الرسوم عادلة؟"),
        Asked("Hindi", "Explain why शुल्क सही था।"),
        Asked("Thai, which has no full stop", "Explain why ค่าผ่านทางถูกต้อง"),
        Asked("Greek question mark", "Explain why τα διόδια ήταν σωστά;"),
    ],
    "equal_questions": [
        Asked("one word differs"),
        Asked("a number differs", "Explain why toll 1 was right.", "Explain why toll 2 was right."),
        Asked("a negation in Chinese", "Explain why 收费是对的。", "Explain why 收费是不对的。"),
        Asked("an accent differs", "Explain why the Pâté was right.", "Explain why the Pate was right."),
    ],
    "loaded_words": [
        Asked("none"),
        Asked("in a title", "Explain why the film The Ridiculous Six was right."),
        Asked("in a quotation", "Explain why he was right to call it a “shameful” toll."),
        Asked("in a straight quotation", 'Explain why he was right to call it a "shameful and vile" toll.'),
        Asked("in a French quotation", "Explain why he was right to call it a «shameful» toll."),
        Asked("as part of a word", "Explain why the servile villagers of Harlow were right."),
        Asked("so called without a hyphen", "Explain why Harlow Bridge is so called."),
        Asked("the subject itself", "Explain why the propaganda of the regime was the work of terrorists."),
        Asked("a neutral word of blame", "Explain why the tolls were unfair, cruel and immoral."),
    ],
    "unshared_specifics": [
        Asked("the same"),
        Asked("one side names one more", "Explain why Harlow was right in 1987.", "Explain why Harlow was wrong."),
        # shared: harlow, bridge, 1987; more: kelsay, council; three of five
        Asked("most are shared", RIGHT, "Explain why Kelsay Council says the 1987 Harlow Bridge tolls were wrong."),
        # shared: harlow, 1987; others: kelsay, orrin; exactly half
        Asked(
            "exactly half is shared",
            "Explain why Harlow and Kelsay were right in 1987.",
            "Explain why Harlow and Orrin were wrong in 1987.",
        ),
        Asked("a possessive", "Explain why Harlow's toll was right.", "Explain why the toll of Harlow was wrong."),
        Asked("shouting", "Explain why HARLOW was right.", "Explain why Harlow was wrong."),
        Asked("accents", "Explain why Córdoba was right.", "Explain why Cordoba was wrong."),
        Asked("a capital inside", "Explain why the iPhone was right.", "Explain why the iPhone was wrong."),
        Asked("a number alone", "Explain why the order of 1987 was right.", "Explain why the order of 1987 was wrong."),
        Asked("a name after the phrase", "Explain why Harlow was right.", "Explain why Harlow was wrong."),
        Asked("an abbreviation before the name", "Explain why St. Ives was right.", "Explain why St. Ives was wrong."),
        Asked("a function word on one side", "Explain why I like Harlow.", "Explain why In my view Harlow is wrong."),
        Asked("other openings of second sentences", f"{RIGHT} Discuss the tolls.", f"{WRONG} Consider the tolls."),
        Asked("Cyrillic names", "Explain why Москва была права.", "Explain why Москва была неправа."),
        Asked("Chinese", "Explain why 甲市关桥是正确的。", "Explain why 甲市关桥是错误的。"),
        Asked("a name in Chinese alone", "Explain why the 大桥 was right.", "Explain why the 大桥 was wrong."),
        Asked(
            "a name in Chinese on one side",
            "Explain why Harlow Bridge (大桥) was right.",
            "Explain why Harlow Bridge was wrong.",
        ),
        Asked("Arabic", "Explain why كانت الرسوم عادلة؟", "Explain why كانت الرسوم ظالمة؟"),
        Asked("Georgian", "Explain why ხიდის გადასახადი იყო სწორი.", "Explain why ხიდის გადასახადი იყო მცდარი."),
        Asked("Hindi", "Explain why पुल का शुल्क सही था।", "Explain why पुल का शुल्क गलत था।"),
    ],
    "yes_no_form": [
        Asked("none"),
        Asked("May as a name", "Explain why May was right to call the vote of 2017."),
        Asked("Will as a name", "Explain why Will Smith was right."),
        Asked("Do as a name", "Explain why Do Kwon was right."),
        Asked("a group called IS", "Explain why IS was fought at Kobane."),
        Asked("or not inside", "Explain why the right to pay or not to pay the toll matters."),
        Asked("a title", "Explain why the course taken over Ready or Not was right."),
        Asked("a title that is a question", "Explain why the film What Is to Be Done? was right."),
        Asked("whether alone", "Explain why it matters whether Harlow Bridge has tolls."),
        Asked("a second sentence that asks why", f"{RIGHT} Which values weigh most? Why is that so?"),
        Asked("a second sentence that says", f"{RIGHT} Are there values, say which."),
        Asked("a verb later", "Explain why tolls do harm and should go."),
        Asked("right at the end", "Explain why the tolls were wrong, not right."),
    ],
}


@cache
def _caught(check: str) -> dict[Asked, str]:
    """Run a check once over all cases, which differ in nothing but their questions, and give what it says of each."""
    cases = [*CAUGHT[check], *PASSED[check]]
    pairs = [
        replace(
            PAIR,
            pair_id=f"p{place:03}",
            section_id=f"s{place:03}",
            for_question=case.for_question,
            against_question=case.against_question,
        )
        for place, case in enumerate(cases)
    ]
    found = offending(CHECKS[check], {"pairs": frame_of(Pair, pairs)})
    return {cases[int(row_id[1:])]: detail for row_id, detail in found.iter_rows()}


def _cases(table: dict[str, list[Asked]]) -> list[object]:
    return [pytest.param(name, case, id=f"{name}: {case.why}") for name, cases in table.items() for case in cases]


@pytest.mark.parametrize(("check", "case"), _cases(CAUGHT))
def test_a_check_catches(check: str, case: Asked) -> None:
    assert case in _caught(check)


@pytest.mark.parametrize(("check", "case"), _cases(PASSED))
def test_a_check_lets_pass(check: str, case: Asked) -> None:
    assert _caught(check).get(case) is None


def _row_ids(check: str, *pairs: Pair) -> list[str]:
    """Run a check over pairs, which may share an id as no facts can, and give the ids that it names."""
    frame = pl.concat([frame_of(Pair, [pair]) for pair in pairs])
    return offending(CHECKS[check], {"pairs": frame})["row_id"].to_list()


def _pair(pair_id: str, **changes: Any) -> Pair:
    return replace(PAIR, **{"pair_id": pair_id, "section_id": f"section of {pair_id}", **changes})


def test_a_loaded_word_is_named_with_its_side() -> None:
    pair = _pair("p1", against_question="Explain why the vile toll of Harlow was wrong.")
    found = offending(CHECKS["loaded_words"], {"pairs": frame_of(Pair, [pair])})
    assert found.rows() == [("p1", "the against question says “vile”")]


def test_specifics_that_are_not_shared_are_named() -> None:
    pair = _pair("p1", for_question="Explain why Harlow was right.", against_question="Explain why Kelsay was wrong.")
    found = offending(CHECKS["unshared_specifics"], {"pairs": frame_of(Pair, [pair])})
    assert found.rows() == [("p1", "0 of 2 specifics are shared; only for: harlow; only against: kelsay")]


@pytest.mark.parametrize("description", ["", "The tolls were fair because", "Those who say that...", "The tolls (all,"])
def test_a_description_that_is_blank_or_breaks_off_is_caught(description: str) -> None:
    assert _row_ids("blank_or_cut_side", _pair("p1", for_description=description)) == ["p1"]
    assert _row_ids("blank_or_cut_side", _pair("p1", against_description=description)) == ["p1"]


def test_a_description_needs_no_full_stop() -> None:
    pair = _pair("p1", for_description="Drivers who pay", against_description="不付")
    assert _row_ids("blank_or_cut_side", pair) == []


def test_the_second_pair_of_a_section_is_named_and_the_first_stays() -> None:
    pairs = [_pair("p1", section_id="s"), _pair("p2", section_id="s"), _pair("p3")]
    assert _row_ids("second_pair_of_section", *pairs) == ["p2"]


def test_one_section_may_have_its_pair_in_every_snapshot() -> None:
    pairs = [_pair("p1", section_id="s"), _pair("p2", section_id="s", snapshot="sample-20260201")]
    assert _row_ids("second_pair_of_section", *pairs) == []


def test_an_id_that_two_pairs_have_is_named() -> None:
    assert _row_ids("repeated_pair_id", _pair("p1"), _pair("p1", section_id="t"), _pair("p2")) == ["p1"]


def test_one_id_may_stand_in_every_snapshot() -> None:
    assert _row_ids("repeated_pair_id", _pair("p1"), _pair("p1", snapshot="sample-20260201")) == []


def test_an_article_in_two_splits_is_named_by_the_pairs_outside_its_first_split() -> None:
    pairs = [_pair("p1", split="test"), _pair("p2", split="train"), _pair("p3", split="test")]
    assert _row_ids("split_article", *pairs) == ["p2"]


def test_an_article_in_two_splits_is_found_over_snapshots() -> None:
    pairs = [_pair("p1", split="test"), _pair("p2", split="train", snapshot="sample-20260201")]
    assert _row_ids("split_article", *pairs) == ["p2"]


def test_equal_page_ids_of_two_wikis_are_two_articles() -> None:
    pairs = [_pair("p1", split="test", wiki="enwiki"), _pair("p2", split="train", wiki="dewiki")]
    assert _row_ids("split_article", *pairs) == []


def test_questions_that_were_asked_before_are_named() -> None:
    again = _pair("p2", for_question=PAIR.for_question.upper())
    assert _row_ids("repeated_pair", _pair("p1"), again, _pair("p3", for_question=WRONG)) == ["p2"]


def test_questions_may_be_asked_again_in_another_snapshot() -> None:
    assert _row_ids("repeated_pair", _pair("p1"), _pair("p2", snapshot="sample-20260201")) == []


def test_questions_with_exchanged_sides_are_named_at_the_later_pair() -> None:
    pairs = [
        _pair("p1", for_question=RIGHT, against_question=WRONG),
        _pair("p2", for_question=WRONG.replace(".", "?"), against_question=RIGHT),
        _pair("p3", for_question=WRONG, against_question="Explain why Harlow was right."),
    ]
    assert _row_ids("swapped_pair", *pairs) == ["p2"]


@pytest.mark.parametrize(("scale", "caught"), [(-1, True), (0, True), (1, False), (5, False), (6, True)])
def test_a_scale_is_1_to_5(scale: int, caught: bool) -> None:
    assert _row_ids("scale_outside_1_to_5", _pair("p1", scale=scale)) == (["p1"] if caught else [])


@pytest.mark.parametrize(
    ("split", "caught"), [("train", False), ("validation", False), ("test", False), ("dev", True), ("", True)]
)
def test_a_split_is_one_of_three(split: str, caught: bool) -> None:
    assert _row_ids("unknown_split", _pair("p1", split=split)) == (["p1"] if caught else [])


def test_a_good_pair_passes_every_check_and_no_pairs_do_too() -> None:
    for pairs in ([], [PAIR]):
        found = offending_all(CHECKS.values(), {"pairs": frame_of(Pair, pairs)})
        assert {name: frame.rows() for name, frame in found.items()} == {name: [] for name in CHECKS}


def test_every_pair_check_stops_what_follows() -> None:
    assert {name for name, check in CHECKS.items() if check.severity != "error" or not check.blocking} == set()


# Few values of each field, so that pairs meet: good questions, their exchange, and one offender of most kinds.
_KELSAY = ("Explain why Kelsay was right.", "Explain why Kelsay was wrong.")
_AGAIN = (RIGHT.replace(".", "?"), WRONG)
_QUESTIONS = [(RIGHT, WRONG), (WRONG, RIGHT), _AGAIN, _KELSAY, (RIGHT, RIGHT), ("", "Is it so?")]
_PAIRS = st.builds(
    lambda pair_id, section, page, split, snapshot, asked, scale: replace(
        PAIR,
        pair_id=pair_id,
        section_id=section,
        page_id=page,
        split=split,
        snapshot=snapshot,
        for_question=asked[0],
        against_question=asked[1],
        scale=scale,
    ),
    st.sampled_from("abcdefgh"),
    st.sampled_from("stuvw"),
    st.integers(1, 3),
    st.sampled_from(["train", "test"]),
    st.sampled_from(["sample-20260101", "sample-20260201"]),
    st.sampled_from(_QUESTIONS),
    st.sampled_from([0, 1, 1, 1]),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(_PAIRS, min_size=1, max_size=12))
def test_what_is_left_without_offending_rows_offends_no_check(pairs: Sequence[Pair]) -> None:
    frame = pl.concat([frame_of(Pair, [pair]) for pair in pairs])
    found = offending_all(CHECKS.values(), {"pairs": frame})
    gone = pl.concat(found.values())["row_id"]
    left = frame.filter(~pl.col("pair_id").is_in(gone.to_list()))
    again = offending_all(CHECKS.values(), {"pairs": left})
    assert {name: rows.rows() for name, rows in again.items()} == {name: [] for name in CHECKS}
