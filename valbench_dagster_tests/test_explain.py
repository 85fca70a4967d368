"""Explaining a page: it says what mining did and nothing else, and the page is found however the file lies."""

import bz2
import gzip
import random
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from valbench_dagster.cli import main
from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.dumps.page_index import index_of
from valbench_dagster.dumps.pages import Page, SiteInfo, read_export
from valbench_dagster.project_files import package_file
from valbench_dagster.stages.explanation import STATUSES, HeadingExplanation, PageExplanation, explain_page
from valbench_dagster.stages.sections import PAGE_REASONS, SECTION_REASONS, Limits, ToText, mine_page, site_of
from valbench_dagster.steps.explaining import (
    TOLD_EVERY,
    NoSuchPageError,
    UnknownWikiError,
    explain_in_file,
)
from valbench_dagster.wikitext.patterns import PatternsError, load_patterns
from valbench_dagster.wikitext.plain_text import LinkNames, ParserGaveUp, plain_text

SNAPSHOT = "enwiki-20261101"
SITE = site_of(SiteInfo(dbname="enwiki", base="https://en.wikipedia.org/wiki/Main_Page"), SNAPSHOT)
PATTERNS = load_patterns("enwiki")
SAMPLE = next(package_file("sample").glob("*.xml"))
LONG = "Some say that the bridge ruined the bay, others that it saved the harbour and the trade of the town. " * 3


def page(text: str | None, *, namespace: int = 0, redirect: bool = False, model: str = "wikitext") -> Page:
    return Page(7, namespace, "Example Bridge", redirect, 1001, "2026-10-30T12:00:00Z", model, text, None, None)


def explained(text: str | None, to_text: ToText = plain_text, limits: Limits | None = None) -> PageExplanation:
    return explain_page(page(text), SITE, PATTERNS, limits or Limits(), SNAPSHOT, to_text)


def statuses(explanation: PageExplanation) -> list[tuple[str, str]]:
    return [(heading.title, heading.status) for heading in explanation.headings]


def gives_up_on(word: str) -> ToText:
    def to_text(wikitext: str, names: LinkNames) -> str:
        if word in wikitext:
            raise ParserGaveUp("RecursionError: too deep")
        return plain_text(wikitext, names)

    return to_text


EVERY = (
    f"== History ==\nOld.\n== Criticism ==\n{LONG}\n=== Lawsuits ===\nx\n=== Funding ===\ny\n"
    f"== Controversy ==\nShort.\n== Protests ==\n{{{{empty section}}}}\n== Abuse ==\nKNOT\n=== Fraud ===\n{LONG}\n"
    f"=== Dispute ===\n{LONG * 3}"
)
"""A page on which something becomes of a heading in every way there is, with the limits of `every`."""


@pytest.fixture
def every() -> PageExplanation:
    return explained(EVERY, gives_up_on("KNOT"), Limits(max_chars=500))


def test_every_status_occurs_and_has_its_reason(every: PageExplanation) -> None:
    assert [(heading.index, heading.status, heading.why) for heading in every.headings] == [
        (1, "no_pattern", "None of the 38 patterns of 'en' is found in it."),
        (
            2,
            "kept",
            rf"Matches \bCriticism?s?\b; all {len(every.headings[1].text or '')} characters of its text are kept.",
        ),
        (
            3,
            "inside",
            r"Matches \bLawsuits?\b, but is part of the section of heading 2, 'Criticism' (kept), not one of its own.",
        ),
        (4, "inside", "Is part of the section of heading 2, 'Criticism' (kept)."),
        (5, "too_short", r"Matches \bControvers(?:y|ies)\b, but is dropped: 6 characters; at least 200 are wanted."),
        (
            6,
            "no_text_left",
            r"Matches \bProtests?\b, but is dropped: 18 characters of wikitext show no text.",
        ),
        (
            7,
            "parser_gave_up",
            r"Matches \bAbuse\b, but is dropped: RecursionError: too deep; "
            f"{every.headings[6].wikitext_chars} characters of wikitext. "
            "Matching headings inside it are looked at for themselves.",
        ),
        (8, "kept", rf"Matches \bFraud\b; all {len(LONG) - 1} characters of its text are kept."),
        (
            9,
            "cut",
            rf"Matches \bDisputes?\b; {len(LONG) * 3 - 1} characters, of which the first "
            f"{len(every.headings[8].text or '')} are kept.",
        ),
    ]
    assert {heading.status for heading in every.headings} == set(STATUSES)
    assert (every.reason, every.why) == (
        "kept",
        "7 of its 9 headings match one of the 38 patterns of 'en'; sections kept: 3.",
    )


