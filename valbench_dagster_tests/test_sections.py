"""Sections: which are cut out of a page, what they hold, what they are called, and that nothing is left uncounted."""

from collections import Counter
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.dumps.pages import Page, SiteInfo
from valbench_dagster.records import Section
from valbench_dagster.stages.sections import (
    PAGE_REASONS,
    SECTION_REASONS,
    Limits,
    MinedPage,
    Tally,
    ToText,
    mine_page,
    site_of,
)
from valbench_dagster.wikitext.patterns import load_patterns
from valbench_dagster.wikitext.plain_text import LinkNames, ParserGaveUp, plain_text

SNAPSHOT = "enwiki-20261101"
SITE = site_of(SiteInfo(dbname="enwiki", base="https://en.wikipedia.org/wiki/Main_Page"), SNAPSHOT)
PATTERNS = load_patterns("enwiki")
NO_LIMITS = Limits(min_chars=1, max_chars=1_000_000)

BRIDGE = "Residents say the bridge ruined the bay, while the council says that it saved the harbour and its trade."


def page(text: str | None, **changes: object) -> Page:
    plain = Page(
        page_id=7,
        namespace=0,
        title="Example Bridge",
        redirect=False,
        revision_id=1001,
        revision_time="2026-10-30T12:00:00Z",
        model="wikitext",
        text=text,
        text_bytes=None,
        sha1=None,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # each change is a field's name with its own type


def mine(text: str, limits: Limits = NO_LIMITS, to_text: ToText = plain_text, **changes: object) -> MinedPage:
    return mine_page(page(text, **changes), SITE, PATTERNS, limits, SNAPSHOT, to_text)


def paths(mined: MinedPage) -> list[tuple[str, ...]]:
    return [section.heading_path for section in mined.sections]


def reasons(mined: MinedPage) -> list[tuple[str | None, str]]:
    return [(drop.heading, drop.reason) for drop in mined.drops]


def test_a_kept_section_says_where_it_came_from() -> None:
    [section] = mine(f"Lead.\n== History ==\nOld.\n=== Planning dispute ===\n{BRIDGE}\n== See also ==\n* x").sections
    assert replace(section, section_id="", text_hash="") == Section(
        snapshot=SNAPSHOT,
        section_id="",
        wiki="enwiki",
        page_id=7,
        heading_index=2,
        revision_id=1001,
        revision_time="2026-10-30T12:00:00Z",
        title="Example Bridge",
        heading_path=("History", "Planning dispute"),
        level=3,
        pattern=r"\bDisputes?\b",
        text=BRIDGE,
        text_hash="",
        ordinal=0,
        cut=False,
        url="https://en.wikipedia.org/w/index.php?oldid=1001",
    )


@pytest.mark.parametrize(
    ("reason", "text", "changes"),
    [
        ("other_namespace", "== Criticism ==\nx", {"namespace": 1, "redirect": True, "model": "json"}),
        ("redirect", "#REDIRECT [[A]]\n== Criticism ==\nx", {"redirect": True, "model": "json"}),
        ("other_content_model", "== Criticism ==\nx", {"model": "json"}),
        ("other_content_model", None, {"model": "json"}),
        ("empty_or_hidden", None, {}),
        ("empty_or_hidden", "", {}),
        ("empty_or_hidden", " \n", {}),
        ("no_matching_heading", "Criticism of all kinds, in no heading.", {}),
        ("no_matching_heading", "== History ==\n<!--\n== Criticism ==\n-->", {}),
        ("kept", "== Criticism ==\nx", {}),
    ],
)
def test_a_page_is_counted_under_the_first_reason_that_holds(
    reason: str, text: str | None, changes: dict[str, object]
) -> None:
    assert mine_page(page(text, **changes), SITE, PATTERNS, NO_LIMITS, SNAPSHOT).reason == reason


def test_a_match_inside_a_kept_section_is_not_kept_twice() -> None:
    mined = mine(
        "== Criticism ==\na\n=== Legal issues ===\nb\n==== Lawsuits ====\nc\n== History ==\nd\n=== Fraud ===\ne"
    )
    assert paths(mined) == [("Criticism",), ("History", "Fraud")]
    assert [part in mined.sections[0].text for part in ("Legal issues", "Lawsuits", "c", "d")] == [True] * 3 + [False]


def test_a_subsection_is_kept_where_only_its_own_heading_matches() -> None:
    assert paths(mine("= A =\n== B ==\n=== Criticism ===\na\n=== C ===\nb")) == [("A", "B", "Criticism")]


def test_levels_that_skip_or_rise_make_the_path_of_those_it_stands_under() -> None:
    # Protests (3) stands under A (2) only, as B (5) is deeper; Fraud (1) stands under nothing.
    mined = mine("== A ==\n===== B =====\n=== Protests ===\na\n= Fraud =\nb\n====== Abuse ======\nc")
    assert paths(mined) == [("A", "Protests"), ("Fraud",)]
    assert [section.level for section in mined.sections] == [3, 1]


def test_a_section_with_markup_in_its_heading_is_matched_as_it_is_shown() -> None:
    [section] = mine("== '''Legal'''&nbsp;[[Lawsuit|issues]]<ref>Criticism</ref> ==\na").sections
    assert section.heading_path == ("Legal issues",)
    assert section.pattern == r"\bLegal (issues|challenges)\b"


def test_text_is_cut_at_the_last_paragraph_within_the_limit() -> None:
    # Paragraphs of 30 characters, a blank line between each: 30, 62, 94. Of 80 characters two paragraphs fit.
    one, two, three = "a" * 30, "b" * 30, "c" * 30
    mined = mine(f"== Criticism ==\n{one}\n\n{two}\n\n{three}", Limits(min_chars=1, max_chars=80))
    [section] = mined.sections
    assert (section.text, section.cut) == (f"{one}\n\n{two}", True)
    assert [(drop.reason, drop.detail) for drop in mined.drops] == [
        ("cut", "94 characters, of which the first 62 are kept")
    ]


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("one two three", 9, "one two"),
        ("one two three", 7, "one two"),
        ("onetwothree", 5, "onetw"),
        ("abcd e\nf", 6, "abcd e"),
        ("one\n\ntwo", 5, "one"),
        ("one\n\ntwo", 8, "one\n\ntwo"),
        ("* one\n* two\n* three", 12, "* one\n* two"),
        ("See X.\n\n" + "word " * 9, 30, "See X.\n\nword word word word"),  # the first paragraph is under half of 30
    ],
)
def test_a_paragraph_that_fills_the_limit_is_cut_at_a_word(text: str, limit: int, kept: str) -> None:
    [section] = mine("== Criticism ==\nx", Limits(1, limit), lambda wikitext, names: text).sections
    assert (section.text, section.cut) == (kept, kept != text)


