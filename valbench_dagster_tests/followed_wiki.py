"""A small wiki whose dumps follow one another: what a refresh has to find, fetch and pay for, known beforehand.

The pages are articles of the sample, so that the stand-ins make pairs of them. Here belongs what changes from one dump
to the next; how dumps are packed and served is `dump_content`'s and `dump_site`'s.
"""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date

from valbench_dagster.project_files import package_file
from valbench_dagster_tests.dump_content import WrittenPage

WIKI = "enwiki"
FIRST, SECOND = date(2026, 10, 1), date(2026, 11, 1)
FIRST_KEY, SECOND_KEY = "enwiki-20261001", "enwiki-20261101"

_NAMESPACE = "{http://www.mediawiki.org/xml/export-0.11/}"


def first_pages(count: int = 12) -> list[WrittenPage]:
    """Give the first articles of the sample as pages of the first dump."""
    [sample] = package_file("sample").glob("*.xml")
    found = []
    for page in ET.parse(sample).getroot().iter(f"{_NAMESPACE}page"):  # noqa: S314 - our own file
        text = page.findtext(f"{_NAMESPACE}revision/{_NAMESPACE}text")
        if text and page.findtext(f"{_NAMESPACE}ns") == "0" and page.find(f"{_NAMESPACE}redirect") is None:
            found.append(
                WrittenPage(
                    page_id=int(page.findtext(f"{_NAMESPACE}id") or ""),
                    title=page.findtext(f"{_NAMESPACE}title") or "",
                    text=text,
                    revision_id=int(page.findtext(f"{_NAMESPACE}revision/{_NAMESPACE}id") or ""),
                )
            )
    return found[:count]


def second_pages() -> list[WrittenPage]:
    """Give the pages of the second dump: one section has another sentence, one page is edited elsewhere, one is new.

    Harlow Bridge, page 186, has its section `Toll controversy` changed. The last page has a sentence more in its lead:
    a new revision whose sections are what they were. The new page has one section.
    """
    pages = first_pages()
    [bridge] = [page for page in pages if page.title == "Harlow Bridge"]
    last = pages[-1]
    changed = {
        bridge.page_id: _edited(bridge, "== Toll controversy ==\n", "Local critics objected to it for a year. "),
        last.page_id: replace(last, text=f"It is well known.\n\n{last.text}", revision_id=last.revision_id + 1),
    }
    text = (
        "'''Orrin Weir''' is a weir on the [[River Tesk]].\n\n== Criticism ==\nThe town council built the weir in 1954"
        ", and local critics opposed it. Anglers of the Tesk Club said that it kept salmon from the upper river, while "
        "the millers of Orrin said that without it the town would have had no power in summer. A fish ladder was "
        "added in 1961, and the critics said that no salmon had ever been seen on it.\n\n[[Category:Weirs]]"
    )
    new = WrittenPage(page_id=last.page_id + 7, title="Orrin Weir", text=text, revision_id=last.revision_id + 900)
    return [*(changed.get(page.page_id, page) for page in pages), new]


def _edited(page: WrittenPage, before: str, sentence: str) -> WrittenPage:
    assert page.text is not None
    at = page.text.index("\n\n", page.text.index(before))
    return replace(page, text=f"{page.text[:at]} {sentence}{page.text[at:]}", revision_id=page.revision_id + 1)
