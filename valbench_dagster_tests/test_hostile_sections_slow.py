"""Sections that hang, crash or eat up whoever parses them cost themselves: all others come out as without them.

What such a section does is scripted (`section_texts`); the wikitext that does so to the parser is `hostile_wikitext`.
"""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from valbench_dagster.mining.pool import Guard
from valbench_dagster.stages.sections import Limits
from valbench_dagster.wikitext.plain_text import plain_text
from valbench_dagster_tests.dump_content import WrittenPage, export_xml, multistream, written_pages
from valbench_dagster_tests.hostile_wikitext import HOSTILE
from valbench_dagster_tests.mining_runs import WHOLE, Outcome, mine, packed
from valbench_dagster_tests.section_texts import obedient

pytestmark = pytest.mark.slow

SOUND = written_pages(12, words=60)
BAD_ID = SOUND[5].page_id
GUARD = Guard(deadline_s=1.5, memory_bytes=200 << 20)
HANGS, DIES = "took longer than 1.5 s and was ended", "the process died: "
REASONS = {
    "hangs in C": HANGS,
    "segfaults": f"{DIES}signal 11 (SIGSEGV)",
    "exits": f"{DIES}exit code 3",
    "eats memory": "ran out of memory: more than 200 MiB above what it started with",
}


def pages_with(text: str) -> list[WrittenPage]:
    """The sound pages, and one of them with another text."""
    return [replace(page, text=text) if page.page_id == BAD_ID else page for page in SOUND]


def other_pages(outcome: Outcome) -> Outcome:
    """Leave out what became of the one page, and how long anything took or how it was read."""
    return replace(
        outcome,
        sections=tuple(section for section in outcome.sections if section.page_id != BAD_ID),
        drops=tuple(drop for drop in outcome.drops if drop.page_id is not None and drop.page_id != BAD_ID),
        files=(),
    )


@pytest.mark.parametrize("span_bytes", [800, WHOLE], ids=["over the border of two spans", "in one span"])
@pytest.mark.parametrize("doing", REASONS)
def test_a_section_that_costs_its_worker_is_one_drop(tmp_path: Path, doing: str, span_bytes: int) -> None:
    text = (
        f"Lead.\n== Criticism ==\nfine\n== History ==\nx\n== Legal issues ==\nthis section {doing}\n== Fraud ==\nfine"
    )
    path = packed(tmp_path, export_xml(pages_with(text)), "plain XML")
    found = mine(path, to_text=obedient, guard=GUARD, span_bytes=span_bytes, processes=2)
    assert found.error is None
    [drop] = [drop for drop in found.drops if drop.page_id is not None]
    assert (drop.unit, drop.reason, drop.counted) == ("section", "parser_gave_up", 1)
    assert (drop.page_id, drop.revision_id, drop.title) == (BAD_ID, SOUND[5].revision_id, SOUND[5].title)
    assert (drop.heading_index, drop.heading) == (3, "Legal issues")
    assert drop.detail == f"{REASONS[doing]}; {len(f'this section {doing}') + 1} characters of wikitext"
    assert [place for place in found.places if place[0] == BAD_ID] == [(BAD_ID, 1), (BAD_ID, 4)]
    sound = mine(packed(tmp_path, export_xml(SOUND), "plain XML"), to_text=obedient, span_bytes=span_bytes)
    assert other_pages(found) == other_pages(sound)
    assert found.reasons == sound.reasons == {"kept": 12}


@pytest.mark.parametrize("container", ["a single stream of small blocks", "3 pages a stream"])
def test_several_bad_sections_of_one_span_are_a_drop_each(tmp_path: Path, container: str) -> None:
    pages = [
        replace(page, text=f"== Criticism ==\nthis section {doing}")
        for page, doing in zip(SOUND, [*REASONS, *REASONS], strict=False)
    ]
    path = packed(tmp_path, export_xml([*pages, *SOUND[8:]]), container)
    found = mine(path, to_text=obedient, guard=GUARD, processes=2)
    assert (found.error, found.places) == (None, [(page.page_id, 2) for page in SOUND[8:]])
    drops = [drop for drop in found.drops if drop.page_id is not None]
    assert [drop.page_id for drop in drops] == [page.page_id for page in SOUND[:8]]
    for drop, reason in zip(drops, [*REASONS.values(), *REASONS.values()], strict=True):
        assert str(drop.detail).startswith(reason)


def test_where_the_parser_gave_up_on_the_outer_section_those_inside_are_tried(tmp_path: Path) -> None:
    text = "== Criticism ==\nthis section exits\n=== Legal issues ===\nfine\n=== Fraud ===\nthis section segfaults\n"
    path = packed(tmp_path, export_xml(pages_with(text)), "3 pages a stream")
    found = mine(path, to_text=obedient, guard=GUARD)
    assert [place for place in found.places if place[0] == BAD_ID] == [(BAD_ID, 2)]
    assert [(drop.heading, drop.reason) for drop in found.drops if drop.page_id is not None] == [
        ("Criticism", "parser_gave_up"),
        ("Fraud", "parser_gave_up"),
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [30_000, 300_000])
def test_every_hostile_section_is_mined_within_a_minute_and_the_other_pages_are_whole(
    tmp_path: Path, size: int
) -> None:
    sound = written_pages(len(HOSTILE) + 1, words=150, seed=3)
    hostile = [
        WrittenPage(page.page_id + 20_000, name, f"== Criticism ==\n{HOSTILE[name](size)}", 5)
        for page, name in zip(sound, HOSTILE, strict=False)
    ]
    mixed = sorted([*(replace(page, page_id=page.page_id * 2) for page in sound)], key=lambda page: page.page_id)
    everything = [page for pair in zip(mixed, hostile, strict=False) for page in pair] + mixed[-1:]
    numbered = [replace(page, page_id=number) for number, page in enumerate(everything, 1)]
    data, _ = multistream(numbered, 10)
    path = tmp_path / "x.xml.bz2"
    path.write_bytes(data)
    began = time.monotonic()
    found = mine(path, to_text=plain_text, limits=Limits(), processes=2)
    took = time.monotonic() - began
    assert (found.error, found.reasons) == (None, {"kept": len(numbered)})
    assert took < 60, f"took {took:.1f} s"
    names = {page.page_id for page in numbered if page.title in HOSTILE}
    kept = [section for section in found.sections if section.page_id not in names]
    assert [section.page_id for section in kept] == [page.page_id for page in numbered if page.page_id not in names]
    alone = packed(tmp_path, export_xml([page for page in numbered if page.page_id not in names]), "plain XML")
    assert tuple(kept) == mine(alone, to_text=plain_text, limits=Limits()).sections
    told = {section.page_id for section in found.sections} | {drop.page_id for drop in found.drops}
    assert names <= told
