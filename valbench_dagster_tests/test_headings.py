"""Headings: the rules one by one (`wikitext/headings.toml`), where sections end, and laws that hold for any text."""

import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valbench_dagster.wikitext.blanking import EXTENSION_TAGS, GONE, MARKER, blank
from valbench_dagster.wikitext.headings import Heading, headings, section_end
from valbench_dagster.wikitext.link_names import link_names

CASES: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "wikitext" / "headings.toml").read_text(encoding="utf-8")
)["cases"]

# Pieces that wikitext is made of, so that what hypothesis joins is structure more often than noise.
PIECES = st.sampled_from(
    (
        *("\n", "=", "==", "===", " A ", "b", " ", "''", "'''", "{{", "}}", "{{{", "}}}", "[[", "]]", "[[File:", "|"),
        *(
            "{{!}}",
            "<!--",
            "-->",
            "<ref>",
            "<ref name=a>",
            "<ref name=a/>",
            "</ref>",
            "<nowiki>",
            "</nowiki>",
            "<",
            ">",
        ),
        *("<noinclude>", "</noinclude>", "<includeonly>", "</includeonly>", "__NOTOC__", "&amp;", "&#9;", "<span x>"),
        *("[http://a ", GONE, MARKER, "\r", "\u00a0", "é", "\U0001f600"),
    )
)
WIKITEXT = st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=80)


