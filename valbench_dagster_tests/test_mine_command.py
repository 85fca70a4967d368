"""The command `valbench mine`: what it writes, what it says, and that a run that fails changes nothing."""

import bz2
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from valbench_dagster.cli import main
from valbench_dagster.dumps.names import DumpFilesError
from valbench_dagster.mining.mine import MineProgress
from valbench_dagster.records import DumpDamage, MinedFile, SectionDrop
from valbench_dagster.report.mining_lines import MOST_DAMAGES, progress_line, summary_lines
from valbench_dagster.stages.sections import Tally
from valbench_dagster.steps.mine_to_folder import mine_to_folder, snapshot_of
from valbench_dagster_tests.dump_content import (
    classic_snapshot,
    export_xml,
    exports_snapshot,
    multistream,
    stream_spans,
    truncated,
    with_stream_corrupted,
    written_pages,
)
from valbench_dagster_tests.mining_runs import SNAPSHOT

FOLDER = os.environ.get("VALBENCH_TEST_DUMPS")
NAME = "enwiki-20261001-pages-articles-multistream.xml.bz2"
INDEX = "enwiki-20261001-pages-articles-multistream-index.txt.bz2"
PAGES = written_pages(9, words=150)  # page 10 to 99, each with a section of 100 words
DAY = date(2026, 10, 1)
DATA, LINES = multistream(PAGES, 3)
OUTPUT = ["dump_damages.parquet", "mined_files.parquet", "section_drops.parquet", "sections.parquet"]


def put(folder: Path, data: bytes = DATA, name: str = NAME, index: str | None = LINES) -> Path:
    if index is not None:
        (folder / INDEX).write_bytes(bz2.compress(index.encode()))
    (folder / name).write_bytes(data)
    return folder / name


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["mine", "--processes", "1", *map(str, words)], catch_exceptions=False)


def read(out: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(out / f"{table}.parquet")


def test_it_writes_four_tables_and_says_what_became_of_everything(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    result = run(put(tmp_path), "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == OUTPUT
    sections = read(out, "sections")
    assert sections["page_id"].to_list() == [page.page_id for page in PAGES]
    assert set(sections["snapshot"]) == {SNAPSHOT}
    assert set(sections["wiki"]) == {"enwiki"}
    assert read(out, "dump_damages").is_empty()
    [file] = read(out, "mined_files").to_dicts()
    assert (file["name"], file["pages"], file["closed"], file["indexed_pages"]) == (NAME, 9, True, 9)
    drops = read(out, "section_drops")
    assert drops.filter(pl.col("unit") == "page")["counted"].sum() == 9
    lines = result.output.splitlines()
    assert lines[:7] == [
        "9 pages in 1 file:",
        "           0  other namespace",
        "           0  redirect",
        "           0  other content model",
        "           0  empty or hidden",
        "           0  no matching heading",
        "           9  kept",
    ]
    assert lines[7] == "9 sections kept"
    shares = r"decode .* s \(\d+%\), look .*, parse .*, clean .*"
    assert re.fullmatch(rf"0 MB of XML in \d+\.\d s; the workers' time: {shares}", lines[8])
    assert len(lines) == 9


def test_sections_that_are_dropped_are_counted_in_its_words(tmp_path: Path) -> None:
    short = [replace(PAGES[0], text="== Fraud ==\nx"), replace(PAGES[1], text="== Fraud ==\n<!-- -->"), *PAGES[2:]]
    result = run(put(tmp_path, multistream(short, 3)[0]), "--out", tmp_path / "out")
    assert "7 sections kept, 1 no text left, 1 too short" in result.output


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(put(tmp_path), "--out", tmp_path / name, "--processes", 2).exit_code == 0
    for name in OUTPUT:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# Which snapshot it is.


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("enwiki-20240801-pages-articles-multistream11.xml-p5399367p6899366.bz2", "enwiki-20240801"),
        ("enwiki-2026-10-01-p10p1113635.xml.bz2", "enwiki-20261001"),
        ("be_x_oldwiki-20261001-pages-articles.xml.bz2", "be_x_oldwiki-20261001"),
        ("simplewiki-20190814.xml", "simplewiki-20190814"),
    ],
)
def test_the_names_of_files_tell_the_snapshot(name: str, key: str) -> None:
    assert snapshot_of([Path("somewhere") / name]) == key


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["dump.xml"], "dump.xml: the name tells no wiki and date"),
        (["enwiki-latest-pages-articles.xml.bz2"], "the name tells no wiki and date"),
        (["enwiki-20261001-a.xml", "enwiki-20261101-a.xml"], "different snapshots: enwiki-20261001, enwiki-20261101"),
        (["enwiki-20261341-a.xml"], "20261341 is no date"),
    ],
)
def test_names_that_tell_none_or_several_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(DumpFilesError, match=re.escape(words)):
        snapshot_of([Path(name) for name in names])