def test_a_heading_has_its_wikitext_and_its_text_where_it_was_looked_at(every: PageExplanation) -> None:
    by_title = {heading.title: heading for heading in every.headings}
    assert by_title["Criticism"].wikitext == f"{LONG}\n=== Lawsuits ===\nx\n=== Funding ===\ny\n"
    assert (by_title["Protests"].text, by_title["Protests"].text_chars) == ("", 0)
    assert (by_title["Controversy"].text, by_title["Controversy"].text_chars) == ("Short.", 6)
    assert (by_title["Abuse"].text, by_title["Abuse"].text_chars) == (None, None)
    cut = by_title["Dispute"]
    assert cut.text is not None
    assert cut.text_chars == len(LONG) * 3 - 1 > 500 >= len(cut.text)
    for title in ("History", "Lawsuits", "Funding"):
        assert (by_title[title].wikitext, by_title[title].text) == (None, None)
    assert [heading.title for heading in every.headings if heading.section_id] == ["Criticism", "Fraud", "Dispute"]
    # "== History ==\n" ends before "Old.\n": five characters to the next heading of its level.
    assert by_title["History"].wikitext_chars == 5
    assert all(heading.wikitext_chars == len(heading.wikitext) for heading in every.headings if heading.wikitext)
    assert by_title["Fraud"].path == ("Abuse", "Fraud")


@pytest.mark.parametrize("body", ["Short.", "{{empty section}}"])
def test_what_stands_inside_a_dropped_section_says_so(body: str) -> None:
    explanation = explained(f"== Criticism ==\n{body}\n=== {{{{x}}}}Lawsuits ===\n")
    inner = explanation.headings[1]
    assert (inner.status, inner.inside) == ("inside", 1)
    assert "heading 1, 'Criticism' (too short), not one of its own" in inner.why


@pytest.mark.parametrize(
    ("given_page", "reason", "why"),
    [
        (
            page("== Criticism ==", namespace=1),
            "other_namespace",
            "It stands in namespace 1; only articles, namespace 0",
        ),
        (page("#REDIRECT [[ Old bridge#Age|x]]", redirect=True), "redirect", "It is a redirect to 'Old bridge' and"),
        (page(None, redirect=True), "redirect", "It is a redirect and has no text"),
        (page("{}", model="json"), "other_content_model", "Its content model is 'json'; only wikitext"),
        (page(None), "empty_or_hidden", "Its text is hidden or absent."),
        (page(" \n"), "empty_or_hidden", "Its text is empty."),
        (page("Lead."), "no_matching_heading", "It has no heading."),
        (page("= A ="), "no_matching_heading", "None of its 1 heading matches any of the 38 patterns of 'en'."),
        (
            page("== Fraud ==\nx"),
            "kept",
            "1 of its 1 heading matches one of the 38 patterns of 'en'; sections kept: 0.",
        ),
    ],
)
def test_every_page_reason_is_a_sentence(given_page: Page, reason: str, why: str) -> None:
    explanation = explain_page(given_page, SITE, PATTERNS, Limits(), SNAPSHOT)
    assert (explanation.reason, explanation.why[: len(why)]) == (reason, why)


