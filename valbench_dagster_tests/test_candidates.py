"""The quick test for pages that may have a matching heading: it may say yes too often, never no too often."""

import re
import sys
from html import escape
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valbench_dagster.wikitext.candidates import BLOCK_BYTES, MOST_TRIED, Candidates
from valbench_dagster.wikitext.headings import headings
from valbench_dagster.wikitext.keywords import fold, required_letters
from valbench_dagster.wikitext.link_names import link_names
from valbench_dagster.wikitext.patterns import Patterns, load_patterns

NAMES = link_names({})
ENGLISH = load_patterns("enwiki")


def page(wikitext: str) -> bytes:
    """A page's XML around its text, escaped as MediaWiki does it."""
    text = escape(wikitext, quote=True).replace("&#x27;", "'")
    return f'<page><text bytes="1" xml:space="preserve">{text}</text></page>'.encode()


def patterns(*regexes: str) -> Patterns:
    return Patterns("xx", tuple(re.compile(each, re.IGNORECASE) for each in regexes))


def is_candidate(wikitext: str, wanted: Patterns = ENGLISH) -> bool:
    xml, candidates = page(wikitext), Candidates(wanted, NAMES)
    return bool(candidates.places(xml)) or candidates.opens(xml, xml.index(b'preserve">') + 10)


@pytest.mark.parametrize(
    ("regex", "letters"),
    [
        (r"\bCriticism?s?\b", "criticis"),  # the m may be missing
        (r"\bControvers(?:y|ies)\b", "controvers"),
        (r"\bLegal (issues|challenges)\b", "legal"),  # which of the two is not known
        (r"\bPrice[ -]?fixing\b", "fixing"),
        (r"\bab+c\b", "ab"),  # abbbc: b and c need not touch the first b
        (r"\bKritik|Streit\b", None),
        (r"(?:a|b)c{2}", None),  # c{2} is taken for something that may be missing
        (r"\x41bc", None),
        (r"(?i)abc", None),
        (r"[abc]+", None),
        (r"критика", "критика"),
        (r"Straße", "strasse"),
        (r"x(?!y)z", None),
        (r"\(abc\)", "abc"),
        (r"[]a]bcd", "bcd"),
    ],
)
def test_letters_that_every_match_holds_are_read_off_a_pattern(regex: str, letters: str | None) -> None:
    assert required_letters(regex) == letters


@given(data=st.data(), regex=st.sampled_from([pattern.pattern for pattern in ENGLISH.compiled]))
def test_no_match_of_a_shipped_pattern_lacks_its_letters(data: st.DataObject, regex: str) -> None:
    match = data.draw(st.from_regex(re.compile(regex, re.IGNORECASE)))
    letters = required_letters(regex)
    assert letters is not None
    assert letters in fold(match)


def test_folding_makes_equal_whatever_ignoring_case_takes_for_equal() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isalpha()]
    cased = [sign for sign in every if len({sign, sign.lower(), sign.upper(), sign.title()}) > 1]
    for sign in cased:
        pattern = re.compile(sign, re.IGNORECASE)
        for other in {sign.lower(), sign.upper(), sign.title(), sign.casefold(), "i", "s", "k", "ß", "σ", "ς", "µ"}:
            if len(other) == 1 and pattern.fullmatch(other):
                assert fold(other) == fold(sign), (sign, other)


@pytest.mark.parametrize(
    "wikitext",
    [
        "== Criticism ==",
        "a\n==CRITICISM==\nb",
        "a\n== Cri''tici''sm ==\n",
        "a\n== [[Cri|Criti]]cism ==\n",
        "a\n== Crit[http://a.org icism] ==\n",
        "a\n== ''Criti''[[A|cism]] ==\n",
        "a\n== &#67;&#114;&#105;&#116;&#105;&#99;&#105;&#115;&#109; ==\n",
        "a\n== &#67;riticism ==\n",
        "a\n== Critic&shy;&#105;sm of Criticism ==\n",
        "a\n== Critici<!-- x -->sm ==\n",
        "a\n== A <!--\n--> and Criticism ==\n",
        "a\n<!-- x\ny -->== Criticism ==\n",
        "a\n__NOTOC__== Criticism ==\n",
        "<noinclude>== Criticism ==</noinclude>",
        "a\n== Critic{{x\n|y}}ism and Criticism ==\n",
        "a\n= Critici\u017fm =\n",  # a long s, which is an s where case is ignored
        "a\n== <span>Crit</span>icism ==\n",
        "a\n== A }} {{ B\nx}} Criticism ==\n",  # as many braces close as open, and yet one goes on
        "a\n== A <ref\nname=x /> Criticism ==\n",
        "a\n== A <includeonly>\n</includeonly> Criticism ==\n",
        'a\n<!-- ="b" -->== Crit[[icism]] ==\n',
        "a\n<!--" + ">=" * MOST_TRIED + "-->== Crit[[icism]] ==\n",  # more places on one line than are tried
    ],
)
def test_a_heading_that_matches_in_an_unusual_way_is_a_candidate(wikitext: str) -> None:
    assert is_candidate(wikitext)