def test_text_below_the_limit_is_dropped_and_text_at_the_limit_is_kept() -> None:
    text = f"== Criticism ==\n{'a' * 9}\n== Lawsuits ==\n{'b' * 10}"
    mined = mine(text, Limits(min_chars=10, max_chars=10))
    assert (paths(mined), reasons(mined)) == ([("Lawsuits",)], [("Criticism", "too_short")])
    assert mined.drops[0].detail == "9 characters; at least 10 are wanted"
    assert (mined.reason, mined.drops[0].page_id, mined.drops[0].heading_index) == ("kept", 7, 1)


@pytest.mark.parametrize("body", ["", "\n\n", "<!-- nothing yet -->", "{{empty section}}"])
def test_a_section_that_shows_nothing_is_dropped(body: str) -> None:
    mined = mine(f"== Criticism =={'' if body.startswith('<') else chr(10)}{body}")
    assert (mined.reason, paths(mined), reasons(mined)) == ("kept", [], [("Criticism", "no_text_left")])


def gives_up_on_long(wikitext: str, names: LinkNames) -> str:
    if len(wikitext) > 40:
        raise ParserGaveUp("too deep")
    return plain_text(wikitext, names)


def test_where_the_parser_gave_up_on_a_section_those_inside_are_tried_for_themselves() -> None:
    mined = mine(f"== Criticism ==\n{'x ' * 30}\n=== Fraud ===\na", to_text=gives_up_on_long)
    assert (mined.reason, paths(mined), reasons(mined)) == (
        "kept",
        [("Criticism", "Fraud")],
        [("Criticism", "parser_gave_up")],
    )
    assert mined.drops[0].detail == "too deep; 76 characters of wikitext"


def test_ids_are_stable_under_a_new_snapshot_and_a_new_revision() -> None:
    text = f"== History ==\nold\n=== Criticism ===\n{BRIDGE}"
    [old] = mine(text).sections
    changed = page(f"A new lead.\n{text.replace('old', 'new')}", revision_id=2002, title="Example Bridge (moved)")
    [new] = mine_page(changed, SITE, PATTERNS, NO_LIMITS, "enwiki-20261201").sections
    assert (new.section_id, new.text_hash) == (old.section_id, old.text_hash)
    assert (new.snapshot, new.revision_id) == ("enwiki-20261201", 2002)


def test_ids_follow_wiki_page_path_and_text() -> None:
    text = f"== Criticism ==\n{BRIDGE}"
    other_wiki = site_of(SiteInfo(), "simplewiki-20261101")
    sections = [
        *mine(text).sections,
        *mine(text, page_id=8).sections,
        *mine(text.replace("Criticism", "Criticisms")).sections,
        *mine(f"= A =\n{text}").sections,
        *mine(text + " Again.").sections,
        *mine_page(page(text), other_wiki, PATTERNS, NO_LIMITS, SNAPSHOT).sections,
    ]
    assert len({section.section_id for section in sections}) == 6


def test_equal_sections_of_a_page_are_told_apart_by_their_place_among_equals() -> None:
    same = "=== Criticism ===\nThe same words.\n"
    mined = mine(f"== A ==\n{same}== A ==\n{same}== B ==\n{same}== A ==\n{same}")
    assert [section.ordinal for section in mined.sections] == [0, 1, 0, 2]
    assert len({section.section_id for section in mined.sections}) == 4


