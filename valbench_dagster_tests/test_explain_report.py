"""Explanations on a terminal and as JSON: readable at every width, and nothing of a stranger's text is obeyed."""

import json
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from valbench_dagster.dumps.pages import Page, SiteInfo
from valbench_dagster.report.explanation import MOST_LINES, NARROWEST, SIDE_BY_SIDE, as_json, terminal
from valbench_dagster.stages.explanation import PageExplanation, explain_page
from valbench_dagster.stages.sections import Limits, site_of
from valbench_dagster.wikitext.patterns import load_patterns
from valbench_dagster.wikitext.plain_text import LinkNames, ParserGaveUp

SNAPSHOT = "enwiki-20261101"
SITE = site_of(SiteInfo(dbname="enwiki", base="https://en.wikipedia.org/wiki/Main_Page"), SNAPSHOT)
PATTERNS = load_patterns("enwiki")
BODY = "The '''council''' says that the bridge saved the harbour and its trade for the town."
SHOWN = "The council says that the bridge saved the harbour and its trade for the town."


def explain(text: str | None, *, title: str = "Example Bridge", limits: Limits | None = None) -> PageExplanation:
    page = Page(7, 0, title, False, 1001, "2026-10-30T12:00:00Z", "wikitext", text, None, None)
    return explain_page(page, SITE, PATTERNS, limits or Limits(min_chars=1), SNAPSHOT)


def columns(line: str) -> int:
    """The columns a terminal takes for a line: two for the wide characters of East Asia, none for what combines."""
    kinds = [(unicodedata.category(each), unicodedata.east_asian_width(each)) for each in line]
    return sum(0 if category in ("Mn", "Me", "Cf") else 1 + (width in "WF") for category, width in kinds)


def test_a_wide_terminal_has_a_table_and_the_texts_side_by_side() -> None:
    shown = terminal(explain(f"== History ==\n=== Criticism ===\n{BODY}\n==== Lawsuits ====\nx"), 80)
    # Columns of the table: 1, 2, what is left of 80 - 1 - 10 - 6 = 63: the longest heading is 17 wide, 46 for why;
    # those of the texts: (80 - 3) // 2 = 38.
    assert (
        shown
        == rf"""Example Bridge
enwiki, page 7, 38 patterns of 'en', revision of 2026-10-30T12:00:00Z
https://en.wikipedia.org/w/index.php?oldid=1001

kept: 2 of its 3 headings match one of the 38 patterns of 'en'; sections kept:
1.

#  heading            status      why
1  == History         no pattern
2    === Criticism    kept        Matches \bCriticism?s?\b; all 91 characters of
                                  its text are kept.
3      ==== Lawsuits  inside 2    Matches \bLawsuits?\b, but is part of the
                                  section of heading 2, 'Criticism' (kept), not
                                  one of its own.

{"─" * 80}
2  History > Criticism: kept, section {explain_id(shown)}

wikitext, 105 characters               │ text, 91 characters
-------------------------------------- │ --------------------------------------
The '''council''' says that the bridge │ The council says that the bridge saved
saved the harbour and its trade for    │ the harbour and its trade for the
the town.                              │ town.
==== Lawsuits ====                     │
x                                      │ Lawsuits
                                       │
                                       │ x"""
    )


def explain_id(shown: str) -> str:
    return shown.partition(", section ")[2][:32]


def test_a_narrow_terminal_has_a_list_and_the_texts_under_each_other() -> None:
    shown = terminal(explain(f"== History ==\n=== Criticism ===\n{BODY}"), 50)
    assert "\n1  == History: no pattern\n2    === Criticism: kept\n    Matches " in shown
    assert "│" not in shown
    assert shown.index("wikitext, 84 characters\n" + "-" * 50) < shown.index(f"text, {len(SHOWN)} characters\n---")


def test_a_page_that_was_not_looked_into_has_a_sentence_and_no_table() -> None:
    assert terminal(explain(None), 100).splitlines()[3:] == ["", "empty_or_hidden: Its text is hidden or absent."]


def test_a_section_without_text_says_whether_it_is_known() -> None:
    def gives_up(wikitext: str, names: LinkNames) -> str:
        raise ParserGaveUp("too deep")

    page = Page(7, 0, "A", False, 1, "2026-10-30T12:00:00Z", "wikitext", "== Fraud ==\nx", None, None)
    unknown = explain_page(page, SITE, PATTERNS, Limits(), SNAPSHOT, gives_up)
    assert "text: not known" in terminal(unknown, 100)
    assert "text, 0 characters" in terminal(explain("== Fraud ==\n{{x}}"), 100)


