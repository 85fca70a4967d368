"""The checks of what was fetched and read of a dump: a sound snapshot passes all, each bad row fails its own check.

The world below is a snapshot of two files, one with an index, and the snapshot before it. A case changes one thing and
says which checks, out of all that read any of it, must fail and on which rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.adapters.facts import CURRENT, frame_of
from valbench_dagster.adapters.warehouse.checks import Check, load_checks, offending_all
from valbench_dagster.adapters.warehouse.connection import connect, rows
from valbench_dagster.identity import text_hash
from valbench_dagster.records import (
    CheckFailure,
    DumpDamage,
    DumpFile,
    MinedFile,
    Record,
    Response,
    Section,
    SectionDrop,
)
from valbench_dagster.steps.checking import BlockingCheckError, require_sound, run_checks
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.warehouse import build_warehouse
from valbench_dagster_tests.examples import SECTION, response

KEY, BEFORE = "samplewiki-20260201", "samplewiki-20260101"

DUMP = [
    DumpFile(KEY, "samplewiki", "exports", 0, "a.xml.bz2", f"{KEY}/a.xml.bz2", 900, "aa", True),
    DumpFile(KEY, "samplewiki", "exports", 1, "b.xml.bz2", f"{KEY}/b.xml.bz2", 800, "bb", True),
]
A = MinedFile(
    snapshot=KEY,
    part=0,
    name="a.xml.bz2",
    xml_bytes=5000,
    pages=60,
    first_page_id=10,
    last_page_id=99,
    closed=True,
    indexed_pages=60,
    missing_pages=0,
    unlisted_pages=0,
    sha1_compared=7,
    sha1_differing=0,
    lost_texts=0,
    damages=0,
)
B = replace(
    A,
    part=1,
    name="b.xml.bz2",
    pages=40,
    first_page_id=100,
    last_page_id=180,
    indexed_pages=None,
    missing_pages=None,
    unlisted_pages=None,
)
DROPS = [
    SectionDrop(KEY, "page", "kept", 30, None, None, None, None, None, None),
    SectionDrop(KEY, "page", "redirect", 70, None, None, None, None, None, None),
    SectionDrop(KEY, "section", "kept", 999, None, None, None, None, None, None),
]
DAMAGE = DumpDamage(
    snapshot=KEY,
    part=1,
    number=0,
    name="b.xml.bz2",
    byte_offset=700,
    kind="cut_short",
    after_page_id=180,
    before_page_id=None,
    missing_pages=None,
    detail="expected the end of a block",
)
HURT_B = replace(B, damages=1)


@dataclass(frozen=True)
class World:
    """All that the checks of a dump read; sound as it stands."""

    dump: Sequence[DumpFile] = tuple(DUMP)
    mined_files: Sequence[MinedFile] = (A, B)
    dump_damages: Sequence[DumpDamage] = ()
    section_drops: Sequence[SectionDrop] = tuple(DROPS)
    earlier_dump: Sequence[DumpFile] = tuple(replace(file, snapshot=BEFORE) for file in DUMP)
    earlier_mined_files: Sequence[MinedFile] = (replace(A, snapshot=BEFORE), replace(B, snapshot=BEFORE))


RECORDS: dict[str, type[Record]] = {
    "dump": DumpFile,
    "mined_files": MinedFile,
    "dump_damages": DumpDamage,
    "section_drops": SectionDrop,
    "earlier_dump": DumpFile,
    "earlier_mined_files": MinedFile,
}
CHECKS = [check for check in load_checks() if check.fact in ("dump", "mined_files", "dump_damages")]


def failing(world: World, *names: str) -> dict[str, list[tuple[str, str]]]:
    """Run all checks of dumps (or those named) on a world and give the offending rows of those that fail."""
    wanted = [check for check in CHECKS if not names or check.name in names]
    needed = {name for check in wanted for name in check.relations}
    found = offending_all(wanted, {name: frame(name, getattr(world, name)) for name in needed})
    return {name: offending.rows() for name, offending in found.items() if offending.height}


def frame(name: str, given_rows: Sequence[Any]) -> pl.DataFrame:
    frames = [frame_of(RECORDS[name], [row]) for row in given_rows]  # one by one: bad facts need not be in order
    return pl.concat(frames) if frames else frame_of(RECORDS[name], [])


def files(**changed: Any) -> World:
    """The sound world with changes to the first file."""
    return World(mined_files=(replace(A, **changed), B))


def hand(file: DumpFile, **changed: Any) -> DumpFile:
    return replace(file, layout="folder", verified=False, **changed)


def pages_before(first: int, second: int) -> Sequence[MinedFile]:
    return tuple(replace(file, snapshot=BEFORE, pages=n) for file, n in ((A, first), (B, second)))


# By hand: the world has 60 + 40 = 100 pages. 100 of 102 are 98.04%, 100 of 103 are 97.1%; 100 of 84 are 119.0%,
# 100 of 83 are 120.5%.
CASES: list[tuple[str, World, dict[str, list[str]]]] = [
    ("all is sound", World(), {}),
    ("no snapshot before", World(earlier_dump=(), earlier_mined_files=()), {}),
    # dump
    (
        "a file not compared",
        World(dump=(DUMP[0], replace(DUMP[1], verified=False))),
        {"unverified_file": ["b.xml.bz2"]},
    ),
    (
        "a classic file not compared",
        World(dump=[replace(file, layout="classic", verified=False) for file in DUMP]),
        {"unverified_file": ["a.xml.bz2", "b.xml.bz2"]},
    ),
    ("files given by hand", World(dump=[hand(file) for file in DUMP]), {}),
    (
        "an unknown layout",
        World(dump=[replace(file, layout="tape") for file in DUMP]),
        {"unknown_layout": ["a.xml.bz2", "b.xml.bz2"]},
    ),
    (
        "two layouts",
        World(dump=(DUMP[0], replace(DUMP[1], layout="classic"))),
        {"mixed_layouts": [KEY], "fewer_pages_than_before": [KEY]},
    ),
    (
        "two layouts, none before",
        World(dump=(DUMP[0], hand(DUMP[1])), earlier_mined_files=()),
        {"mixed_layouts": [KEY]},
    ),
    ("one file twice", World(dump=(DUMP[0], replace(DUMP[1], sha256="aa"))), {"repeated_hash": ["b.xml.bz2"]}),
    # mined_files: whole or not
    ("a file without its end", files(closed=False), {"unclosed_file": ["a.xml.bz2"]}),
    (
        "a file without its end, which a damage explains",
        World(mined_files=(A, replace(HURT_B, closed=False)), dump_damages=[DAMAGE]),
        {"damaged_dump": ["b.xml.bz2/0"]},
    ),
    *(
        (
            f"a file whose end is {kind}",
            World(mined_files=(A, replace(HURT_B, closed=False)), dump_damages=[replace(DAMAGE, kind=kind)]),
            {"damaged_dump": ["b.xml.bz2/0"]},
        )
        for kind in ("corrupt", "garbage", "malformed")
    ),
    (
        "a damage in the middle explains no missing end",
        World(
            mined_files=(A, replace(HURT_B, closed=False)),
            dump_damages=[replace(DAMAGE, kind="corrupt", before_page_id=150)],
        ),
        {"damaged_dump": ["b.xml.bz2/0"], "unclosed_file": ["b.xml.bz2"]},
    ),
    *(
        (
            f"pages {kind} explain no missing end",
            World(mined_files=(A, replace(HURT_B, closed=False)), dump_damages=[replace(DAMAGE, kind=kind)]),
            {"damaged_dump": ["b.xml.bz2/0"], "unclosed_file": ["b.xml.bz2"]},
        )
        for kind in ("out_of_order", "missing")
    ),
    (
        "a file of pages without a revision",
        World(mined_files=(replace(A, first_page_id=None, last_page_id=None), B)),
        {},
    ),
    (
        "a damage of another file explains nothing",
        World(mined_files=(replace(A, closed=False), HURT_B), dump_damages=[DAMAGE]),
        {"damaged_dump": ["b.xml.bz2/0"], "unclosed_file": ["a.xml.bz2"]},
    ),
    ("pages of the index missing", files(indexed_pages=62, missing_pages=2), {"missing_pages": ["a.xml.bz2"]}),
    (
        "missing pages that damages explain",
        World(
            mined_files=(replace(A, indexed_pages=63, missing_pages=3, damages=2), B),
            dump_damages=[
                replace(DAMAGE, part=0, name="a.xml.bz2", number=number, before_page_id=99, missing_pages=lost)
                for number, lost in ((0, 1), (1, 2))
            ],
        ),
        {"damaged_dump": ["a.xml.bz2/0", "a.xml.bz2/1"]},
    ),
    (
        "more missing pages than damages explain",
        World(
            mined_files=(replace(A, indexed_pages=63, missing_pages=3, damages=1), HURT_B),
            dump_damages=[replace(DAMAGE, part=0, name="a.xml.bz2", missing_pages=2), replace(DAMAGE, missing_pages=9)],
        ),
        {"damaged_dump": ["a.xml.bz2/0", "b.xml.bz2/0"], "missing_pages": ["a.xml.bz2"]},
    ),
    ("pages that no index lists", files(unlisted_pages=1), {"unlisted_pages": ["a.xml.bz2"]}),
    ("texts of another sha1", files(sha1_differing=1), {"kept_text_of_another_sha1": ["a.xml.bz2"]}),
    ("texts lost at the source", files(lost_texts=3), {"lost_texts": ["a.xml.bz2"]}),
    # mined_files: against each other
    ("files that share a page", files(last_page_id=100), {"overlapping_files": ["b.xml.bz2"]}),
    (
        "files in another order than their pages",
        World(
            mined_files=(replace(A, first_page_id=100, last_page_id=180), replace(B, first_page_id=10, last_page_id=99))
        ),
        {"overlapping_files": ["b.xml.bz2"]},
    ),
    (
        "a file without pages between two",
        World(
            dump=(DUMP[0], replace(DUMP[1], part=2), replace(DUMP[1], part=1, name="e.xml.bz2", sha256="ee")),
            mined_files=(
                A,
                replace(B, part=1, name="e.xml.bz2", pages=0, first_page_id=None, last_page_id=None, sha1_compared=0),
                replace(B, part=2),
            ),
        ),
        {},
    ),
    # mined_files: against other tables
    (
        "a file that was not read",
        World(mined_files=(A,), section_drops=[replace(DROPS[0], counted=60)]),
        {"unmined_file": ["b.xml.bz2"], "fewer_pages_than_before": [KEY]},
    ),
    (
        "a file that is not the dump's",
        World(dump=DUMP[:1]),
        {"unmined_file": ["b.xml.bz2"], "fewer_pages_than_before": [KEY]},
    ),
    (
        "a file of another name",
        World(dump=(DUMP[0], replace(DUMP[1], name="c.xml.bz2"))),
        {"unmined_file": ["c.xml.bz2"]},
    ),
    ("a page too many", files(pages=61, indexed_pages=61), {"miscounted_pages": [KEY]}),
    (
        "a page counted twice",
        World(section_drops=[*DROPS, replace(DROPS[0], reason="empty_or_hidden", counted=1)]),
        {"miscounted_pages": [KEY]},
    ),
    ("no page counted", World(section_drops=DROPS[2:]), {"miscounted_pages": [KEY]}),
    ("a damage that is not listed", files(damages=1), {"miscounted_damages": ["a.xml.bz2"]}),
    (
        "a damage that is not counted",
        World(dump_damages=[DAMAGE]),
        {"damaged_dump": ["b.xml.bz2/0"], "miscounted_damages": ["b.xml.bz2"]},
    ),
    (
        "a damage of a file that was not read",
        World(dump_damages=[replace(DAMAGE, part=7, name="h.xml.bz2")]),
        {"damaged_dump": ["h.xml.bz2/0"], "miscounted_damages": ["h.xml.bz2"]},
    ),
    # mined_files: against the snapshot before
    ("as many pages as 98% of before", World(earlier_mined_files=pages_before(60, 42)), {}),
    (
        "fewer pages than 98% of before",
        World(earlier_mined_files=pages_before(60, 43)),
        {"fewer_pages_than_before": [KEY]},
    ),
    ("nearly 120% of the pages before", World(earlier_mined_files=pages_before(44, 40)), {}),
    (
        "over 120% of the pages before",
        World(earlier_mined_files=pages_before(43, 40)),
        {"far_more_pages_than_before": [KEY]},
    ),
    (
        "fewer pages than in a dump of another layout",
        World(
            earlier_mined_files=pages_before(600, 400),
            earlier_dump=[replace(file, snapshot=BEFORE, layout="classic") for file in DUMP],
        ),
        {},
    ),
    # mined_files: against themselves
    *(
        (f"contradictory: {changed}", files(**changed), {"contradictory_counts": ["a.xml.bz2"]})
        for changed in (
            {"xml_bytes": -1},
            {"lost_texts": -1},
            {"unlisted_pages": -1},
            {"sha1_compared": 61},
            {"indexed_pages": None},
            {"missing_pages": None},
            {"unlisted_pages": None},
            {"first_page_id": None},
            {"first_page_id": 100},
        )
    ),
    (
        "a first page where none was read",
        World(mined_files=(replace(A, pages=0, sha1_compared=0), replace(B, pages=100))),
        {"contradictory_counts": ["a.xml.bz2"]},
    ),
    (
        "more differing than compared",
        files(sha1_differing=8),
        {"contradictory_counts": ["a.xml.bz2"], "kept_text_of_another_sha1": ["a.xml.bz2"]},
    ),
    (
        "more lost texts than pages",
        files(lost_texts=61),
        {"contradictory_counts": ["a.xml.bz2"], "lost_texts": ["a.xml.bz2"]},
    ),
    (
        "more unlisted than read",
        files(unlisted_pages=61),
        {"contradictory_counts": ["a.xml.bz2"], "unlisted_pages": ["a.xml.bz2"]},
    ),
    (
        "more missing than listed",
        files(missing_pages=61),
        {"contradictory_counts": ["a.xml.bz2"], "missing_pages": ["a.xml.bz2"]},
    ),
    # dump_damages
    (
        "a damage of an unknown kind",
        World(mined_files=(A, HURT_B), dump_damages=[replace(DAMAGE, kind="wet")]),
        {"damaged_dump": ["b.xml.bz2/0"], "unknown_kind": ["b.xml.bz2/0"]},
    ),
]


@pytest.mark.parametrize(("world", "expected"), [pytest.param(world, ids, id=name) for name, world, ids in CASES])
def test_a_bad_row_fails_its_check_and_no_other(world: World, expected: dict[str, list[str]]) -> None:
    found = failing(world)
    assert {name: [row_id for row_id, _ in offending] for name, offending in found.items()} == expected


def test_every_check_of_dumps_is_shown_able_to_fail() -> None:
    assert {name for _, _, expected in CASES for name in expected} == {check.name for check in CHECKS}


# What a person reads beside the row: expected and found, both as numbers where both are.
DETAILS = [
    (
        "unclosed_file",
        files(closed=False),
        "expected </mediawiki> at the end, found none after 60 pages and 5000 bytes of XML; the last whole page is 99",
    ),
    (
        "unclosed_file",
        files(closed=False, pages=0, last_page_id=None),
        "expected </mediawiki> at the end, found none after 0 pages and 5000 bytes of XML; no page is whole",
    ),
    (
        "missing_pages",
        files(indexed_pages=62, missing_pages=2),
        "2 of 62 pages in its index were not read; damages explain 0",
    ),
    ("unlisted_pages", files(unlisted_pages=2), "2 of 60 pages read are not among the 60 in its index"),
    (
        "kept_text_of_another_sha1",
        files(sha1_differing=1),
        "1 of 7 texts compared have another SHA-1 than the dump states",
    ),
    ("lost_texts", files(lost_texts=3), "3 of 60 pages have no text although the dump states a length above 0"),
    (
        "overlapping_files",
        files(last_page_id=120),
        "begins with page 100; a.xml.bz2, which is read before it, ends with page 120",
    ),
    ("miscounted_pages", files(pages=61), "101 pages are read from files, 100 are counted under a reason"),
    ("miscounted_damages", files(damages=2), "2 damages are counted, 0 are listed in dump_damages"),
    (
        "unmined_file",
        World(mined_files=(A,)),
        "part 1 is b.xml.bz2 in the dump, no file among the files read: materialise sections again",
    ),
    (
        "fewer_pages_than_before",
        World(earlier_mined_files=pages_before(60, 43)),
        f"100 pages in {KEY}, 103 in {BEFORE} (both of layout exports): under 98%",
    ),
    (
        "far_more_pages_than_before",
        World(earlier_mined_files=pages_before(43, 40)),
        f"100 pages in {KEY}, 83 in {BEFORE} (both of layout exports): over 120%",
    ),
    (
        "damaged_dump",
        World(dump_damages=[DAMAGE]),
        "cut_short at or after byte 700, after page 180 and before no page, an unknown number of pages lost: "
        "expected the end of a block",
    ),
    (
        "damaged_dump",
        World(dump_damages=[replace(DAMAGE, after_page_id=None, before_page_id=101, missing_pages=4)]),
        "cut_short at or after byte 700, after no page and before page 101, 4 pages lost: expected the end of a block",
    ),
    (
        "mixed_layouts",
        World(dump=(DUMP[0], hand(DUMP[1]))),
        "has 1 of layout exports, 1 of layout folder; expected files of one layout",
    ),
    (
        "repeated_hash",
        World(dump=(DUMP[0], replace(DUMP[1], sha256="aa"))),
        "part 1 is byte for byte part 0, a.xml.bz2 (SHA-256 aa…)",
    ),
    (
        "contradictory_counts",
        files(indexed_pages=None, sha1_differing=8),
        "8 differing of 7 compared texts; pages in the index null, missing 0, unlisted 0",
    ),
]


@pytest.mark.parametrize(("name", "world", "detail"), DETAILS)
def test_a_detail_holds_both_numbers(name: str, world: World, detail: str) -> None:
    [(_, told)] = failing(world, name)[name]
    assert told == detail


# --- Arithmetic against a short oracle -------------------------------------------------------------------------------

SMALL = st.integers(0, 6)
RANGES = st.lists(st.one_of(st.none(), st.tuples(SMALL, SMALL).map(sorted)), min_size=1, max_size=5)


@settings(max_examples=25)
@given(RANGES)
def test_files_overlap_where_an_earlier_one_goes_on_to_their_first_page(ranges: list[list[int] | None]) -> None:
    mined = [
        replace(A, part=part, name=f"{part}", first_page_id=found[0], last_page_id=found[1])
        if found
        else replace(A, part=part, name=f"{part}", pages=0, first_page_id=None, last_page_id=None)
        for part, found in enumerate(ranges)
    ]
    expected, highest = set(), -1
    for part, found in enumerate(ranges):
        if found:
            if found[0] <= highest:
                expected.add(f"{part}")
            highest = max(highest, found[1])
    told = failing(World(mined_files=mined), "overlapping_files").get("overlapping_files", [])
    assert {row_id for row_id, _ in told} == expected


MINED = st.lists(st.tuples(st.integers(0, 250), st.sampled_from(["exports", "classic"])), max_size=4)


@settings(max_examples=25)
@given(st.integers(0, 250), MINED)
def test_pages_are_compared_with_the_last_snapshot_of_the_layout(pages: int, earlier: list[tuple[int, str]]) -> None:
    # Snapshots of January, February, ... 2025, in two files each; of the layout of this one only the last one counts.
    keys = [f"samplewiki-2025{month:02}01" for month in range(1, len(earlier) + 1)]
    world = World(
        mined_files=(replace(A, pages=pages), replace(B, pages=0)),
        earlier_dump=[
            replace(file, snapshot=key, layout=layout)
            for key, (_, layout) in zip(keys, earlier, strict=True)
            for file in DUMP
        ],
        earlier_mined_files=[
            replace(file, snapshot=key, pages=count)
            for key, (total, _) in zip(keys, earlier, strict=True)
            for file, count in ((A, total // 3), (B, total - total // 3))
        ],
    )
    same = [total for total, layout in earlier if layout == "exports"]
    expected = set()
    if same and pages < Fraction(98, 100) * same[-1]:
        expected.add("fewer_pages_than_before")
    if same and pages > Fraction(120, 100) * same[-1]:
        expected.add("far_more_pages_than_before")
    assert set(failing(world, "fewer_pages_than_before", "far_more_pages_than_before")) == expected


# --- Over facts on disk ----------------------------------------------------------------------------------------------


def publish(project: Project, snapshot: str, world: World) -> None:
    """Publish a world's own rows under a snapshot key."""
    project.settings.home.mkdir(parents=True, exist_ok=True)
    for name in ("dump", "mined_files", "dump_damages", "section_drops"):
        given_rows = [replace(row, snapshot=snapshot) for row in getattr(world, name)]
        project.facts.publish(RECORDS[name], snapshot, given_rows, input_fingerprint="f")


