"""Laws of wikitext for any text: what stands elsewhere on a page changes no heading but by the rules that say so, prose
outside of markup survives however the markup nests, and twice the text takes twice the steps.
"""

import re
import sys
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valbench_dagster.dumps.namespaces import ENGLISH_NAMESPACES
from valbench_dagster.wikitext.headings import headings
from valbench_dagster.wikitext.plain_text import ParserGaveUp, link_names, plain_text

NAMES = link_names(ENGLISH_NAMESPACES)

SIGNS = (
    *("\n", "\n=", "=", "==", "=== ", " ===", "\n== A ==\n", "a", " ", "''", "'''", "{", "}", "{{", "}}", "{{{", "}}}"),
    *(
        "[",
        "]",
        "[[",
        "]]",
        "[[File:",
        "|",
        "{{a}}",
        "{{a|b=c}}",
        "[[a|b]]",
        "[[a\n]]",
        "<!--",
        "-->",
        "<",
        ">",
        "<br>",
    ),
    *("<ref>", "<ref name=a>", "<ref name=a/>", "</ref>", "<nowiki>", "</nowiki>", "<noinclude>", "</noinclude>"),
    *("<includeonly>", "</includeonly>", "__NOTOC__", "&amp;", "-{", "}-", "[http://a ", "{|\n", "\n|}", "\n* ", "é"),
)
WIKITEXT = st.lists(st.sampled_from(SIGNS), max_size=50).map("".join)


def found(wikitext: str, at: int = 0) -> list[tuple[int, str, int]]:
    """Level, title and start of each heading of a text that begins at `at`."""
    return [(heading.level, heading.title, at + heading.start) for heading in headings(wikitext)]


# What follows. A heading is hidden by something that opens before it and closes behind it: a tag by its `>` and its
# end tag (rules 10 and 11), braces by `}}` (rule 12). A comment without end hides all behind it, so that its end
# changes nothing before it (rule 9), and links hide nothing (rules 13 and 14).


@given(WIKITEXT, WIKITEXT)
@example("{{a|[[b\n== A ==", "]]\n]]")
@example("== A ==\n<!--\n== B ==", "--\n== C ==")
@example("<ref\n== A ==", "/ref<ref")
def test_what_follows_changes_no_heading_unless_it_closes_a_tag_or_braces(before: str, after: str) -> None:
    after = after.replace("}", "} ").replace(">", ".")
    together = [heading for heading in found(f"{before}\n{after}") if heading[2] < len(before)]
    assert together == found(before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<nowiki>\n== A ==", "</nowiki>"),  # 10: the end tag
        ("x<ref name=y>\n== A ==", "<ref>z</ref>"),  # 11: the end tag of another reference
        ("<ref name=x\n== A ==", ">y</ref>"),  # 10: the end of the tag itself, and the end tag
        ("{{a|\n== A ==", "}}"),  # 12: closing braces
        ("{{{a|\n== A ==", "}}}"),  # 12: of a parameter
    ],
)
def test_what_closes_a_tag_or_braces_hides_a_heading_before_it(before: str, after: str) -> None:
    assert [title for _, title, _ in found(before)] == ["A"]
    assert found(f"{before}\n{after}") == []


@pytest.mark.parametrize(
    ("before", "after"), [("== A ==\n<!--\n== B ==", "-->"), ("[[a\n== A ==", "]]"), ("-{\n== A ==", "}-")]
)
def test_the_end_of_a_comment_or_a_link_hides_no_heading_before_it(before: str, after: str) -> None:
    assert [title for _, title, _ in found(before)] == ["A"]
    assert [title for _, title, _ in found(f"{before}\n{after}")] == ["A"]


@given(WIKITEXT, WIKITEXT)
def test_what_stands_before_changes_no_heading_unless_it_opens_something(before: str, after: str) -> None:
    before = before.replace("{{", "{ ").replace("[[", "[ ").replace("<", "(")
    assert found(f"{before}\n{after}") == found(before) + found(after, len(before) + 1)


# Pieces of markup that close what they open, with anything inside of tags and comments, where it is no page text.

