"""Files of a snapshot: how they get into the folder of dumps, in which order they are read, when they are whole."""

import bz2
import hashlib
import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.dumps.files import add_snapshot, describe, discover, list_files
from valbench_dagster.dumps.names import DumpFilesError, parse_snapshot
from valbench_dagster.records import DumpFile

XML = b"<mediawiki></mediawiki>"
KEY = "enwiki-20261101"


def make(folder: Path, name: str, data: bytes = XML) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize(
    ("key", "wiki", "day"),
    [
        ("enwiki-20261101", "enwiki", date(2026, 11, 1)),
        ("zh_yuewiki-20260228", "zh_yuewiki", date(2026, 2, 28)),
        ("my-own-wiki-20200229", "my-own-wiki", date(2020, 2, 29)),
        ("sample-20260101", "sample", date(2026, 1, 1)),
    ],
)
def test_a_key_names_wiki_and_date(key: str, wiki: str, day: date) -> None:
    assert parse_snapshot(key) == (wiki, day)


@pytest.mark.parametrize(
    "key",
    [
        *("", "enwiki", "enwiki-2026", "EnWiki-20261101", "-20261101", "enwiki-20261301", "enwiki-20260229"),
        *("../x-20261101", "enwiki-20261101\n", " enwiki-20261101", "en/wiki-20261101", "enwiki-２０２６１１０１"),
        "_x-20261101",
    ],
)
def test_any_other_key_is_refused(key: str) -> None:
    with pytest.raises(DumpFilesError, match=r"Expected \{wiki\}-\{YYYYMMDD\}"):
        parse_snapshot(key)


@given(st.text(max_size=30))
def test_no_key_leaves_the_folder_of_dumps(key: str) -> None:
    try:
        parse_snapshot(key)
    except DumpFilesError:
        return
    assert Path(key).name == key
    assert not key.startswith(".")


def test_files_are_linked_into_the_snapshot(tmp_path: Path) -> None:
    first = make(tmp_path / "in", "b.xml")
    second = make(tmp_path / "in", "a.xml.bz2", bz2.compress(XML))
    placed = add_snapshot(tmp_path / "dumps", KEY, [first, second])
    assert placed == [tmp_path / "dumps" / KEY / "b.xml", tmp_path / "dumps" / KEY / "a.xml.bz2"]
    assert all(there.samefile(given) for there, given in zip(placed, [first, second], strict=True))
    assert sorted(path.name for path in (tmp_path / "dumps" / KEY).iterdir()) == ["a.xml.bz2", "b.xml"]


def test_copies_are_files_of_their_own(tmp_path: Path) -> None:
    given = make(tmp_path / "in", "a.xml")
    (placed,) = add_snapshot(tmp_path / "dumps", KEY, [given], mode="copy")
    assert placed.read_bytes() == XML
    assert not placed.samefile(given)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "a.xml"
    link.symlink_to(make(tmp_path / "in", "other name"))
    (placed,) = add_snapshot(tmp_path / "dumps", KEY, [link])
    assert not placed.is_symlink()
    assert placed.read_bytes() == XML


def test_adding_the_same_again_changes_nothing(tmp_path: Path) -> None:
    given = make(tmp_path / "in", "a.xml")
    add_snapshot(tmp_path / "dumps", KEY, [given])
    before = discover(tmp_path / "dumps")
    add_snapshot(tmp_path / "dumps", KEY, [given])
    add_snapshot(tmp_path / "dumps", KEY, [make(tmp_path / "copy", "a.xml")])
    assert discover(tmp_path / "dumps") == before


def test_a_part_more_may_come_later(tmp_path: Path) -> None:
    add_snapshot(tmp_path / "dumps", KEY, [make(tmp_path / "in", "x1.xml")])
    add_snapshot(tmp_path / "dumps", KEY, [make(tmp_path / "in", "x2.xml")])
    assert [path.name for path in list_files(tmp_path / "dumps", KEY)] == ["x1.xml", "x2.xml"]