def told(project: Project, fact: str = "mined_files") -> dict[str, list[tuple[str, str]]]:
    outcomes = run_checks(project, fact, KEY, load_checks(fact))
    return {outcome.check.name: list(outcome.rows) for outcome in outcomes if not outcome.passed}


MORE = World(mined_files=(replace(A, pages=90), B))


def test_a_snapshot_is_compared_with_the_one_before_of_its_own_wiki(project: Project) -> None:
    publish(project, KEY, World())
    # Neither a later one, nor another wiki's, nor one whose name only begins alike.
    for key in ("samplewiki-20260301", "samplewikiquote-20260101", "sample-20260101"):
        publish(project, key, MORE)
    assert told(project) == {}
    publish(project, "samplewiki-20251201", MORE)
    detail = f"100 pages in {KEY}, 130 in samplewiki-20251201 (both of layout exports): under 98%"
    assert told(project) == {"fewer_pages_than_before": [(KEY, detail)]}
    [kept] = project.facts.rows(CheckFailure, f"mined_files/fewer_pages_than_before/{KEY}")
    assert (kept.row_id, kept.detail) == (KEY, detail)
    # The snapshot of January comes between: it is the one to be compared with, and it has as many pages.
    publish(project, BEFORE, World())
    assert told(project) == {}
    assert list(project.facts.rows(CheckFailure, f"mined_files/fewer_pages_than_before/{KEY}")) == []