NO_PAGE_TEXT = st.lists(
    st.sampled_from(("{{", "}}", "[[", "]]", "\n== A ==\n", "<!-", "<pre>", "a", "=")), max_size=4
).map("".join)
CLOSED = st.recursive(
    st.sampled_from(("a", "b, c", "''d''", "[e]", "{f}", "<br>", "<ref name=g/>", "g < h > i"))
    | NO_PAGE_TEXT.map(lambda text: f"<!-- {text} -->")
    | NO_PAGE_TEXT.map(lambda text: f"<ref>{text}</ref>")
    | NO_PAGE_TEXT.map(lambda text: f"<NoWiki a=b>{text}</nowiki >"),
    lambda inner: st.builds(
        lambda form, parts: form.format(" ".join(parts)),
        st.sampled_from(("{{{{t|{}}}}}", "{{{{t|\n u = {}\n}}}}", "[[L|{}]]", "{{{{{{p|{}}}}}}}", "{}")),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)
LINES = st.lists(st.tuples(st.sampled_from((0, 0, 1, 2, 6)), CLOSED), max_size=6)


def written(lines: list[tuple[int, str]]) -> str:
    """Lines of prose (0) and headings (1 to 6) that hold pieces of closed markup."""
    return "\n".join(f"p {piece}" if not level else f"{'=' * level} {piece} {'=' * level}" for level, piece in lines)


@given(LINES)
def test_closed_markup_hides_and_makes_no_heading(lines: list[tuple[int, str]]) -> None:
    assert [level for level, _, _ in found(written(lines))] == [level for level, _ in lines if level]


@given(LINES, WIKITEXT)
def test_behind_closed_markup_a_page_has_the_headings_it_has_alone(lines: list[tuple[int, str]], after: str) -> None:
    before = written(lines)
    assert found(f"{before}\n{after}") == found(before) + found(after, len(before) + 1)


# Prose. A tree of markup with the words that a reader sees of it, in order: words are of letters, and nothing else that
# is shown is.

Seen = tuple[str, tuple[str, ...]]


def _around(form: str, *, hides: bool) -> Callable[[list[Seen]], Seen]:
    def wrapped(parts: list[Seen]) -> Seen:
        words = () if hides else tuple(word for _, seen in parts for word in seen)
        return form.format(" ".join(text for text, _ in parts)), words

    return wrapped


def _markup(inner: st.SearchStrategy[Seen]) -> st.SearchStrategy[Seen]:
    parts = st.lists(inner, max_size=3)
    shows = (
        "{{{{nowrap|1={}}}}}",
        "''{}''",
        "<small>{}</small>",
        "{{{{lang|fr|text={}}}}}",
        "{{{{{{p|{}}}}}}}",
        "( {} )",
    )
    hides = (
        "{{{{zz|{}}}}}",
        "{{{{zz\n| z = {}\n}}}}",
        "[[File:Z.jpg|thumb|{}]]",
        "\n{{|\n| {}\n|}}\n",
        "[[Category:{}]]",
    )
    return st.one_of(
        *(parts.map(_around(form, hides=False)) for form in shows),
        *(parts.map(_around(form, hides=True)) for form in hides),
    )


WORD = st.text("abcdefghij", min_size=1, max_size=5).map(lambda word: (word, (word,)))
LINK = st.text("abcdefghij", min_size=1, max_size=5).map(lambda word: (f"[[Z|{word}]]", (word,)))
NOTHING: st.SearchStrategy[Seen] = st.sampled_from(
    [
        (text, ())
        for text in ("<!-- zz -->", "<ref name=z/>", "<math>zz</math>", "{{zz}}", "<gallery>\nZ.jpg|zz\n</gallery>")
    ]
)
TREE = st.recursive(WORD | LINK | NOTHING, _markup, max_leaves=12)
PAGE = st.lists(
    TREE
    | TREE.map(lambda piece: (f"<ref>{piece[0]}</ref>", ()))
    | TREE.map(lambda piece: (f"\n* {piece[0]}\n", piece[1])),
    max_size=6,
)


@given(PAGE, st.sampled_from((None, True, False)))
def test_no_nesting_of_markup_loses_prose_outside_of_it(page: list[Seen], with_parser: bool | None) -> None:
    shown = plain_text(" ".join(text for text, _ in page), NAMES, with_parser=with_parser)
    assert re.findall("[a-z]+", shown) == [word for _, words in page for word in words]


# Time, as the count of calls: of functions of Python and of C. It does not depend on how busy the machine is.


def calls(function: Callable[[str], object], text: str) -> int:
    """How many calls `function` makes on `text`."""
    count = 0

    def counted(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    profiler = sys.getprofile()
    sys.setprofile(counted)
    try:
        function(text)
    finally:
        sys.setprofile(profiler)
    return count


def shown_or_given_up(wikitext: str) -> object:
    try:
        return plain_text(wikitext, NAMES)
    except ParserGaveUp as error:
        return error


UNIT = st.lists(st.sampled_from(SIGNS), min_size=1, max_size=6).map("".join)


@pytest.mark.parametrize("function", [headings, shown_or_given_up])
@settings(max_examples=60)
@given(unit=UNIT)
@example(unit="{{a|")
@example(unit="[[a|")
@example(unit="<ref ")
@example(unit="== [[a")
@example(unit="{{a|[[")
def test_twice_the_text_takes_twice_the_steps(function: Callable[[str], object], unit: str) -> None:
    for text in (unit, unit.replace("\n", "")):  # the second is one line
        once, twice = calls(function, text * 150), calls(function, text * 300)
        assert twice <= 2.2 * once + 500


def test_steps_that_grow_with_the_square_would_be_seen() -> None:
    def search(text: str) -> None:
        for at in range(len(text)):
            for _ in range(at):
                len(text)

    assert calls(search, "a" * 300) > 3 * calls(search, "a" * 150)
