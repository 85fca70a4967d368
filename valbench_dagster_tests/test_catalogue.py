"""The catalogue: what a dump server offers in both layouts, and which listings are not believed.

The server is a script of documents and sizes by path that remembers what it was asked. All listings are made up here.
Stores have a file of their own.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.dumps.catalogue import (
    Catalogue,
    CatalogueError,
    NotThereError,
    Offer,
    RemoteFile,
    newest_complete,
    open_catalogue,
)
from valbench_dagster.dumps.files import list_files
from valbench_dagster.dumps.page_ranges import in_reading_order, pages_of, range_problems

SHA1 = "0123456789abcdef0123456789abcdef01234567"
MD5 = "0123456789abcdef0123456789abcdef"
SHA256 = "0123456789abcdef" * 4
PARTS, WHOLE = "articlesmultistreamdump", "articlesmultistreamdumprecombine"
EXPORTS = "/other/mediawiki_content_current"


@dataclass
class Script:
    """A server that has these documents and these sizes, and nothing else."""

    texts: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def text(self, path: str) -> str:
        self.asked.append(path)
        if path not in self.texts:
            raise NotThereError(path)
        return self.texts[path]

    def size(self, path: str) -> int | None:
        self.asked.append(path)
        if path not in self.sizes:
            raise NotThereError(path)
        return self.sizes[path]


def page(*links: str) -> str:
    return "<html><pre>" + "".join(f'<a href="{link}">{link}</a>\n' for link in links) + "</pre></html>"


# The classic layout.

P1, P2, P11, P11B = (
    f"enwiki-20261001-pages-articles-multistream{tail}.bz2"
    for tail in ("1.xml-p1p99", "2.xml-p100p250", "11.xml-p1000p1999", "11.xml-p2000p30000")
)
I1, I2, I11, I11B = (
    name.replace("-multistream", "-multistream-index").replace(".xml", ".txt") for name in (P1, P2, P11, P11B)
)
BIG = [P1, P2, P11, P11B, I1, I2, I11, I11B]
ONE = "enwiki-20261001-pages-articles-multistream.xml.bz2"


def entry(name: str, size: int = 7, *, wiki: str = "enwiki", date: str = "20261001") -> dict[str, Any]:
    return {"size": size, "url": f"/{wiki}/{date}/{name}", "sha1": SHA1, "md5": MD5}


def job(names: list[str], status: str = "done") -> dict[str, Any]:
    files = {name: entry(name, size) for size, name in enumerate(names, start=1)}
    return {"status": status, "updated": "2026-10-03 11:50:45", "files": files}


def classic_server(jobs: dict[str, Any], date: str = "20261001") -> Script:
    status = json.dumps({"version": "0.8", "jobs": jobs})
    return Script({"/enwiki/": page("../", f"{date}/", "latest/"), f"/enwiki/{date}/dumpstatus.json": status})


def classic_offer(jobs: dict[str, Any]) -> Offer:
    offer = open_catalogue("classic", classic_server(jobs)).offer("enwiki", "20261001")
    assert offer is not None
    assert offer.complete == (offer.missing == "")
    return offer


def names(files: tuple[RemoteFile, ...]) -> list[str]:
    return [file.name for file in files]


def test_dates_are_folders_of_eight_digits_and_newest_first() -> None:
    links = (
        "../",
        "20260901/",
        "/enwiki/20261001/",
        "./20260801/",
        "latest/",
        "2026/",
        "20261399/",
        "/dewiki/20261101/",
    )
    catalogue = open_catalogue("classic", Script({"/enwiki/": page(*links, "20260901/")}))
    assert catalogue.dates("enwiki") == ["20261001", "20260901", "20260801"]


def test_an_unknown_wiki_has_no_dates() -> None:
    for source in ("classic", "exports", "auto"):
        assert open_catalogue(source, Script()).dates("nowiki") == []


def test_parts_are_read_by_page_range_not_by_name_and_carry_what_the_status_says() -> None:
    offer = classic_offer({PARTS: job([P11B, P2, P11, P1, I2, I11, I1, I11B])})
    assert offer.complete
    assert names(offer.files) == [P1, P2, P11, P11B]
    # Sizes are 1 for the file listed first and so on: 4, 2, 3, 1.
    assert [file.bytes for file in offer.files] == [4, 2, 3, 1]
    assert (offer.bytes, offer.snapshot, offer.layout) == (10, "enwiki-20261001", "classic")
    assert offer.files[3] == RemoteFile(
        name=P11B,
        place=f"/enwiki/20261001/{P11B}",
        bytes=1,
        sha256=None,
        sha1=SHA1,
        md5=MD5,
        role="articles",
        first_page=2000,
        last_page=30000,
    )


def test_two_parts_of_one_number_have_each_their_own_index() -> None:
    offer = classic_offer({PARTS: job(BIG)})
    assert names(offer.indexes) == [I1, I2, I11, I11B]
    assert {index.role for index in offer.indexes} == {"index"}
    assert [offer.index_of(file) for file in offer.files] == list(offer.indexes)


def test_a_part_without_an_index_is_complete_and_has_none() -> None:
    offer = classic_offer({PARTS: job([P1, P2, I2])})
    assert offer.complete
    assert [offer.index_of(file) for file in offer.files] == [None, offer.indexes[0]]


def test_an_index_without_its_part_shows_that_a_part_is_not_listed() -> None:
    offer = classic_offer({PARTS: job([P1, I1, I2])})
    assert offer.missing == f"Job {PARTS} lists an index without its articles: {I2}."


def test_a_small_wiki_has_one_file_without_number_and_range() -> None:
    name = "zh_yuewiki-20261001-pages-articles-multistream.xml.bz2"
    index = "zh_yuewiki-20261001-pages-articles-multistream-index.txt.bz2"
    files = {each: entry(each, wiki="zh_yuewiki") for each in (index, name)}
    status = json.dumps({"jobs": {PARTS: {"status": "done", "files": files}}})
    server = Script({"/zh_yuewiki/20261001/dumpstatus.json": status})
    offer = open_catalogue("classic", server).offer("zh_yuewiki", "20261001")
    assert offer is not None
    assert offer.complete
    assert [(file.name, file.first_page, file.last_page) for file in offer.files] == [(name, None, None)]
    assert offer.index_of(offer.files[0]) == offer.indexes[0]


def test_numbered_parts_without_ranges_are_read_by_number() -> None:
    parts = [f"enwiki-20261001-pages-articles-multistream{number}.xml.bz2" for number in (1, 2, 10)]
    indexes = [f"enwiki-20261001-pages-articles-multistream-index{number}.txt.bz2" for number in (1, 2, 10)]
    offer = classic_offer({PARTS: job([*reversed(parts), *reversed(indexes)])})
    assert names(offer.files) == parts
    assert [each and each.name for each in map(offer.index_of, offer.files)] == indexes


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("waiting", "has not begun (status waiting)"),
        ("in-progress", "is still being written (status in-progress); 2 of its 2 listed files are there"),
        ("failed", "failed (status failed)"),
        ("skipped", "was left out of the run (status skipped)"),
        ("resting", "has status 'resting', expected 'done'"),
    ],
)
def test_a_job_that_is_not_done_is_not_complete(status: str, says: str) -> None:
    offer = classic_offer({PARTS: job([P1, I1], status)})
    assert offer.missing.startswith(f"Job {PARTS} {says}")
    assert names(offer.files) == [P1]


def test_a_waiting_job_may_list_no_files_at_all() -> None:
    offer = classic_offer({PARTS: {"status": "waiting"}})
    assert offer.missing == f"Job {PARTS} has not begun (status waiting)."
    assert (offer.files, offer.bytes) == ((), None)


@pytest.mark.parametrize("gone", [{"size"}, {"url"}, {"sha1"}, {"size", "url", "sha1", "md5"}])
def test_a_done_job_with_a_file_half_described_is_not_complete(gone: set[str]) -> None:
    listed = job([P1, P2])
    listed["files"][P2] = {key: value for key, value in entry(P2).items() if key not in gone}
    offer = classic_offer({PARTS: listed})
    assert offer.missing == f"Job {PARTS} is done, but no size, URL or SHA-1 is given for {P2}."
    assert names(offer.files) == [P1, P2]
    assert offer.bytes == (None if "size" in gone else 8)


def test_a_missing_md5_is_no_reason_to_wait() -> None:
    listed = job([P1])
    del listed["files"][P1]["md5"]
    offer = classic_offer({PARTS: listed})
    assert offer.complete
    assert offer.files[0].md5 is None


def test_a_file_of_no_bytes_is_not_complete() -> None:
    listed = job([P1])
    listed["files"][P1]["size"] = 0
    assert not classic_offer({PARTS: listed}).complete


def test_a_done_job_that_lists_nothing_is_not_complete() -> None:
    assert classic_offer({PARTS: job([])}).missing == f"Job {PARTS} is done and lists no file of articles."


def test_a_job_that_goes_back_from_done_is_not_complete_the_next_time() -> None:
    server = classic_server({PARTS: job(BIG)})
    catalogue = open_catalogue("classic", server)
    before = catalogue.offer("enwiki", "20261001")
    server.texts.update(classic_server({PARTS: job(BIG, "in-progress")}).texts)
    after = catalogue.offer("enwiki", "20261001")
    assert before is not None
    assert after is not None
    assert (before.complete, after.complete) == (True, False)


def test_parts_are_taken_before_the_one_big_file() -> None:
    assert names(classic_offer({WHOLE: job([ONE]), PARTS: job([P2, P1])}).files) == [P1, P2]


@pytest.mark.parametrize("parts", [{}, {PARTS: job([], "skipped")}, {PARTS: job([])}])
def test_the_one_big_file_stands_in_for_parts_that_are_not_there(parts: dict[str, Any]) -> None:
    offer = classic_offer({**parts, WHOLE: job([ONE])})
    assert offer.complete
    assert names(offer.files) == [ONE]


@pytest.mark.parametrize("status", ["waiting", "in-progress", "failed"])
def test_the_one_big_file_of_an_earlier_attempt_does_not_stand_in_for_parts_being_made_again(status: str) -> None:
    assert not classic_offer({PARTS: job(BIG, status), WHOLE: job([ONE])}).complete


def test_single_stream_files_are_taken_only_in_a_run_without_multistream_jobs() -> None:
    parts = ["enwiki-20261001-pages-articles1.xml-p1p99.bz2", "enwiki-20261001-pages-articles2.xml-p100p250.bz2"]
    assert names(classic_offer({"articlesdump": job([*reversed(parts)])}).files) == parts
    whole = ["enwiki-20261001-pages-articles.xml.bz2"]
    assert names(classic_offer({"articlesdumprecombine": job(whole)}).files) == whole
    assert not classic_offer({PARTS: job([P1], "waiting"), "articlesdump": job(parts)}).complete
    with pytest.raises(CatalogueError, match="is no name of a file"):
        classic_offer({"articlesdump": job([*parts, I1])})


def test_where_neither_parts_nor_the_big_file_can_be_taken_both_reasons_are_told() -> None:
    offer = classic_offer({PARTS: job([], "skipped"), WHOLE: job([ONE], "waiting")})
    assert [sentence.split()[1] for sentence in offer.missing.removesuffix(".").split(". ")] == [PARTS, WHOLE]


def test_a_run_without_any_job_of_articles_is_not_complete() -> None:
    offer = classic_offer({"xmlstubsdump": {"status": ["of", "another", "shape"]}})
    assert offer.missing == "dumpstatus.json names no job articlesmultistreamdump or articlesdump."


def test_a_date_without_status_is_not_complete_and_one_without_folder_is_nothing() -> None:
    catalogue = open_catalogue("classic", Script({"/enwiki/20261001/": page("../")}))
    offer = catalogue.offer("enwiki", "20261001")
    assert offer is not None
    assert offer.missing == "The folder has no dumpstatus.json."
    assert catalogue.offer("enwiki", "20261101") is None


@pytest.mark.parametrize(
    "name",
    [
        "../enwiki-20261001-pages-articles-multistream1.xml-p1p99.bz2",
        "enwiki-20261001-pages-articles-multistream1.xml-p1p99.bz2/../../x",
        "enwiki-20261001-pages-articles-multistream1.xml-p1p99.bz2\n",
        "enwiki-20260901-pages-articles-multistream1.xml-p1p99.bz2",
        "dewiki-20261001-pages-articles-multistream1.xml-p1p99.bz2",
        "enwiki-20261001-pages-articles1.xml-p1p99.bz2",
        "enwiki-20261001-pages-articles-multistream1.xml-p1p99.bz2.part",
        "enwiki-20261001-pages-articles-multistream１.xml-p1p99.bz2",
        f"enwiki-20261001-pages-articles-multistream1.xml-p1p{'9' * 5000}.bz2",
        "",
    ],
)
def test_a_name_that_is_not_of_this_wiki_date_and_job_is_refused(name: str) -> None:
    with pytest.raises(CatalogueError, match="is no name of a file of enwiki 20261001"):
        classic_offer({PARTS: job([P1, name])})


def test_every_wrong_name_is_told_with_what_to_run() -> None:
    with pytest.raises(CatalogueError) as caught:
        classic_offer({PARTS: job([P1, "b", "a"], "in-progress")})
    assert len(caught.value.problems) == 2
    assert "'a'" in caught.value.problems[0]
    assert "valbench snapshot add enwiki-20261001 FILE..." in str(caught.value)


@pytest.mark.parametrize("url", [f"/enwiki/20260901/{P1}", f"https://elsewhere.example/{P1}", "/etc/passwd", ""])
def test_a_url_that_is_not_where_the_file_must_lie_is_refused(url: str) -> None:
    listed = job([P1])
    listed["files"][P1]["url"] = url
    with pytest.raises(CatalogueError, match=f"expected '/enwiki/20261001/{P1}'"):
        classic_offer({PARTS: listed})


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ([P1, "enwiki-20261001-pages-articles-multistream2.xml-p99p250.bz2"], f"overlaps that of {P1}"),
        ([P1, "enwiki-20261001-pages-articles-multistream2.xml-p1p99.bz2"], "overlaps that of"),
        (["enwiki-20261001-pages-articles-multistream1.xml-p9p1.bz2"], "runs backwards"),
        ([P1, ONE], "cannot be read together"),
        ([P1, "enwiki-20261001-pages-articles-multistream2.xml.bz2"], "cannot be read together"),
        ([P1, I1, "enwiki-20261001-pages-articles-multistream-index.txt.bz2"], "cannot be read together"),
    ],
)
def test_parts_that_would_give_a_page_twice_are_refused(listed: list[str], says: str) -> None:
    with pytest.raises(CatalogueError, match=says):
        classic_offer({PARTS: job(listed)})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "document: "),
        ("{", "document: "),
        ("[]", "document: "),
        ("{}", "jobs: "),
        ('{"jobs": {"articlesmultistreamdump": {}}}', "jobs.articlesmultistreamdump.status: "),
        (json.dumps({"jobs": {PARTS: {"status": "done", "files": {P1: {"size": "7"}}}}}), "size: "),
        (json.dumps({"jobs": {PARTS: {"status": "done", "files": {P1: {"size": -7}}}}}), "size: "),
        (json.dumps({"jobs": {PARTS: {"status": "done", "files": {P1: {"sha1": "x"}}}}}), "sha1: "),
    ],
)
def test_a_status_of_another_shape_is_refused_and_says_where(text: str, says: str) -> None:
    catalogue = open_catalogue("classic", Script({"/enwiki/20261001/dumpstatus.json": text}))
    with pytest.raises(CatalogueError, match=says) as caught:
        catalogue.offer("enwiki", "20261001")
    assert "/enwiki/20261001/dumpstatus.json" in str(caught.value)


# The content file exports.

E10, E20, E300 = (f"enwiki-2026-10-01-{pages}.xml.bz2" for pages in ("p10p1113", "p2000p29999", "p300000p400000"))
SUMS = f"{EXPORTS}/enwiki/2026-10-01/xml/bzip2/SHA256SUMS"


def exports_server(lines: list[str], sizes: dict[str, int | None] | None = None) -> Script:
    folder = SUMS.removesuffix("SHA256SUMS")
    sizes = {E10: 10, E20: 20, E300: 300} if sizes is None else sizes
    texts = {f"{EXPORTS}/enwiki/": page("../", "2026-10-01/"), SUMS: "".join(f"{line}\n" for line in lines)}
    return Script(texts, {folder + name: size for name, size in sizes.items()})


def exports_offer(lines: list[str], sizes: dict[str, int | None] | None = None) -> Offer:
    offer = open_catalogue("exports", exports_server(lines, sizes)).offer("enwiki", "20261001")
    assert offer is not None
    assert offer.complete == (offer.missing == "")
    return offer


def test_dates_of_exports_are_given_without_dashes() -> None:
    links = ("../", "2026-08-01/", "2026-10-01/", "20260901/", "2026-13-01/")
    catalogue = open_catalogue("exports", Script({f"{EXPORTS}/enwiki/": page(*links)}))
    assert catalogue.dates("enwiki") == ["20261001", "20260801"]


def test_exports_are_what_the_checksums_name_in_the_order_of_pages() -> None:
    # As text, p10 < p2000 < p300000 as well, but p9 would come last.
    offer = exports_offer([f"{SHA256}  {E300}", f"{SHA256} *{E10}", f"{SHA256}  {E20}"])
    assert offer.complete
    assert names(offer.files) == [E10, E20, E300]
    assert (offer.bytes, offer.snapshot, offer.layout, offer.indexes) == (330, "enwiki-20261001", "exports", ())
    assert offer.files[0] == RemoteFile(
        name=E10,
        place=f"{EXPORTS}/enwiki/2026-10-01/xml/bzip2/{E10}",
        bytes=10,
        sha256=SHA256,
        sha1=None,
        md5=None,
        role="articles",
        first_page=10,
        last_page=1113,
    )


def test_parts_of_one_page_stand_in_the_order_of_revisions() -> None:
    parts = [f"enwiki-2026-10-01-{tail}.xml.bz2" for tail in ("p9p9", "p10r5r99", "p10r100r250", "p11p12")]
    offer = exports_offer([f"{SHA256}  {name}" for name in sorted(parts)], dict.fromkeys(parts, 1))
    assert names(offer.files) == parts
    assert [(file.first_page, file.last_page) for file in offer.files] == [(9, 9), (10, 10), (10, 10), (11, 12)]


def test_an_export_without_checksums_is_not_complete_and_one_without_folder_is_nothing() -> None:
    catalogue = open_catalogue("exports", Script({f"{EXPORTS}/enwiki/2026-10-01/": page("xml/", "_SUCCESS")}))
    offer = catalogue.offer("enwiki", "20261001")
    assert offer is not None
    assert offer.missing == "The export has no SHA256SUMS yet, which is written last."
    assert catalogue.offer("enwiki", "20261101") is None


def test_an_export_that_is_named_and_not_there_is_not_complete() -> None:
    offer = exports_offer([f"{SHA256}  {E10}", f"{SHA256}  {E20}"], {E10: 10})
    assert offer.missing == f"SHA256SUMS names files that are not there: {E20}."
    assert offer.bytes is None


def test_a_size_the_server_does_not_say_is_null_and_no_reason_to_wait() -> None:
    offer = exports_offer([f"{SHA256}  {E10}", f"{SHA256}  {E20}"], {E10: 10, E20: None})
    assert offer.complete
    assert offer.bytes is None


def test_empty_checksums_are_not_complete() -> None:
    assert exports_offer([]).missing == "SHA256SUMS names no file."


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{SHA256}  ../../{E20}", "line 2: .* is no name of an export of enwiki 2026-10-01"),
        (f"{SHA256}  enwiki-2026-09-01-p2000p29999.xml.bz2", "line 2: .* is no name"),
        (f"{SHA256}  dewiki-2026-10-01-p2000p29999.xml.bz2", "line 2: .* is no name"),
        (f"{SHA256}  enwiki-2026-10-01-p2000p29999.xml.bz2\r", "line 2: .* is no name"),
        (f"{SHA256}  enwiki-2026-10-01-p2000.xml.bz2", "line 2: .* is no name"),
        (f"{SHA256}  README", "line 2: .* is no name"),
        (f"{SHA256[1:]}  {E20}", "line 2: expected 64 hex digits"),
        (f"{SHA256.upper()}  {E20}", "line 2: expected 64 hex digits"),
        (f"{SHA256} {E20}", "line 2: expected 64 hex digits"),
        (f"{SHA256}  ", "line 2: expected 64 hex digits"),
        ("", "line 2: expected 64 hex digits"),
        (f"{SHA256}  {E20[:-4]}", "line 2: .* is no name"),
        (f"{SHA256}  {E10}", "line 2: .* stands in line 1 already"),
        (f"{SHA256}  enwiki-2026-10-01-p1113p2000.xml.bz2", f"overlaps that of {E10}"),
        (f"{SHA256}  enwiki-2026-10-01-p20r1r2.xml.bz2", f"overlaps that of {E10}"),
        (f"{SHA256}  enwiki-2026-10-01-p9000p8000.xml.bz2", "runs backwards"),
    ],
)
def test_checksums_that_cannot_be_right_are_refused_with_their_line(line: str, says: str) -> None:
    server = exports_server([f"{SHA256}  {E10}", line])
    with pytest.raises(CatalogueError, match=says):
        open_catalogue("exports", server).offer("enwiki", "20261001")
    assert server.asked == [SUMS], "nothing that such a list names is asked for"


def test_parts_of_one_page_that_share_a_revision_are_refused() -> None:
    parts = [f"enwiki-2026-10-01-{tail}.xml.bz2" for tail in ("p10r5r99", "p10r99r250")]
    with pytest.raises(CatalogueError, match=f"{parts[1]}: the range overlaps that of {parts[0]}"):
        exports_offer([f"{SHA256}  {name}" for name in parts])


def test_every_wrong_line_is_told() -> None:
    with pytest.raises(CatalogueError) as caught:
        exports_offer(["x", f"{SHA256}  {E10}", "y"])
    assert [problem.partition(": ")[0].rpartition(" ")[2] for problem in caught.value.problems] == ["1", "3"]


# Which of both.


@dataclass
class Shelf:
    """A catalogue that has these offers and remembers the dates it was asked for."""

    offers: dict[str, Offer]
    asked: list[str] = field(default_factory=list)

    def dates(self, wiki: str) -> list[str]:
        return sorted(self.offers, reverse=True)

    def offer(self, wiki: str, date: str) -> Offer | None:
        self.asked.append(date)
        return self.offers.get(date)


def bare(date: str, *, complete: bool) -> Offer:
    return Offer("enwiki", date, "classic", complete, "" if complete else "Not yet.", (), ())


def both(classic: str | None, exports: bool | None) -> Script:
    """A server with a classic run of this status and an export that is (not) complete; null for neither."""
    server = classic_server({PARTS: job([P1], classic)}) if classic else Script()
    if exports is not None:
        other = exports_server([f"{SHA256}  {E10}"])
        server.texts.update(other.texts)
        server.sizes.update(other.sizes)
        if not exports:
            del server.texts[SUMS]
            server.texts[f"{EXPORTS}/enwiki/2026-10-01/"] = page("xml/")
    return server


@pytest.mark.parametrize(
    ("classic", "exports", "expected"),
    [
        ("done", True, ("classic", True)),
        ("done", False, ("classic", True)),
        ("done", None, ("classic", True)),
        ("in-progress", True, ("exports", True)),
        ("in-progress", False, ("classic", False)),
        ("in-progress", None, ("classic", False)),
        (None, True, ("exports", True)),
        (None, False, ("exports", False)),
        (None, None, None),
    ],
)
def test_of_a_date_in_both_layouts(
    classic: str | None, exports: bool | None, expected: tuple[str, bool] | None
) -> None:
    offer = open_catalogue("auto", both(classic, exports)).offer("enwiki", "20261001")
    assert (offer and (offer.layout, offer.complete)) == expected


def test_exports_are_not_asked_about_where_the_classic_dump_is_complete() -> None:
    server = both("done", True)
    open_catalogue("auto", server).offer("enwiki", "20261001")
    assert server.asked == ["/enwiki/20261001/dumpstatus.json"]


def test_a_classic_listing_that_lies_is_not_passed_over_for_exports() -> None:
    server = both("done", True)
    server.texts["/enwiki/20261001/dumpstatus.json"] = "{}"
    with pytest.raises(CatalogueError):
        open_catalogue("auto", server).offer("enwiki", "20261001")


def test_dates_of_both_layouts_stand_together_once() -> None:
    texts = {"/enwiki/": page("20261020/", "20261001/"), f"{EXPORTS}/enwiki/": page("2026-11-01/", "2026-10-01/")}
    assert open_catalogue("auto", Script(texts)).dates("enwiki") == ["20261101", "20261020", "20261001"]


def test_the_newest_complete_snapshot_is_found_behind_one_in_progress() -> None:
    dates = {"20261101": False, "20261001": True, "20260901": True}
    shelf = Shelf({date: bare(date, complete=complete) for date, complete in dates.items()})
    assert newest_complete(shelf, "enwiki") == bare("20261001", complete=True)
    assert shelf.asked == ["20261101", "20261001"]


def test_only_what_is_later_than_a_date_counts_as_newer() -> None:
    shelf = Shelf({date: bare(date, complete=True) for date in ("20261001", "20260901")})
    assert newest_complete(shelf, "enwiki", after="20260930") == bare("20261001", complete=True)
    assert newest_complete(shelf, "enwiki", after="20261001") is None
    assert shelf.asked == ["20261001"]


def test_few_dates_are_looked_at() -> None:
    shelf = Shelf({f"2026{month:02}01": bare(f"2026{month:02}01", complete=month < 3) for month in range(1, 12)})
    assert newest_complete(shelf, "enwiki") is None
    assert shelf.asked == ["20261101", "20261001", "20260901", "20260801"]


QUESTIONS: list[Callable[[Catalogue, str], object]] = [
    lambda catalogue, wiki: catalogue.dates(wiki),
    lambda catalogue, wiki: catalogue.offer(wiki, "20261001"),
]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("source", ["auto", "classic", "exports", "memory://refused"])
@pytest.mark.parametrize(
    "wiki", ["", "EnWiki", "../etc", "en/wiki", "en-wiki", "1wiki", "enwiki\n", "enwiki?x", "ënwiki"]
)
def test_a_wiki_that_can_be_none_is_refused_before_any_request(
    question: Callable[[Catalogue, str], object], source: str, wiki: str
) -> None:
    server = Script()
    with pytest.raises(CatalogueError, match="Expected a database name, such as enwiki or zh_yuewiki"):
        question(open_catalogue(source, server), wiki)
    assert server.asked == []


@pytest.mark.parametrize("date", ["", "2026-10-01", "20261301", "latest", "20261001/..", "２０２６１００１"])
def test_a_date_that_can_be_none_is_refused_before_any_request(date: str) -> None:
    server = Script()
    for source in ("auto", "classic", "exports", "memory://refused"):
        with pytest.raises(CatalogueError, match="Expected YYYYMMDD"):
            open_catalogue(source, server).offer("enwiki", date)
    with pytest.raises(CatalogueError, match="Expected YYYYMMDD"):
        newest_complete(Shelf({}), "enwiki", after=date)
    assert server.asked == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("folder", "Run: valbench snapshot add KEY FILE"),
        ("", "The source is empty"),
        ("https://elsewhere.example/dumps", "named by its layout"),
        ("simplecache::http://elsewhere.example/dumps", "named by its layout"),
        ("nosuch://x", "Protocol not known"),
        ("auto", "no client to ask it with"),
        ("classic", "no client to ask it with"),
    ],
)
def test_a_source_that_is_no_catalogue_is_refused(source: str, says: str) -> None:
    with pytest.raises(CatalogueError, match=says):
        open_catalogue(source, None)


# Laws.


@given(st.permutations(BIG), st.permutations([PARTS, WHOLE, "articlesdump"]))
def test_a_classic_offer_does_not_depend_on_the_order_of_the_status(listed: list[str], jobs: list[str]) -> None:
    files = {PARTS: BIG, WHOLE: [ONE], "articlesdump": ["enwiki-20261001-pages-articles.xml.bz2"]}
    made = {name: job(files[name]) for name in (PARTS, WHOLE, "articlesdump")}
    shuffled = {name: dict(made[name]) for name in jobs}
    shuffled[PARTS]["files"] = {name: made[PARTS]["files"][name] for name in listed}
    assert classic_offer(shuffled) == classic_offer(made)


@given(st.permutations([E10, E20, E300]))
def test_an_offer_of_exports_does_not_depend_on_the_order_of_lines(listed: list[str]) -> None:
    lines = {name: f"{str(place) * 64}  {name}" for place, name in enumerate((E10, E20, E300))}
    assert exports_offer([lines[name] for name in listed]) == exports_offer(list(lines.values()))


@given(st.permutations(["20261001/", "20260901/", "latest/", "../", "20260801/"]))
def test_dates_do_not_depend_on_the_order_of_the_page(links: list[str]) -> None:
    catalogue = open_catalogue("classic", Script({"/enwiki/": page(*links)}))
    assert catalogue.dates("enwiki") == ["20261001", "20260901", "20260801"]


def test_an_offer_is_read_in_the_order_in_which_its_files_are_once_they_lie_in_the_folder_of_dumps(
    tmp_path: Path,
) -> None:
    parts = [f"enwiki-2026-10-01-{tail}.xml.bz2" for tail in ("p9p9", "p10r5r99", "p10r100r250", "p11p12")]
    for key, offer in (
        ("enwiki-20261001", classic_offer({PARTS: job(BIG)})),
        ("enwiki-20261002", exports_offer([f"{SHA256}  {name}" for name in parts], dict.fromkeys(parts, 1))),
    ):
        (tmp_path / key).mkdir()
        for file in (*offer.files, *offer.indexes):
            (tmp_path / key / file.name).touch()
        assert [path.name for path in list_files(tmp_path, key)] == names(offer.files)


REMOTE_FILES = st.builds(
    RemoteFile,
    name=st.sampled_from([P1, P2, I1]),
    place=st.sampled_from(["/a", "/b"]),
    bytes=st.none() | st.integers(0, 2),
    sha256=st.none() | st.sampled_from([SHA256, SHA256[::-1]]),
    sha1=st.none() | st.just(SHA1),
    md5=st.none() | st.just(MD5),
    role=st.just("articles"),
    first_page=st.none(),
    last_page=st.none(),
)
GROUPS = st.lists(REMOTE_FILES, max_size=2).map(tuple)
OFFERS = st.builds(
    Offer,
    wiki=st.sampled_from(["enwiki", "dewiki"]),
    date=st.sampled_from(["20261001", "20261101"]),
    layout=st.sampled_from(["classic", "exports"]),
    complete=st.booleans(),
    missing=st.sampled_from(["", "Not yet."]),
    files=GROUPS,
    indexes=GROUPS,
)


@given(OFFERS, OFFERS)
def test_fingerprints_differ_exactly_where_a_layout_name_size_or_hash_does(one: Offer, other: Offer) -> None:
    def content(offer: Offer) -> object:
        groups = [[replace(file, place="") for file in group] for group in (offer.files, offer.indexes)]
        return offer.layout, groups

    assert (one.fingerprint == other.fingerprint) == (content(one) == content(other))


@given(OFFERS, st.data())
def test_a_fingerprint_changes_with_each_fact_of_a_file(offer: Offer, data: st.DataObject) -> None:
    changes: list[dict[str, Any]] = [{"name": "x"}, {"bytes": 9}, {"sha256": "9"}, {"sha1": "9"}, {"md5": "9"}]
    change = data.draw(st.sampled_from(changes))
    for place, file in enumerate(offer.files):
        files = (*offer.files[:place], replace(file, **change), *offer.files[place + 1 :])
        assert replace(offer, files=files).fingerprint != offer.fingerprint


@given(st.lists(st.integers(1, 10**12), min_size=2, unique=True).map(sorted), st.randoms())
def test_ranges_that_meet_nowhere_are_read_by_page_and_have_no_problem(bounds: list[int], random: Any) -> None:
    ordered = [f"x-p{first}p{last - 1}.xml" for first, last in pairwise(bounds)]
    shuffled = random.sample(ordered, len(ordered))
    assert in_reading_order(shuffled) == ordered
    assert range_problems(shuffled) == []
    assert [pages_of(name)[0] for name in ordered] == bounds[:-1]


def test_a_range_is_compared_with_all_before_it() -> None:
    # p6p7 lies within p1p9 but not within p2p3, the range before it; each is told once.
    within = range_problems(["x-p1p9.xml", "x-p2p3.xml", "x-p6p7.xml"])
    assert within == [f"x-{each}.xml: the range overlaps that of x-p1p9.xml." for each in ("p2p3", "p6p7")]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), min_size=2, max_size=5, unique=True))
def test_ranges_share_a_page_exactly_where_a_problem_is_told(ranges: list[tuple[int, int]]) -> None:
    pages = [set(range(first, first + more + 1)) for first, more in ranges]
    shared = sum(map(len, pages)) > len(set().union(*pages))
    assert bool(range_problems(f"x-p{first}p{first + more}.xml" for first, more in ranges)) == shared