def test_every_problem_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    source = tmp_path / "in"
    add_snapshot(tmp_path / "dumps", KEY, [make(source, "there.xml")])
    (source / "folder.xml").mkdir()
    files = [
        make(source, "good.xml"),
        source / "missing.xml",
        make(source, "empty.xml.bz2", b""),
        make(source, "page.xml", b"403 Forbidden"),
        make(source, "torn.xml.bz2", bz2.compress(XML)[:20]),
        make(source, "named.txt"),
        make(source, "enwiki-20240801-pages-articles-multistream-index11.txt-p1p2.bz2"),
        source / "folder.xml",
        make(tmp_path / "elsewhere", "there.xml", b"<mediawiki/>"),
        make(tmp_path / "elsewhere", "good.xml", b"<mediawiki/>"),
    ]
    with pytest.raises(DumpFilesError) as error:
        add_snapshot(tmp_path / "dumps", KEY, files)
    problems = "\n".join(error.value.problems)
    for said in (
        "good.xml is given 2 times",
        "missing.xml: there is no such file",
        "the file is empty",
        "begins with b'403 Forbid'",
        "cut short: the file ends at compressed byte 20",
        "named.txt: expected a name that ends in .xml",
        "index11.txt-p1p2.bz2: expected a name",
        "folder.xml: not a file",
        "is another file of that name",
    ):
        assert said in problems
    assert len(error.value.problems) == 9
    assert str(error.value).endswith("Run: valbench snapshot add KEY FILE...")
    assert [path.name for path in (tmp_path / "dumps" / KEY).iterdir()] == ["there.xml"]


def test_a_bad_key_and_no_files_are_problems_too(tmp_path: Path) -> None:
    with pytest.raises(DumpFilesError, match=r"'enwiki' is no snapshot key(.|\n)*No file is given"):
        add_snapshot(tmp_path / "dumps", "enwiki", [])
    assert not (tmp_path / "dumps").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    given = make(tmp_path, "a.xml")
    given.chmod(0)
    with pytest.raises(DumpFilesError, match=r"a\.xml: cannot be read"):
        add_snapshot(tmp_path / "dumps", KEY, [given])


def test_an_attempt_that_was_killed_is_not_whole_and_can_be_finished(tmp_path: Path) -> None:
    folder = tmp_path / "dumps" / KEY
    make(folder, "a.xml")
    make(folder, "b.xml.part", b"<med")
    assert discover(tmp_path / "dumps") == {}
    with pytest.raises(DumpFilesError, match=r"not whole: .* holds b\.xml\.part"):
        list_files(tmp_path / "dumps", KEY)
    add_snapshot(tmp_path / "dumps", KEY, [make(tmp_path / "in", "b.xml")])
    assert [path.name for path in list_files(tmp_path / "dumps", KEY)] == ["a.xml", "b.xml"]
    assert list(discover(tmp_path / "dumps")) == [KEY]


def test_what_was_laid_down_is_taken_away_when_the_disk_fails(tmp_path: Path) -> None:
    # A folder where the second part should be is all it takes for a disk to fail.
    folder = tmp_path / "dumps" / KEY
    (folder / "b.xml.part" / "x").mkdir(parents=True)
    files = [make(tmp_path / "in", "a.xml"), make(tmp_path / "in", "b.xml")]
    with pytest.raises(OSError, match=r"b\.xml\.part"):
        add_snapshot(tmp_path / "dumps", KEY, files)
    assert [path.name for path in folder.iterdir()] == ["b.xml.part"]