def test_earlier_snapshots_of_a_fact_by_model_are_those_of_the_same_model(project: Project) -> None:
    statement = "SELECT snapshot AS row_id, model AS detail FROM earlier_responses"
    check = Check("earlier_row", "responses", "warn", False, "Forbids any.", (), ("responses",), statement)
    project.settings.home.mkdir(parents=True, exist_ok=True)
    for snapshot, model in ((KEY, "m"), (BEFORE, "m"), (BEFORE, "n"), ("samplewiki-20260301", "m")):
        row = replace(response("for", "So."), snapshot=snapshot, model=model)
        project.facts.publish(Response, f"{snapshot}/{model}", [row], input_fingerprint="f")
    [outcome] = run_checks(project, "responses", f"{KEY}/m", [check])
    assert outcome.rows == ((BEFORE, "m"),)


def test_an_earlier_snapshot_that_this_version_cannot_read_is_not_compared(project: Project) -> None:
    publish(project, KEY, World())
    publish(project, BEFORE, MORE)
    assert set(told(project)) == {"fewer_pages_than_before"}
    pointer = Path(project.settings.facts) / "mined_files" / BEFORE / CURRENT
    text = pointer.read_text(encoding="utf-8")
    pointer.write_text(text.replace('"schema_version": 1', '"schema_version": 0'), encoding="utf-8")
    assert told(project) == {}


