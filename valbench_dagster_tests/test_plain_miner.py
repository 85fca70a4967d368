"""The plain miner, and the package compared with it: on small dumps written here, and on real exports in every language
in the folder that `VALBENCH_TEST_DUMPS` names.
"""

import bz2
import os
import re
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from valbench_dagster.dumps.pages import DumpError, read_export
from valbench_dagster.stages.sections import Limits, Tally, mine_page, site_of
from valbench_dagster.wikitext.headings import headings
from valbench_dagster.wikitext.link_names import LinkNames
from valbench_dagster.wikitext.patterns import Patterns, load_patterns
from valbench_dagster_tests.plain_miner import PlainSection, mine_plainly, plain_headings

FOLDER = os.environ.get("VALBENCH_TEST_DUMPS")
real_exports = pytest.mark.skipif(
    FOLDER is None,
    reason="NOT RUN: the package was not compared with the plain miner on real exports; set VALBENCH_TEST_DUMPS to the "
    "folder that holds en/ and other/",
)

ENGLISH = tuple(pattern.pattern for pattern in load_patterns("enwiki").compiled)

# Headings that occur in the exports of each language, more than a few of them nested in each other, and how many
# candidate sections they make there.
PATTERNS: dict[str, tuple[str, ...]] = {
    "dewiki": (r"^Leben$", r"\bPhilosophie\b", r"^Politische", r"Rezeption", r"^Geogra(ph|f)ie$", r"Weblinks"),
    "frwiki": (r"^Géographie$", r"transport", r"^Économie$", r"\bHistoire\b", r"^Démographie$", r"^Culture$"),
    "eswiki": (r"^Historia$", r"reunificación", r"^Geografía$", r"^Clima$", r"^Educación$", r"^Cultura$"),
    "ltgwiki": (r"^Viesture$", r"^Geografeja$", r"^Politika$", r"^Religeja$", r"sadors$", r"saiteibys"),
    "ukwiki": (r"^Історія$", r"^Культура$", r"^Наука", r"^Економіка$", r"катастроф", r"^Населення$"),
    "simplewiki": (r"^Trivia$", r"\bart\b", r"^Events in\b", r"observances"),
    "enwiki": ENGLISH,
}


def _as_it_stands(wikitext: str, _: LinkNames) -> str:
    """Wikitext for plain text, behind a sign that keeps a section without any text from being dropped."""
    return f".{wikitext}"


def mine(path: Path, patterns: tuple[str, ...]) -> tuple[list[PlainSection], dict[str, int], bool]:
    """Mine a dump with the package, each section's wikitext taken as its text, as the plain miner would say it."""
    compiled = Patterns("xx", tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns))
    limits = Limits(min_chars=1, max_chars=10**9)
    tally, found, whole = Tally("enwiki-20260101"), list[PlainSection](), True
    with read_export(path) as export:
        site = site_of(export.site, "enwiki-20260101")
        try:
            for page in export:
                mined = mine_page(page, site, compiled, limits, "enwiki-20260101", _as_it_stands)
                tally.add(mined)
                assert not mined.drops
                places = {heading.index: heading.body_start for heading in headings(page.text or "", site.names)}
                for section in mined.sections:
                    start, body = places[section.heading_index], section.text.removeprefix(".")
                    found.append(
                        PlainSection(
                            page_id=section.page_id,
                            page_title=section.title,
                            heading_index=section.heading_index,
                            heading_path=section.heading_path,
                            start=start,
                            end=start + len(body),
                            wikitext=body,
                        )
                    )
        except DumpError:
            whole = False
        tally.add_without_revision(export.without_revision)
    return found, dict(tally.pages), whole


def assert_both_find_the_same(path: Path, patterns: tuple[str, ...]) -> int:
    """Compare the package with the plain miner on one dump; gives the number of sections."""
    plain = mine_plainly(path, patterns)
    sections, reasons, whole = mine(path, patterns)
    assert sections == list(plain.sections)
    assert Counter(reasons) == Counter(plain.reasons)
    assert whole == plain.whole
    return len(sections)


# Small dumps.

SITE = """<siteinfo><dbname>enwiki</dbname><base>https://en.wikipedia.org/wiki/Main_Page</base><namespaces>
<namespace key="0" case="first-letter"/><namespace key="1" case="first-letter">Talk</namespace></namespaces></siteinfo>
"""


def revision(text: str, extra: str = "") -> str:
    return (
        f"<revision><id>5</id><timestamp>2026-01-01T00:00:00Z</timestamp>{extra}<text>{escape(text)}</text></revision>"
    )


def page(number: int, content: str, *, ns: str = "<ns>0</ns>", title: str = "A & B", redirect: str = "") -> str:
    return f"<page><title>{escape(title)} {number}</title>{ns}<id>{number}</id>{redirect}{content}</page>\n"