def agrees_with_mining(given_page: Page, limits: Limits, to_text: ToText = plain_text) -> PageExplanation:
    """The law: what explaining says became of a page is what mining made of it, no more and no less."""
    mined = mine_page(given_page, SITE, PATTERNS, limits, SNAPSHOT, to_text)
    explanation = explain_page(given_page, SITE, PATTERNS, limits, SNAPSHOT, to_text)
    looked_at = [heading for heading in explanation.headings if heading.status in SECTION_REASONS]
    assert explanation.reason == mined.reason
    assert [(each.index, each.section_id, each.text, each.pattern) for each in looked_at if each.section_id] == [
        (section.heading_index, section.section_id, section.text, section.pattern) for section in mined.sections
    ]
    assert [(each.index, each.status) for each in looked_at if each.status != "kept"] == [
        (drop.heading_index, drop.reason) for drop in mined.drops
    ]
    matching = [heading for heading in explanation.headings if heading.pattern is not None]
    assert all(heading.status != "no_pattern" for heading in matching)
    assert all(heading.status in ("inside", "no_pattern") for heading in explanation.headings if not heading.pattern)
    return explanation


def test_of_every_page_of_the_sample_explaining_says_what_mining_did() -> None:
    with read_export(SAMPLE) as export:
        seen = {agrees_with_mining(each, Limits()).reason for each in export}
    assert seen == set(PAGE_REASONS)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 6),
            st.sampled_from(["Criticism", "History", "Lawsuits", "", "Fraud & abuse"]),
            st.sampled_from(["", "x", "KNOT", "{{x}}", LONG, LONG * 2]),
        ),
        max_size=8,
    )
)
def test_of_any_page_explaining_says_what_mining_did(blocks: list[tuple[int, str, str]]) -> None:
    text = "Lead.\n" + "\n".join(f"{'=' * level} {title} {'=' * level}\n{body}" for level, title, body in blocks)
    agrees_with_mining(page(text), Limits(max_chars=500), gives_up_on("KNOT"))


# Finding the page.

HEAD = "<mediawiki>\n<siteinfo><dbname>enwiki</dbname><base>https://en.wikipedia.org/wiki/Main_Page</base></siteinfo>\n"
TAIL = "</mediawiki>\n"


def xml_page(page_id: int, title: str, text: str = f"== Criticism ==\n{LONG}", redirect: bool = False) -> str:
    target = '<redirect title="x" />' if redirect else ""
    return (
        f"<page><title>{escape(title)}</title><ns>0</ns><id>{page_id}</id>{target}"
        f"<revision><id>{page_id + 1000}</id><timestamp>2026-10-30T12:00:00Z</timestamp><model>wikitext</model>"
        f"<text>{escape(text)}</text></revision></page>\n"
    )


PAGES = [
    (10, "Old bridge", False),
    (11, "NEW BRIDGE", True),
    (12, "New Bridge", False),
    (13, 'Rock & "roll": a history', False),
    (14, "Ålesund", False),
    (15, "new bridge", False),
]


def write_export(folder: Path, name: str = "enwiki-20261101-pages-articles.xml", siteinfo: str = HEAD) -> Path:
    file = folder / name
    content = (siteinfo + "".join(xml_page(*each[:2], redirect=each[2]) for each in PAGES) + TAIL).encode()
    pack: dict[str, Callable[[bytes], bytes]] = {".bz2": bz2.compress, ".gz": gzip.compress}
    file.write_bytes(pack.get(file.suffix, bytes)(content))
    return file


def write_multistream(folder: Path, *, pages_a_stream: int = 2) -> Path:
    """A multistream file of `PAGES` with its index, as the dump server lays them."""
    file = folder / "enwiki-20261101-pages-articles-multistream.xml.bz2"
    content = bz2.compress(HEAD.encode())
    lines = []
    for start in range(0, len(PAGES), pages_a_stream):
        group = PAGES[start : start + pages_a_stream]
        lines += [f"{len(content)}:{page_id}:{escape(title)}\n" for page_id, title, _ in group]
        content += bz2.compress("".join(xml_page(*each[:2], redirect=each[2]) for each in group).encode())
    file.write_bytes(content + bz2.compress(TAIL.encode()))
    index = file.with_name(file.name.replace(".xml.bz2", "-index.txt.bz2"))
    index.write_bytes(bz2.compress("".join(lines).encode()))
    return file


