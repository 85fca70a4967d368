"""Real exports, mined from end to end. They are not part of the project: `VALBENCH_TEST_DUMPS` names their folder.

The expected sections were read off the articles themselves; a page's own history is their source. Nothing of their
text stands here but headings.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.dumps.pages import read_export
from valbench_dagster.records import Section
from valbench_dagster.stages.sections import Limits, Tally, mine_page, site_of
from valbench_dagster.wikitext.patterns import load_patterns

FOLDER = os.environ.get("VALBENCH_TEST_DUMPS")

pytestmark = pytest.mark.skipif(
    FOLDER is None,
    reason="NOT RUN: real exports were not mined; set VALBENCH_TEST_DUMPS to the folder that holds en/ and other/",
)

ENGLISH = {  # file: snapshot it stands for, pages in it, articles among them that are no redirects
    "enwiki-20160501-p10p30302-excerpt.xml.bz2": ("enwiki-20160501", 206, 106),
    "enwiki-20250201-first70.xml.bz2": ("enwiki-20250201", 70, 6),
    "enwiki-20171229-tables.xml.bz2": ("enwiki-20171229", 5, 5),
    "enwiki-20141026-sample.xml.bz2": ("enwiki-20141026", 3, 2),
    "enwiki-20090902-sample.xml": ("enwiki-20090902", 4, 2),
}
OTHER = {  # file: pages that can be read whole
    "simplewiki-20190814-7pages.xml": 7,
    "dewiki-2021-minidump.xml.bz2": 2,
    "frwiki-2021-minidump.xml.bz2": 3,
    "eswiki-2021-minidump.xml.bz2": 1,
    "ltgwiki-20170901.xml.bz2": 2004,
}
CUT_SHORT = {"ukwiki-20230501-cut-short.xml.bz2": 532}

OLD, NEW, OLDEST = (
    "enwiki-20160501-p10p30302-excerpt.xml.bz2",
    "enwiki-20250201-first70.xml.bz2",
    "enwiki-20090902-sample.xml",
)
MATCHED = {
    (OLD, "Academy Awards", "Criticism"),
    (OLD, "Animation", "Criticism"),
    (OLD, "Agriculture", "Environmental impact"),
    (OLD, "Arthur Schopenhauer", "Criticism of Schopenhauer's personal life"),
    (OLD, "Aikido", "Criticisms"),
    (OLD, "Art", "Controversies"),
    (OLD, "Art", 'New Criticism and the "Intentional Fallacy"'),
    (OLD, "Art", '"Linguistic turn" and its debate'),
    (OLD, "Art", "Classification disputes"),
    (OLD, "Abortion", "Abortion debate"),
    (OLD, "Algorithm", "Legal issues"),
    (OLD, "Anarchism", "Propaganda of the deed and illegalism"),
    (OLD, "Anarchism", "Internal issues and debates"),
    (OLD, "Anarchism", "Criticisms"),
    (OLD, "Abraham Lincoln", "Lincoln–Douglas debates and Cooper Union speech"),
    (NEW, "Anarchism", "Criticism"),
    (NEW, "Abraham Lincoln", "Lincoln–Douglas debates and Cooper Union speech"),
    (OLDEST, "Anarchism", "Internal issues and debates"),
}


@dataclass(frozen=True)
class Mined:
    """What came of one export."""

    sections: tuple[Section, ...]
    tally: Tally
    pages: int
    error: DumpError | None


def mine(file: Path, snapshot: str) -> Mined:
    """Mine one export as a snapshot of English patterns, with the limits that are in force."""
    patterns, limits, tally = load_patterns("enwiki"), Limits(), Tally(snapshot)
    sections: list[Section] = []
    pages = 0
    try:
        with read_export(file) as export:
            site = site_of(export.site, snapshot)
            for page in export:
                pages += 1
                mined = mine_page(page, site, patterns, limits, snapshot)
                tally.add(mined)
                sections += mined.sections
    except DumpError as error:
        return Mined(tuple(sections), tally, pages, error)
    return Mined(tuple(sections), tally, pages, None)


def folder(name: str) -> Path:
    return Path(FOLDER or "") / name


@pytest.fixture(scope="module")
def english() -> dict[str, Mined]:
    return {file: mine(folder("en") / file, snapshot) for file, (snapshot, _, _) in ENGLISH.items()}


def test_every_export_of_the_folder_is_read_by_a_test() -> None:
    assert {path.name for path in folder("en").iterdir()} == set(ENGLISH)
    assert {path.name for path in folder("other").iterdir()} == {*OTHER, *CUT_SHORT}


def test_the_matched_sections_are_those_that_a_reader_finds(english: dict[str, Mined]) -> None:
    found = [
        (file, str(title), str(heading))
        for file, mined in english.items()
        for title, heading in [
            *((section.title, section.heading_path[-1]) for section in mined.sections),
            *((drop.title, drop.heading) for drop in mined.tally.drops if drop.reason != "cut"),
        ]
    ]
    assert len(found) == len(set(found))
    assert set(found) == MATCHED


def test_no_limit_drops_any_of_them_and_what_is_cut_says_so(english: dict[str, Mined]) -> None:
    sections = [section for mined in english.values() for section in mined.sections]
    assert len(sections) == len(MATCHED)
    cut = [drop.reason for mined in english.values() for drop in mined.tally.drops]
    assert cut == ["cut"] * sum(section.cut for section in sections)


@pytest.mark.parametrize("file", ENGLISH)
def test_counts_by_reason_add_up_to_the_pages_read(english: dict[str, Mined], file: str) -> None:
    _, pages, articles = ENGLISH[file]
    counts = {row.reason: row.counted for row in english[file].tally.rows() if row.unit == "page"}
    assert english[file].error is None
    assert sum(counts.values()) == english[file].pages == pages
    assert counts["kept"] + counts["no_matching_heading"] == articles
    assert counts["kept"] == len({title for name, title, _ in MATCHED if name == file})


def test_no_markup_is_left_in_a_kept_text(english: dict[str, Mined]) -> None:
    markup = re.compile(r"\[\[|\]\]|\{\{|\}\}|\{\||''|</?[a-z]+[^>]*>|^=|=$|&[a-z]+;|\x00|\x7f|https?://", re.MULTILINE)
    sections = [section for mined in english.values() for section in mined.sections]
    assert [(s.title, s.heading_path[-1], found[0]) for s in sections if (found := markup.search(s.text))] == []


def test_a_permanent_link_names_the_host_and_the_revision(english: dict[str, Mined]) -> None:
    for mined in english.values():
        for section in mined.sections:
            assert section.url == f"https://en.wikipedia.org/w/index.php?oldid={section.revision_id}"
            assert section.wiki == "enwiki"


def test_the_same_article_in_two_years_has_its_own_texts(english: dict[str, Mined]) -> None:
    ids = [section.section_id for mined in english.values() for section in mined.sections]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("file", "pages"), OTHER.items())
def test_an_export_in_any_language_is_read_to_its_end(file: str, pages: int) -> None:
    mined = mine(folder("other") / file, f"{file.partition('-')[0]}-20210901")
    assert (mined.error, mined.pages) == (None, pages)
    assert sum(mined.tally.pages.values()) == pages


@pytest.mark.parametrize(("file", "pages"), CUT_SHORT.items())
def test_an_export_that_is_cut_short_gives_its_whole_pages_and_says_where_it_ends(file: str, pages: int) -> None:
    mined = mine(folder("other") / file, "ukwiki-20230501")
    assert mined.pages == sum(mined.tally.pages.values()) == pages
    assert re.search(rf"{re.escape(file)}.*cut short at byte [0-9]+", str(mined.error))