def test_a_long_text_is_cut_with_a_note_unless_it_is_asked_for() -> None:
    # Each number is a line of wikitext; as a paragraph of text they fill ten lines or so, which are not cut.
    wikitext = "\n".join(map(str, range(100, 200)))
    short, full = (terminal(explain(f"== Fraud ==\n{wikitext}"), 100, full=full) for full in (False, True))
    assert f"{99 + MOST_LINES} " in short
    assert f"{100 + MOST_LINES} " in short  # in the text, which is whole
    assert f"\n{100 + MOST_LINES} " not in short
    assert f"… {100 - MOST_LINES} more lines: --full shows them" in short
    assert "--full" not in full
    assert all(f"\n{number} " in full for number in range(100, 200))


def test_a_section_that_was_cut_says_how_much_is_kept() -> None:
    shown = terminal(explain("== Fraud ==\n" + "word " * 30, limits=Limits(1, 50)), 100)
    assert "text, 149 characters, the first 49 kept" in shown
    assert " kept, cut " in shown


def test_wide_characters_take_two_columns() -> None:
    shown = terminal(explain("== Criticism 橋 ==\n" + "長い橋" * 40), 80)
    rows = [line for line in shown.splitlines() if " │ " in line]
    assert {columns(line.partition("│")[0]) for line in rows} == {39}
    assert all(columns(line) <= 80 for line in shown.splitlines())


HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\x00\x08\r\u202e\u2066\u2028\u200e\u200b\ufeff\x7f\x85\u061c\t"
OBEYED = set(HOSTILE) - set("[2J]0;owned31m")


@pytest.mark.parametrize("width", [NARROWEST, 100])
def test_nothing_that_a_terminal_obeys_gets_through(width: int) -> None:
    text = f"== {HOSTILE}Criticism ==\n{BODY}{HOSTILE}"
    shown = terminal(explain(text, title=f"A{HOSTILE}"), width, full=True)
    assert not OBEYED & set(shown)
    assert "A␛[2J␛]0;owned␇<U+009B>31m" in shown
    assert "<U+202E>" in shown


def test_json_escapes_what_a_terminal_obeys_and_keeps_every_value() -> None:
    explanation = explain(f"== Fraud ==\n{BODY}{HOSTILE}", title=f"A{HOSTILE}")
    text = as_json(explanation)
    assert not OBEYED & set(text)
    assert TypeAdapter(PageExplanation).validate_json(text) == explanation
    assert orjson.loads(text) == json.loads(text)


def test_the_keys_of_the_json_are_these() -> None:
    # Others read them: one that changes its name or goes breaks what they wrote.
    document = json.loads(as_json(explain("== Fraud ==\nx")))
    assert " ".join(document) == (
        "wiki language patterns min_chars max_chars title page_id namespace model revision_id revision_time url "
        "reason why headings"
    )
    assert " ".join(document["headings"][0]) == (
        "index level title path pattern status inside why wikitext wikitext_chars text text_chars section_id"
    )


TEXTS = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("= \n橋\u0301{}[]'")), max_size=300)


@given(st.lists(st.tuples(st.integers(1, 6), TEXTS, TEXTS), max_size=4), TEXTS, st.integers(1, 200), st.booleans())
def test_no_line_is_wider_than_the_terminal_and_none_holds_a_control_character(
    blocks: list[tuple[int, str, str]], title: str, width: int, full: bool
) -> None:
    text = "\n".join(
        f"{'=' * level} Criticism {' '.join(head.split())} {'=' * level}\n{body}" for level, head, body in blocks
    )
    explanation = explain(text, title=title)
    lines = terminal(explanation, width, full=full).split("\n")
    assert max(map(columns, lines)) <= max(width, NARROWEST)
    assert not [each for line in lines for each in line if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
    assert TypeAdapter(PageExplanation).validate_json(as_json(explanation)) == explanation


@given(TEXTS, st.integers(NARROWEST, SIDE_BY_SIDE - 1))
def test_wrapping_loses_nothing_but_blanks(body: str, width: int) -> None:
    explanation = explain(f"== Fraud ==\n{body}")
    text = explanation.headings[0].text or ""
    if text.isprintable():  # what is not has signs instead
        assert "".join(text.split()) in "".join(terminal(explanation, width, full=True).split())