@pytest.mark.parametrize("suffix", ["", ".bz2", ".gz"])
def test_a_page_is_found_in_every_container(tmp_path: Path, suffix: str) -> None:
    file = write_export(tmp_path, f"enwiki-20261101-pages-articles.xml{suffix}")
    explanation = explain_in_file(file, title="Ålesund")
    assert (explanation.page_id, explanation.wiki, statuses(explanation)) == (14, "enwiki", [("Criticism", "kept")])
    assert explanation.url == "https://en.wikipedia.org/w/index.php?oldid=1014"
    assert explain_in_file(file, page_id=14) == explanation


@pytest.mark.parametrize(
    ("title", "page_id"),
    [
        ("new bridge", 15),  # exactly, though another one that differs in case stands before it
        ("New_Bridge", 12),
        (" New  Bridge ", 12),
        ("nEW bridge", 12),  # the first that is no redirect
        ("OLD BRIDGE", 10),
        ("NEW BRIDGE", 11),  # exactly, though a redirect
        ('rock & "roll": a HISTORY', 13),
    ],
)
def test_the_jump_by_the_index_finds_what_reading_the_whole_file_finds(
    tmp_path: Path, title: str, page_id: int
) -> None:
    file = write_multistream(tmp_path)
    assert index_of(file) is not None
    jumped = explain_in_file(file, title=title)
    assert jumped.page_id == page_id
    assert explain_in_file(write_export(tmp_path, "enwiki-20261101-x.xml.bz2"), title=title) == jumped


def test_every_page_is_found_by_its_id_through_the_index(tmp_path: Path) -> None:
    file = write_multistream(tmp_path, pages_a_stream=4)
    assert [explain_in_file(file, page_id=page_id).title for page_id, _, _ in PAGES] == [title for _, title, _ in PAGES]


def test_nothing_but_the_first_stream_and_that_of_the_page_is_read(tmp_path: Path) -> None:
    file = write_multistream(tmp_path)
    content = file.read_bytes()
    streams = [at for at in range(len(content)) if content.startswith(b"BZh91AY&SY", at)]
    # Every stream but the first, that of pages 12 and 13 (the third), is made garbage.
    garbage = [bytes(end - start) for start, end in zip(streams, [*streams[1:], len(content)], strict=True)]
    garbage[0], garbage[2] = content[: streams[1]], content[streams[2] : streams[3]]
    file.write_bytes(b"".join(garbage))
    assert explain_in_file(file, title="New Bridge").page_id == 12
    with pytest.raises(DumpError, match=r"byte \d+, where .*-index.txt.bz2 has page 14: no bzip2 data .* mv "):
        explain_in_file(file, title="Ålesund")


def test_the_index_of_a_file_that_was_unpacked_is_left_alone(tmp_path: Path) -> None:
    packed = write_multistream(tmp_path)
    file = packed.with_suffix("")
    file.write_bytes(bz2.decompress(packed.read_bytes()))
    packed.with_name(packed.name.replace(".xml.bz2", "-index.txt")).write_text("not read", encoding="utf-8")
    assert explain_in_file(file, title="Ålesund") == explain_in_file(packed, title="Ålesund")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bz2.compress(b"1:2\n"), "cannot be read beyond line 0"),
        (bz2.compress(b"603:10:Old bridge\nx:11:y\n"), "cannot be read beyond line 1"),
        (bz2.compress(random.Random(1).randbytes(99_999).hex().encode())[:40_000], "cannot be read beyond line 0"),
        (b"none", "cannot be read beyond line 0"),
        (bz2.compress(b"3:14:\xc3\x85lesund\n"), "the stream at byte 3, where"),
        (bz2.compress(b"99999999:14:\xc3\x85lesund\n"), "the file ends inside it"),
        (bz2.compress(b"0:14:\xc3\x85lesund\n"), "the XML is cut short"),
    ],
)
def test_an_index_that_misleads_is_named_with_what_to_do(tmp_path: Path, content: bytes, said: str) -> None:
    file = write_multistream(tmp_path)
    index = index_of(file)
    assert index is not None
    index.write_bytes(content)
    with pytest.raises(DumpError, match="or move it away to have the file itself searched: mv ") as error:
        explain_in_file(file, title="Ålesund")
    assert said in str(error.value)
    assert index.name in str(error.value)
    index.unlink()
    assert explain_in_file(file, title="Ålesund").page_id == 14