@pytest.mark.parametrize(
    "wikitext",
    [
        "Criticism of it is old.",
        "a\n== History ==\nCriticism\n== ''See also'' ==\n== [[A|B]] & C ==\n",
        "{{Infobox|criticism=yes}}\n== References ==\n",
        "a\n== A <!-- linked from X --> ==\n== B {{anchor|C}} ==\n== D<ref>E</ref> & <small>F</small> ==\n",
        "a\n== Legal status ==\n== Rights of ''way'' ==\n",  # letters of "Legal issues" and "Human rights", no more
        'a\n__NOTOC__= Debated ==\n<ref name="Debate"/>= b\n',
    ],
)
def test_a_page_without_a_matching_heading_is_spared(wikitext: str) -> None:
    assert not is_candidate(wikitext)


def test_a_heading_is_found_wherever_it_stands_in_much_text() -> None:
    # The text is searched block by block: the line is tried at every place around the border of two blocks.
    line, candidates = b"\n== Criticism ==\n", Candidates(ENGLISH, NAMES)
    for before in range(BLOCK_BYTES - 2 * len(line), BLOCK_BYTES + 3):
        assert candidates.places(b"." * before + line + b"." * 50) == [before + 1]
        assert candidates.places(b"." * before + b"&#61;" + b"." * 50) == [before]


def test_a_pattern_without_sure_letters_makes_every_heading_a_candidate() -> None:
    assert is_candidate("a\n== Zzz ==\n", patterns("[a-c]x|y"))
    assert not is_candidate("no heading at all", patterns("[a-c]x|y"))


def test_a_character_reference_of_xml_is_never_judged_by_its_look() -> None:
    places = Candidates(ENGLISH, NAMES).places(b"<page><text>a&#10;=&#61; Criticism ==</text></page>")
    assert {13, 19} <= set(places)


PIECES = st.sampled_from(
    [
        *("=", "==", "\n", "\n==", "==\n", " ", "crit", "icism", "Criticism", "''", "'''", "[[", "]]", "|", "{{", "}}"),
        *("<!--", "-->", "<nowiki>", "</nowiki>", "<nowiki/>", "<ref>", "</ref>", "<includeonly>", "</includeonly>"),
        *("<noinclude>", "</noinclude>", "__NOTOC__", "__TOC__", "&#67;", "&shy;", "&amp;", "-{", "}-", "{|", "|}"),
        *("[http://a.org ", "]", "<b>", "</b>", "<br>", "File:x.jpg", "Category:x", "{{!}}", "é", "\u017f", "a"),
        *('"', ">", ">=", "legal", " issues"),
    ]
)


@given(text=st.lists(PIECES, max_size=24).map("".join))
@example(text="==Crit{{a|b}}icism==")
@example(text="[[\n==Crit[[icism|]]==")
@example(text="-{\n==Crit}-icism==")
def test_whatever_matches_by_the_exact_rules_is_a_candidate(text: str) -> None:
    found = [heading.title for heading in headings(text, NAMES)]
    if any(ENGLISH.match(title) for title in found):
        assert is_candidate(text)


# Lines that look like headings, full of what is looked for: each was, or could be, quadratic.
CROWDED = (
    "\n=" + "debate " * 40_000,
    "\n=debate" * 40_000,
    "\n=" + "a'' " * 60_000,
    "\n=" + "[[a|b]] " * 40_000,
    "\n=a{{b" * 40_000,
    "\n" + ">=" * 60_000,
    "\n" + "__=" * 60_000,
    "\n" + ">=a'' b" * 30_000,
    "\n" + "-->== a {{ ==" * 20_000,
)


@pytest.mark.parametrize("wikitext", CROWDED)
def test_a_crowded_page_takes_time_linear_in_its_length(wikitext: str) -> None:
    def seconds(text: str) -> float:
        xml, candidates = page(text), Candidates(ENGLISH, NAMES)
        began = process_time()
        candidates.places(xml)
        return process_time() - began

    # Quadratic time would be 16 times as much, and minutes for the whole.
    once = min(seconds(wikitext[: len(wikitext) // 4]) for _ in range(2))
    assert seconds(wikitext) < 10 * once + 1