@pytest.mark.parametrize(
    ("info", "snapshot", "wiki", "host"),
    [
        (SiteInfo("enwiki", "http://en.wikipedia.org/wiki/Main_Page"), "x-20260101", "enwiki", "en.wikipedia.org"),
        (SiteInfo("mylab", "https://wiki.example.org/Main"), "mylab-20260101", "mylab", "wiki.example.org"),
        (SiteInfo(), "enwiki-20250201", "enwiki", "en.wikipedia.org"),
        (SiteInfo(base="https://de.wikipedia.org/wiki/X"), "dewiki-20210901", "dewiki", "de.wikipedia.org"),
        (SiteInfo(), "zh_yuewiki-20260101", "zh_yuewiki", "zh-yue.wikipedia.org"),
    ],
)
def test_wiki_and_host_come_from_siteinfo_else_from_the_snapshot_key(
    info: SiteInfo, snapshot: str, wiki: str, host: str
) -> None:
    site = site_of(info, snapshot)
    assert (site.wiki, site.host) == (wiki, host)


def test_a_wiki_that_nothing_tells_the_host_of_is_refused() -> None:
    with pytest.raises(ValueError, match=r"host of the wiki 'mylab' of snapshot 'mylab-20260101'.*<base>"):
        site_of(SiteInfo(), "mylab-20260101")


def test_the_tally_counts_each_page_once_and_each_candidate_once() -> None:
    # Five pages: another namespace, a redirect, one without a match, two with. Of the candidates of those two,
    # Fraud is kept whole, Criticism is cut, Abuse is too short, Protests shows nothing.
    limits = Limits(min_chars=3, max_chars=10)
    tally = Tally(SNAPSHOT)
    for mined in (
        mine("x", namespace=10),
        mine("x", redirect=True),
        mine("== History ==\nx"),
        mine("== Fraud ==\nabcdef\n== Criticism ==\nabcdef\n\nabcdef", limits, page_id=9),
        mine("== Abuse ==\nab\n== Protests ==\n", limits, page_id=8),
    ):
        tally.add(mined)
    rows = tally.rows()
    assert [(row.unit, row.reason, row.counted, row.page_id, row.heading_index, row.heading) for row in rows] == [
        ("page", "empty_or_hidden", 0, None, None, None),
        ("page", "kept", 2, None, None, None),
        ("page", "no_matching_heading", 1, None, None, None),
        ("page", "other_content_model", 0, None, None, None),
        ("page", "other_namespace", 1, None, None, None),
        ("page", "redirect", 1, None, None, None),
        ("section", "cut", 1, 9, 2, "Criticism"),
        ("section", "kept", 1, None, None, None),
        ("section", "no_text_left", 1, 8, 2, "Protests"),
        ("section", "too_short", 1, 8, 1, "Abuse"),
    ]
    assert sum(row.counted for row in rows if row.unit == "page") == 5


def test_pages_without_a_revision_are_counted_although_the_reader_gives_none() -> None:
    tally = Tally(SNAPSHOT)
    tally.add_without_revision(3)
    assert [row.counted for row in tally.rows() if row.reason == "empty_or_hidden"] == [3]


LINES = st.sampled_from(
    (
        *("== Criticism ==", "=== Fraud ===", "= Abuse =", "==== Privacy ====", "== History ==", "text", "", "a " * 20),
        *("{{box|", "}}", "<ref>", "</ref>", "<!--", "-->", "[[A|b]]", "{|", "|}", "<nowiki>"),
    )
)


@settings(deadline=None)
@given(st.lists(st.lists(LINES, max_size=14).map("\n".join), max_size=6), st.integers(1, 30), st.integers(30, 60))
def test_whatever_the_pages_hold_every_page_and_candidate_is_counted_once(
    texts: list[str], least: int, most: int
) -> None:
    tally = Tally(SNAPSHOT)
    kept = 0
    for number, text in enumerate(texts):
        mined = mine(text, Limits(least, most), page_id=number)
        tally.add(mined)
        kept += len(mined.sections)
        assert mined.reason in PAGE_REASONS
        assert (mined.reason == "kept") == bool(mined.sections or mined.drops)
        assert all(least <= len(section.text) <= most or section.cut for section in mined.sections)
        assert all(len(section.text) <= most for section in mined.sections)
        assert mined == mine(text, Limits(least, most), page_id=number)
    rows = tally.rows()
    assert sum(row.counted for row in rows if row.unit == "page") == len(texts)
    counts = Counter[str]()
    for row in rows:
        counts[row.reason] += row.counted if row.unit == "section" else 0
    assert set(counts) <= {*SECTION_REASONS, *PAGE_REASONS}
    assert counts["kept"] + counts["cut"] == kept
    keys = [tuple(asdict(row)[name] for name in row.KEY) for row in rows]
    assert len(set(keys)) == len(keys)