def test_all_files_of_both_layouts_tell_their_snapshot() -> None:
    files = classic_snapshot("enwiki", DAY, PAGES, numbers=(1, 1, 2)) | classic_snapshot("enwiki", DAY, PAGES)
    assert snapshot_of([Path(name) for name in (*files, *exports_snapshot("enwiki", DAY, PAGES))]) == SNAPSHOT


def test_a_key_that_is_given_goes_before_the_name(tmp_path: Path) -> None:
    path = put(tmp_path, export_xml(PAGES), "dump.xml", index=None)
    result = run(path, "--out", tmp_path / "out", "--snapshot", "enwiki-20261101")
    assert result.exit_code == 0, result.output
    assert set(read(tmp_path / "out", "sections")["snapshot"]) == {"enwiki-20261101"}


# What goes wrong.


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output


def test_what_a_person_can_mend_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(run(tmp_path / NAME, "--out", out), f"{NAME}: there is no such file", "valbench mine FILE")
    refused(run(put(tmp_path, name="dump.xml.bz2"), "--out", out), "the name tells no wiki and date", "--snapshot")
    refused(run(put(tmp_path), "--out", out, "--snapshot", "october"), "'october' is no snapshot key")
    refused(run(put(tmp_path), "--out", out, "--snapshot", "ukwiki-20261001"), "ukwiki")
    (tmp_path / "enwiki-20261001-folder.xml").mkdir()
    refused(run(tmp_path / "enwiki-20261001-folder.xml", "--out", out), "not a file")
    assert not out.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"<html><body>Service unavailable</body></html>", "expected <mediawiki>"),
        (truncated(DATA, stream_spans(DATA)[2][1]), "cut short at or after byte"),
        (with_stream_corrupted(DATA, 2), "corrupt at or after byte"),
    ],
)
def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path, data: bytes, words: str) -> None:
    out = tmp_path / "out"
    assert run(put(tmp_path), "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    refused(run(put(tmp_path, data), "--out", out), NAME, words)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_that_fails_late_leaves_what_was_there_too(tmp_path: Path) -> None:
    # Every section is written by the time the end of the document is missed.
    out = tmp_path / "out"
    assert run(put(tmp_path), "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    refused(run(put(tmp_path, truncated(DATA, stream_spans(DATA)[4][0])), "--out", out), "found the end")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_is_sound_of_a_damaged_file_is_kept_and_the_damage_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(put(tmp_path, with_stream_corrupted(DATA, 2)), "--out", out, "--damaged", "keep")
    assert result.exit_code == 0, result.output
    ids = [page.page_id for page in PAGES]
    assert read(out, "sections")["page_id"].to_list() == ids[:3] + ids[6:]
    [damage] = read(out, "dump_damages").to_dicts()
    assert (damage["kind"], damage["after_page_id"], damage["before_page_id"]) == ("corrupt", ids[2], ids[6])
    assert damage["missing_pages"] == 3
    [line] = [line for line in result.output.splitlines() if line.startswith("DAMAGED")]
    where = f"at or after byte {damage['byte_offset']}, after page {ids[2]}, before page {ids[6]}"
    assert line.startswith(f"DAMAGED: {NAME}, corrupt {where}: ")
    assert line.endswith(f"lost by the index: page {ids[3]}, {ids[4]}, {ids[5]}")


@pytest.mark.skipif(FOLDER is None, reason="NOT RUN: the export that is cut short; set VALBENCH_TEST_DUMPS")
def test_the_export_that_is_cut_short_is_refused_or_kept_up_to_the_cut(tmp_path: Path) -> None:
    [path] = Path(FOLDER or "").glob("*/*cut-short*")
    words = (path, "--out", tmp_path, "--snapshot", "enwiki-20230501")
    refused(run(*words), path.name, f"byte {path.stat().st_size}", "page 1218", "--damaged keep")
    assert list(tmp_path.iterdir()) == []
    result = run(*words, "--damaged", "keep")
    assert result.exit_code == 0, result.output
    assert "532 pages in 1 file:" in result.output
    assert "after page 1218: expected </mediawiki> after the last page, found a page that is cut short" in result.output
    [file] = read(tmp_path, "mined_files").to_dicts()
    assert (file["pages"], file["last_page_id"], file["closed"]) == (532, 1218, False)


# What is said.


def test_on_a_terminal_a_line_tells_how_far_it_is(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "valbench_dagster.cli", "mine", str(put(tmp_path)), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        output, _ = process.communicate(timeout=60)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert process.returncode == 0, shown
    assert re.search(r"\r100% of 0 MB, \d+\.\d MB/s, 0 s left: 9 pages, 9 sections +\r?\n", shown)
    assert b"9 sections kept" in output


def test_the_line_of_progress_tells_share_speed_and_time_left() -> None:
    # 50 of 200 MB in 10 s are 5 MB/s; the other 150 MB take 30 s.
    line = progress_line(MineProgress(50_000_000, 200_000_000, 1234, 56, 10.0))
    assert line.strip() == "25% of 200 MB, 5.0 MB/s, 30 s left: 1234 pages, 56 sections"
    assert progress_line(MineProgress(0, 200_000_000, 0, 0, 0.0)).strip() == (
        "0% of 200 MB, 0.0 MB/s, ...: 0 pages, 0 sections"
    )


SOUND = MinedFile(SNAPSHOT, 0, "x.xml", 10, 5, 1, 9, True, 5, 0, 0, 3, 0, 0, 0)


def lines(*files: MinedFile, damages: int = 0, drops: tuple[SectionDrop, ...] = ()) -> list[str]:
    tally = Tally(SNAPSHOT)
    tally.drops += drops
    found = [
        DumpDamage(SNAPSHOT, 0, number, "x.xml", 7, "cut_short", None, None, None, "torn") for number in range(damages)
    ]
    return list(summary_lines(tally, files, found, {}))


def test_what_is_doubtful_about_a_file_is_told() -> None:
    assert [line for line in lines(SOUND) if "x.xml" in line] == []
    found = lines(replace(SOUND, unlisted_pages=2), replace(SOUND, sha1_differing=1), replace(SOUND, lost_texts=4))
    told = [line for line in found if line.startswith("DOUBTFUL: x.xml: ")]
    assert ["not 2 of" in told[0], "1 of 3 texts" in told[1], "4 pages have no text" in told[2]] == [True] * 3


def test_many_damages_are_counted_and_the_first_are_shown() -> None:
    shown = [line for line in lines(SOUND, damages=MOST_DAMAGES + 3) if line.startswith("DAMAGED")]
    assert shown[0] == "DAMAGED: x.xml, cut short at or after byte 7: torn"
    assert (len(shown), shown[-1]) == (MOST_DAMAGES + 1, "DAMAGED: 3 more places, see dump_damages.parquet")


def test_a_run_without_work_says_so() -> None:
    assert lines()[-1] == "0 MB of XML in 0.0 s; the workers' time: none"


def test_no_file_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DumpFilesError, match="No file is given"):
        mine_to_folder([], tmp_path, SNAPSHOT, processes=1)
    assert run("--out", tmp_path).exit_code == 2