def test_sections_of_an_older_version_are_told_to_be_mined_again(project: Project) -> None:
    publish(project, KEY, World())
    for name in ("mined_files", "dump_damages"):
        (Path(project.settings.facts) / name / KEY / CURRENT).unlink()
    assert set(told(project)) == {"unmined_file", "miscounted_pages"}
    assert told(project, "dump_damages") == {}


# --- Before money is spent -----------------------------------------------------------------------------------------


@pytest.fixture
def mined(project: Project) -> Project:
    """A project with one section that passes every check, and nothing that vouches for it."""
    project.settings.home.mkdir(parents=True, exist_ok=True)
    section = replace(SECTION, snapshot=KEY, wiki="samplewiki", text_hash=text_hash(SECTION.text))
    project.facts.publish(Section, KEY, [section], input_fingerprint="f")
    return project


ONE_SECTION = [*DROPS[:2], replace(DROPS[2], counted=1)]


def test_sections_that_stand_alone_are_asked_about(mined: Project) -> None:
    require_sound(mined, "sections", KEY)


def test_sections_of_a_whole_dump_are_asked_about(mined: Project) -> None:
    publish(mined, KEY, World(section_drops=ONE_SECTION))
    require_sound(mined, "sections", KEY)


def test_sections_of_a_damaged_dump_that_the_operator_kept_are_asked_about(mined: Project) -> None:
    kept = World(mined_files=(A, replace(HURT_B, closed=False)), dump_damages=[DAMAGE], section_drops=ONE_SECTION)
    publish(mined, KEY, kept)
    assert set(told(mined, "dump_damages")) == {"damaged_dump"}
    require_sound(mined, "sections", KEY)