def test_an_index_of_another_file_is_found_out(tmp_path: Path) -> None:
    file = write_multistream(tmp_path)
    index = index_of(file)
    assert index is not None
    index.write_bytes(bz2.compress(bz2.decompress(index.read_bytes()).replace(b":14:", b":99:")))
    with pytest.raises(DumpError, match="gives out no such page"):
        explain_in_file(file, title="Ålesund")


@pytest.mark.parametrize("indexed", [True, False])
def test_a_page_that_is_not_there_is_told_with_what_was_looked_at(tmp_path: Path, indexed: bool) -> None:
    file = write_multistream(tmp_path) if indexed else write_export(tmp_path)
    with pytest.raises(NoSuchPageError, match="no page titled 'Old bridges' among the 6 pages looked at") as error:
        explain_in_file(file, title="Old bridges")
    assert "the nearest: 'Old bridge'" in str(error.value)
    assert str(error.value).endswith(f"valbench explain {file} --title 'Old bridge'")
    with pytest.raises(NoSuchPageError, match="nor one with a title near to it"):
        explain_in_file(file, title="Quantum chromodynamics")
    with pytest.raises(
        NoSuchPageError, match="no page with the id 5 among the 6 pages looked at, whose ids run from 10 to"
    ):
        explain_in_file(file, page_id=5)


def test_pages_without_a_revision_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    file = tmp_path / "enwiki-20261101-x.xml"
    file.write_text(f"{HEAD}<page><title>A</title><ns>0</ns><id>1</id></page>{TAIL}", encoding="utf-8")
    with pytest.raises(NoSuchPageError, match="Not looked at: 1 that hold no revision"):
        explain_in_file(file, title="A")


def test_a_search_tells_how_far_it_is(tmp_path: Path) -> None:
    file = tmp_path / "enwiki-20261101-pages-articles-multistream.xml.bz2"
    file.write_bytes(bz2.compress(HEAD.encode()))
    lines = "".join(f"9:{n}:{'Bridge' if n < 2_000 else 'Stop'} {n}\n" for n in range(2 * TOLD_EVERY + 5))
    file.with_name(file.name.replace(".xml.bz2", "-index.txt.bz2")).write_bytes(bz2.compress(lines.encode()))
    told: list[int] = []
    with pytest.raises(NoSuchPageError, match="the nearest: 'Bridge 1999'"):
        explain_in_file(file, title="Bridge 19999", looked=told.append)
    assert told == [TOLD_EVERY, 2 * TOLD_EVERY]


def test_a_page_before_the_damage_is_explained_and_one_behind_it_names_the_damage(tmp_path: Path) -> None:
    file = write_export(tmp_path)
    file.write_bytes(file.read_bytes().partition("<title>Ålesund".encode())[0])
    assert explain_in_file(file, title="New Bridge").page_id == 12
    assert explain_in_file(file, title="OLD bridge").page_id == 10
    with pytest.raises(DumpError, match=r"cut short at .* Before that there is no page titled 'Ålesund' among the 4"):
        explain_in_file(file, title="Ålesund")


# Knowing the wiki.

WITHOUT = HEAD.replace("<dbname>enwiki</dbname>", "")
NOTHING = "<mediawiki>\n"