def test_parts_are_read_in_the_order_of_their_numbers_not_of_their_names(tmp_path: Path) -> None:
    names = [
        "enwiki-20261101-pages-articles-multistream1.xml-p1p41242.bz2",
        "enwiki-20261101-pages-articles-multistream2.xml-p41243p151573.bz2",
        "enwiki-20261101-pages-articles-multistream11.xml-p5399367p6899366.bz2",
        "enwiki-20261101-pages-articles-multistream11.xml-p6899367p7054859.bz2",
        "enwiki-20261101-pages-articles-multistream11.xml-p10000000p10000001.bz2",
    ]
    others = [
        "enwiki-20261101-pages-articles-multistream-index1.txt-p1p41242.bz2",
        "enwiki-20261101-pages-articles-multistream-index.txt.bz2",
        "enwiki-20261101-sha1sums.txt",
        "enwiki-20261101-sha1sums.json",
        "SHA256SUMS",
        "README.md",
        ".hidden.xml",
        "a.xml.7z",
    ]
    for name in [*reversed(names), *others]:
        make(tmp_path / KEY, name)
    (tmp_path / KEY / "folder.xml").mkdir()
    assert [path.name for path in list_files(tmp_path, KEY)] == names


def test_content_exports_are_read_by_their_first_page(tmp_path: Path) -> None:
    names = [
        "enwiki-2026-10-01-p10p1113635.xml.bz2",
        "enwiki-2026-10-01-p1113636r5r90.xml.bz2",
        "enwiki-2026-10-01-p1113636r100r200.xml.bz2",
        "enwiki-2026-10-01-p2000000p2999999.xml.bz2",
        "enwiki-2026-10-01-p10000000p19999999.xml.bz2",
    ]
    for name in sorted(names):
        make(tmp_path / KEY, name)
    assert [path.name for path in list_files(tmp_path, KEY)] == names


def test_a_snapshot_without_exports_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DumpFilesError, match=rf"there is no folder(.|\n)*valbench snapshot add {KEY}"):
        list_files(tmp_path, KEY)
    make(tmp_path / KEY, "README.md")
    with pytest.raises(DumpFilesError, match="holds no export"):
        describe(tmp_path, KEY)


def test_every_file_is_described_in_reading_order(tmp_path: Path) -> None:
    make(tmp_path / KEY, "x10.xml", b"<b/>")
    make(tmp_path / KEY, "x9.xml.bz2", bz2.compress(b"<a/>"))
    first, second = describe(tmp_path, KEY)
    assert second == DumpFile(
        snapshot=KEY,
        wiki="enwiki",
        layout="folder",
        part=1,
        name="x10.xml",
        path=f"{KEY}/x10.xml",
        bytes=4,
        sha256=hashlib.sha256(b"<b/>").hexdigest(),
        verified=False,
    )
    assert (first.part, first.name) == (0, "x9.xml.bz2")


def test_whole_snapshots_are_discovered(tmp_path: Path) -> None:
    assert discover(tmp_path / "none") == {}
    make(tmp_path / "enwiki-20261101", "a.xml")
    make(tmp_path / "dewiki-20261101", "a.xml")
    make(tmp_path / "frwiki-20261101", "a.xml.part")
    make(tmp_path / "eswiki-20261101", "a.xml")
    make(tmp_path / "eswiki-20261101", "b.tmp")
    make(tmp_path / "itwiki-20261101", "README.md")
    make(tmp_path / "not a snapshot", "a.xml")
    make(tmp_path, "ptwiki-20261101")
    assert list(discover(tmp_path)) == ["dewiki-20261101", "enwiki-20261101"]


def test_the_fingerprint_changes_with_the_files_and_only_with_them(tmp_path: Path) -> None:
    path = make(tmp_path / KEY, "a.xml")
    seen = [discover(tmp_path)[KEY]]
    make(tmp_path / KEY, "README.md")
    assert discover(tmp_path)[KEY] == seen[0]
    make(tmp_path / KEY, "b.xml")
    seen.append(discover(tmp_path)[KEY])
    path.write_bytes(XML + b"\n")
    seen.append(discover(tmp_path)[KEY])
    os.utime(path, ns=(1, 1))
    seen.append(discover(tmp_path)[KEY])
    (tmp_path / KEY / "b.xml").rename(tmp_path / KEY / "c.xml")
    seen.append(discover(tmp_path)[KEY])
    assert len(set(seen)) == len(seen)