NESTED = "Lead.\n== Criticism ==\na\n=== Legal issues ===\nb\n== History ==\nc\n=== Fraud ===\nd\n= Reception =\n"
# "Lead.\n" has 6 characters, "== Criticism ==\n" 16: the first body begins at 22. It has "a\n", "b\n" and
# "=== Legal issues ===\n", 25 together, and ends at 47. "== History ==\n" and "c\n" end at 63, "=== Fraud ===\n" at 77,
# "d\n" at 79. The heading of page 10 has 55 and a line end: 3 and 6 to where "<b>" ends (an entity is no tag), 9, 4, 1,
# 9 to the end of "&amp;amp;", 1, 7, 12, 3.
PAGES = (
    page(1, revision(NESTED))
    + page(2, revision("== Criticism ==\nx"), ns="<ns>1</ns>", title="Talk:A")
    + page(3, revision("#REDIRECT [[A]]\n== Criticism =="), redirect='<redirect title="A"/>')
    + page(4, revision("== Criticism ==", "<model>json</model>"))
    + page(5, revision(" \n"))
    + page(6, "")
    + page(7, revision("x").replace("<text>x</text>", '<text deleted="deleted"/>'))
    + page(8, revision("<!--\n== Criticism ==\n-->{{a|\n== Fraud ==\n}}"))
    + page(9, revision("== Fraud ==\nold") + revision("== History ==\nnew"))
    + page(10, revision("== &lt;b>Fr''au''d</b> &amp;amp; [[a|b]]<ref>x</ref> ==\ne"))
)


def dump(folder: Path, body: str = PAGES, *, end: str = "</mediawiki>", pack: bool = False) -> Path:
    path = folder / ("a.xml.bz2" if pack else "a.xml")
    parts = [f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">{SITE}', body, end]
    path.write_bytes(b"".join((bz2.compress if pack else bytes)(part.encode("utf-8")) for part in parts))
    return path


def test_the_plain_miner_finds_what_was_counted_by_hand(tmp_path: Path) -> None:
    found = mine_plainly(dump(tmp_path), ENGLISH)
    assert found.sections == (
        PlainSection(1, "A & B 1", 1, ("Criticism",), 22, 47, "a\n=== Legal issues ===\nb\n"),
        PlainSection(1, "A & B 1", 4, ("History", "Fraud"), 77, 79, "d\n"),
        PlainSection(10, "A & B 10", 1, ("<b>Fraud &amp; b",), 56, 57, "e"),
    )
    assert found.reasons == {
        "other_namespace": 1,
        "redirect": 1,
        "other_content_model": 1,
        "empty_or_hidden": 3,
        "no_matching_heading": 2,
        "kept": 2,
    }
    assert (found.pages, found.whole) == (10, True)


@pytest.mark.parametrize("pack", [False, True], ids=["plain", "three streams of bzip2"])
def test_both_find_the_same_in_a_small_dump(tmp_path: Path, pack: bool) -> None:
    assert assert_both_find_the_same(dump(tmp_path, pack=pack), ENGLISH) == 3


def test_both_find_the_same_in_a_dump_that_is_cut_short(tmp_path: Path) -> None:
    assert assert_both_find_the_same(dump(tmp_path, end="<page><title>B</title>"), ENGLISH) == 3


def test_both_know_namespaces_and_redirects_of_exports_that_do_not_name_them(tmp_path: Path) -> None:
    old = (
        page(1, revision("== Fraud ==\nx"), ns="")
        + page(2, revision("== Fraud ==\nx"), ns="", title="Talk:A")
        + page(3, revision("#redirect [[A]]\n== Fraud ==\nx"), ns="")
    )
    assert assert_both_find_the_same(dump(tmp_path, old), ENGLISH) == 1


# Real exports.


def exports() -> list[Path]:
    return sorted(Path(FOLDER).glob("*/*.xml*")) if FOLDER else []


@real_exports
@pytest.mark.parametrize("path", exports(), ids=lambda path: path.name)
def test_both_find_the_same_in_a_real_export(path: Path) -> None:
    own = PATTERNS[path.name.partition("-")[0]]
    found = assert_both_find_the_same(path, own)
    assert found >= (4 if own is not ENGLISH else 0)


@real_exports
@pytest.mark.parametrize("path", exports(), ids=lambda path: path.name)
def test_both_find_the_same_headings_in_every_article(path: Path) -> None:
    differ, articles = [], 0
    with read_export(path) as export:
        try:
            for one in export:
                if one.namespace == 0 and not one.redirect and one.text:
                    articles += 1
                    fast = [(h.index, h.level, h.title, h.start, h.body_start) for h in headings(one.text)]
                    plain = [(h.index, h.level, h.title, h.start, h.body_start) for h in plain_headings(one.text)]
                    differ += [one.title] if fast != plain else []
        except DumpError:
            assert "cut-short" in path.name
    assert differ == []
    assert articles