@pytest.mark.parametrize(
    ("name", "siteinfo", "wiki", "known"),
    [
        ("x.xml", HEAD, None, ("enwiki", "en")),
        ("enwiki-20160501-x.xml", WITHOUT, None, ("enwiki", "en")),
        ("simplewiki-2026-08-01-p1p12.xml", NOTHING, None, ("simplewiki", "en")),
        ("enwiki-part.xml", NOTHING, None, ("enwiki", "en")),
        ("x.xml", NOTHING, "simplewiki", ("simplewiki", "en")),
        ("enwiki-20260101-x.xml", HEAD.replace("enwiki", "dewiki"), None, ("dewiki", "en")),  # the name's patterns
        ("dewiki-2026-minidump.xml", HEAD, None, ("enwiki", "en")),  # such a name is no snapshot's
        ("x.xml", HEAD.replace("enwiki", "dewiki"), "enwiki", ("dewiki", "en")),  # ids are siteinfo's in mining too
        ("dewiki-20260101/x.xml", HEAD, "enwiki", ("enwiki", "en")),
        ("enwiki-20260101/x.xml", HEAD.replace("enwiki", "dewiki"), None, ("dewiki", "en")),  # the snapshot's patterns
    ],
)
def test_the_wiki_is_that_of_mining(
    tmp_path: Path, name: str, siteinfo: str, wiki: str | None, known: tuple[str, str]
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    explanation = explain_in_file(write_export(tmp_path, name, siteinfo), title="Old bridge", wiki=wiki)
    assert (explanation.wiki, explanation.language) == known


@pytest.mark.parametrize(
    ("name", "siteinfo", "wiki", "error", "said"),
    [
        ("x.xml", NOTHING, None, UnknownWikiError, "add --wiki WIKI"),
        ("some-part.xml", NOTHING, None, UnknownWikiError, "add --wiki WIKI"),
        ("x.xml", NOTHING, "mine", UnknownWikiError, "nothing tells the host of the wiki 'mine'"),
        ("dewiki-20260101/x.xml", HEAD, None, PatternsError, "no heading patterns for 'dewiki'"),
    ],
)
def test_a_wiki_that_is_not_known_is_told_before_the_file_is_searched(
    tmp_path: Path, name: str, siteinfo: str, wiki: str | None, error: type[Exception], said: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    with pytest.raises(error, match=said):
        explain_in_file(write_export(tmp_path, name, siteinfo), title="Nowhere", wiki=wiki)


# The command.


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["explain", *words], catch_exceptions=False, env={"COLUMNS": "100"})


def test_the_command_prints_the_page_or_its_json() -> None:
    shown = run(str(SAMPLE), "--title", "harlow_bridge")
    assert shown.exit_code == 0, shown.output
    assert "Harlow Bridge\nsample, page 186," in shown.output
    explanation = TypeAdapter(PageExplanation).validate_json(run(str(SAMPLE), "--page-id", "186", "--json").output)
    assert explanation == explain_in_file(SAMPLE, title="Harlow Bridge")
    assert ("Toll controversy", "kept") in statuses(explanation)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "name the page by --title or by --page-id, one of them"),
        (("--title", "x", "--page-id", "1"), 2, "one of them"),
        (("--title", "Harlo Bridge"), 1, "the nearest: 'Harlow Bridge'"),
        (("--title", "Harlow Bridge", "--wiki", "dewiki"), 1, "there are patterns for: en"),
    ],
)
def test_the_command_tells_what_can_be_mended(words: tuple[str, ...], code: int, said: str) -> None:
    result = run(str(SAMPLE), *words)
    assert result.exit_code == code
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_file_that_is_no_export_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("Hello", encoding="utf-8")
    result = run(str(tmp_path / "x.xml"), "--title", "x")
    assert (result.exit_code, "expected a MediaWiki export" in result.output) == (1, True)


def test_an_explanation_has_no_field_that_json_does_not_carry(every: PageExplanation) -> None:
    assert isinstance(every.headings[0], HeadingExplanation)
    assert set(TypeAdapter(PageExplanation).dump_python(every)) == set(PageExplanation.__dataclass_fields__)