def shown(wikitext: str) -> list[str]:
    return [f"{heading.level} {heading.title}" for heading in headings(wikitext)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rule']}-{case['name'].replace(' ', '-')}")
def test_a_page_has_the_headings_a_reader_sees(case: dict[str, Any]) -> None:
    assert shown(case["text"]) == case["shown"]


def test_every_rule_of_the_list_has_a_case() -> None:
    assert {case["rule"] for case in CASES} == set(range(1, 21))
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("tag", EXTENSION_TAGS)
def test_the_inside_of_an_extension_tag_is_no_page_text(tag: str) -> None:
    assert shown(f"<{tag} a=b>\n== A ==\n</{tag.upper()} >\n== B ==") == ["2 B"]
    assert shown(f"<{tag}>\n== A ==\n</{tag}x>") == shown(f"<{tag}x>\n== A ==\n</{tag}>") == ["2 A"]


def test_offsets_name_the_line_and_what_follows() -> None:
    # "Lead.\n" is 6 characters; "== A ==" 7 more to 13; its line end stands at 13; "text\n" to 19; "=== B ===" to 28.
    page = "Lead.\n== A ==\ntext\n=== B ==="
    assert headings(page) == [Heading(1, 2, "A", 6, 13, 14), Heading(2, 3, "B", 19, 28, 28)]


def test_a_heading_line_begins_with_the_comment_before_it() -> None:
    page = "x\n<!-- a\nb -->== A ==<!-- c\nd -->\ny"
    [heading] = headings(page)
    assert page[heading.start : heading.end] == "<!-- a\nb -->== A ==<!-- c\nd -->"
    assert page[heading.body_start :] == "y"


# A 2, B 3, C 4, D 2, E 4, F 1, G 2: each ends before the next of its own or a smaller number.
LADDER = "== A ==\na\n=== B ===\nb\n==== C ====\nc\n== D ==\nd\n==== E ====\ne\n= F =\nf\n== G ==\ng"


@pytest.mark.parametrize(
    ("title", "ends_before"), [("A", "D"), ("B", "D"), ("C", "D"), ("D", "F"), ("E", "F"), ("F", None), ("G", None)]
)
def test_a_section_runs_to_the_next_heading_of_its_level_or_above(title: str, ends_before: str | None) -> None:
    found = headings(LADDER)
    place = {heading.title: i for i, heading in enumerate(found)}
    expected = found[place[ends_before]].start if ends_before else len(LADDER)
    assert section_end(found, place[title], len(LADDER)) == expected


def test_a_section_may_end_inside_a_table_or_a_div() -> None:
    page = "== A ==\n<div>\n{|\n| a\n== B ==\n|}\n</div>"
    found = headings(page)
    assert page[found[0].body_start : section_end(found, 0, len(page))] == "<div>\n{|\n| a\n"


def test_links_in_links_are_followed_to_a_depth_and_the_rest_is_text() -> None:
    # The outer 40 of 100 are followed. Their ends are the first 40 of the 100; the inner 60 stay text on both sides.
    title = "[[a|" * 100 + "b" + "]]" * 100
    assert shown(f"== {title} ==") == ["2 " + "[[a|" * 60 + "b" + "]]" * 60]


def test_a_picture_goes_by_the_wikis_own_name_for_files() -> None:
    page = "== [[Datei:A.svg|35px]] B [[Kategorie:C]] =="
    assert shown(page) == ["2 35px B Kategorie:C"]
    assert [heading.title for heading in headings(page, link_names({6: "Datei", 14: "Kategorie"}))] == ["B"]


@given(WIKITEXT)
@example("== {{a}}<nowiki>b</nowiki>[[File:{{c}}]]<ref>d</ref> ==")
def test_no_text_makes_it_fail_and_every_answer_is_within_bounds(wikitext: str) -> None:
    found = headings(wikitext)
    before = 0
    for place, heading in enumerate(found):
        assert heading.index == place + 1
        assert 1 <= heading.level <= 6
        assert before <= heading.start < heading.end <= heading.body_start <= len(wikitext)
        assert heading.title == " ".join(heading.title.split())
        assert heading.body_start <= section_end(found, place, len(wikitext)) <= len(wikitext)
        before = heading.body_start


@given(WIKITEXT)
def test_blanking_keeps_the_length_and_every_character_left_keeps_its_place(wikitext: str) -> None:
    blanked = blank(wikitext)
    assert len(blanked.text) == len(wikitext)
    inputs = wikitext.replace(GONE, "\ufffd").replace(MARKER, "?")
    assert all(was == now or now in (GONE, MARKER) for was, now in zip(inputs, blanked.text, strict=True))
    assert [start for start, _ in blanked.markers] == [i for i, sign in enumerate(blanked.text) if sign == MARKER]
    assert all(one[1] <= two[0] for one, two in zip(blanked.markers, blanked.markers[1:], strict=False))


REFERENCES = PIECES | st.sampled_from(["<ref>", "</ref>", "<ref/>", "<ref\n", "<ref a/b>", "</ref >", "/>", "x"])


@given(st.lists(REFERENCES, max_size=40).map("".join))
@example("<ref a><ref/></ref>b</ref>")
def test_a_reference_hides_the_same_in_whatever_letters_its_tag_is_written(wikitext: str) -> None:
    # Small letters are how nearly all are written; they are passed over faster.
    small, large = blank(wikitext), blank(wikitext.replace("ref", "REF"))
    assert (small.text, small.markers) == (large.text.replace("REF", "ref"), large.markers)


@given(WIKITEXT, WIKITEXT)
@example("== A ==\n<ref>", "</ref\n== B ==")
def test_headings_do_not_depend_on_what_follows_but_for_closing_marks(before: str, after: str) -> None:
    after = after.translate(dict.fromkeys(map(ord, "}]>"), "."))
    known = [heading for heading in headings(f"{before}\n{after}") if heading.start < len(before)]
    assert [(h.level, h.title, h.start) for h in known] == [(h.level, h.title, h.start) for h in headings(before)]


@given(st.text(alphabet="ab .=\n*:'é", max_size=60), WIKITEXT)
def test_headings_do_not_depend_on_plain_lines_before(before: str, after: str) -> None:
    prefix = f"{before}\n\n"
    shifted = [heading for heading in headings(prefix + after) if heading.start >= len(prefix)]
    assert [(h.level, h.title, h.start - len(prefix)) for h in shifted] == [
        (h.level, h.title, h.start) for h in headings(after)
    ]


@given(
    st.text(alphabet=st.characters(exclude_characters="\n\r\x1c\x1d\x1e\x85\u2028\u2029={}[]<>&'_-\0\x7f"), min_size=1)
)
def test_a_title_without_markup_is_shown_as_it_is_written(words: str) -> None:
    assert shown(f"x\n== {words} ==\ny") == [f"2 {' '.join(words.split())}"]


@given(WIKITEXT)
def test_what_is_shown_of_a_title_holds_no_sign_of_its_making(wikitext: str) -> None:
    assert all(GONE not in heading.title and MARKER not in heading.title for heading in headings(wikitext))


HOSTILE = (
    *("{{", "{{a|", "{{{a|", "[[", "[[a|", "-{", "<ref", "<ref ", "<ref name=x>", "<nowiki>", "<includeonly>", "<!--"),
    *(
        "{{a|\n==",
        "\n== [[",
        "\n=",
        "=",
        "}}",
        "]]",
        "{{!}}",
        "== ''",
        "== &amp",
        "[http://a ",
        "<span ",
        "[[<",
        "'''a''",
    ),
    *("<math>{{", "<ref></ref", "{|\n|", "== a ==\n", "__NOTOC__=", "== a \t "),
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_two_hundred_kilobytes_of_openers_take_no_longer_than_prose_would(unit: str) -> None:
    # About 0.1 s each; what grows with the square takes minutes, so that a busy machine cannot blur the difference.
    size = 200_000
    many = size // len(unit)
    in_title = unit.replace("\n", "")
    started = time.process_time()
    for page in (unit * many, f"== {in_title * many} ==", unit * (many // 2) + "}}]]" * (size // 8)):
        assert len(headings(page)) <= size
    assert time.process_time() - started < 5


def test_the_end_of_a_tag_is_looked_for_once() -> None:
    # 4 MB, about half a second; looking again for each of the 800,000 tags would read 1.6 TB.
    started = time.process_time()
    assert headings("<ref " * 800_000) == []
    assert time.process_time() - started < 10