@pytest.mark.parametrize(
    ("world", "complaint", "remedy"),
    [
        (
            World(mined_files=(replace(A, closed=False), B), section_drops=ONE_SECTION),
            "mined_files/unclosed_file: 1 offending, such as a.xml.bz2: expected </mediawiki>",
            "the checks of sections, mend their source, materialise sections again.",
        ),
        (
            World(dump=[replace(file, verified=False) for file in DUMP], section_drops=ONE_SECTION),
            "dump/unverified_file: 2 offending, such as a.xml.bz2: came from the layout exports",
            "the checks of dump, mend their source, materialise dump again.",
        ),
        (
            World(dump=[replace(file, verified=False) for file in DUMP]),
            "section_drops/miscounted_sections: 1 offending, such as section/kept: 999 sections are counted, 1 are",
            "the checks of dump and sections, mend their source, materialise dump and sections again.",
        ),
    ],
)
def test_what_is_wrong_with_a_dump_stops_who_would_spend_money_on_its_sections(
    mined: Project, world: World, complaint: str, remedy: str
) -> None:
    publish(mined, KEY, world)
    with pytest.raises(BlockingCheckError) as raised:
        require_sound(mined, "sections", KEY)
    assert f"  {complaint}" in str(raised.value)
    assert str(raised.value).endswith(remedy)


# --- The warehouse -------------------------------------------------------------------------------------------------


def test_both_tables_are_in_the_warehouse_and_a_snapshot_without_them_is_no_hindrance(project: Project) -> None:
    publish(project, KEY, World(mined_files=(A, HURT_B), dump_damages=[DAMAGE]))
    project.facts.publish(DumpFile, BEFORE, [replace(hand(DUMP[0]), snapshot=BEFORE)], input_fingerprint="f")
    built = {table.name: table.rows for table in build_warehouse(project, connect).tables}
    assert (built["snapshots"], built["mined_files"], built["dump_damages"]) == (2, 2, 1)
    with connect(project.settings.warehouse, read_only=True) as warehouse:
        assert rows(warehouse, "SELECT part, kind FROM dump_damages").rows() == [(1, "cut_short")]
        assert rows(warehouse, "SELECT snapshot, verified FROM snapshots ORDER BY ALL").rows() == [
            (BEFORE, False),
            (KEY, True),
        ]
