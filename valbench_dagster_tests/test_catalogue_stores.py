"""Stores as catalogues: which snapshots lie under a folder or prefix, and when one of them is whole.

Stores are real folders and fsspec's file system in memory; their files are made up here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from valbench_dagster.dumps.catalogue import CatalogueError, Offer, RemoteFile, open_catalogue
from valbench_dagster.dumps.stores import StoreCatalogue

SHA1 = "0123456789abcdef0123456789abcdef01234567"
MD5 = "0123456789abcdef0123456789abcdef"
SHA256 = "0123456789abcdef" * 4

P1, P2, P11, ONE = (
    f"enwiki-20261001-pages-articles-multistream{tail}.bz2"
    for tail in ("1.xml-p1p99", "2.xml-p100p250", "11.xml-p1000p1999", ".xml")
)
I1, I2, I_ONE = (name.replace("-multistream", "-multistream-index").replace(".xml", ".txt") for name in (P1, P2, ONE))
E10, E20 = (f"enwiki-2026-10-01-{pages}.xml.bz2" for pages in ("p10p1113", "p2000p29999"))


def names(files: tuple[RemoteFile, ...]) -> list[str]:
    return [file.name for file in files]


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """Fsspec's file system in memory, with nothing of this module in it before and after."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


def put(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)


def store_offer(root: Path, date: str = "20261001") -> Offer:
    offer = open_catalogue(str(root), None).offer("enwiki", date)
    assert offer is not None
    assert offer.complete == (offer.missing == "")
    return offer


@pytest.mark.parametrize("folder", ["enwiki-20261001", "enwiki/20261001"])
def test_a_folder_offers_its_exports_under_a_url(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder, {"b2.xml.gz": "22", "b10.xml": "4444", "notes.txt": "", ".hidden.xml": ""})
    assert open_catalogue(str(tmp_path), None).dates("enwiki") == ["20261001"]
    offer = store_offer(tmp_path)
    assert (offer.complete, offer.layout, offer.bytes) == (True, "store", 6)
    assert [(file.place, file.bytes) for file in offer.files] == [
        (f"file://{tmp_path}/{folder}/b2.xml.gz", 2),
        (f"file://{tmp_path}/{folder}/b10.xml", 4),
    ]
    with fsspec.open(offer.files[1].place, "rb") as file:
        assert file.read() == b"4444"


def test_an_object_store_offers_its_exports_under_its_url(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/bucket/dumps/enwiki-20261001/a.xml", b"4444")
    for source in ("memory://bucket/dumps", "memory://bucket/dumps/"):
        offer = open_catalogue(source, None).offer("enwiki", "20261001")
        assert offer is not None
        assert offer.files[0].place == "memory://bucket/dumps/enwiki-20261001/a.xml"
        with fsspec.open(offer.files[0].place, "rb") as file:
            assert file.read() == b"4444"


def test_a_store_at_the_root_of_its_file_system_is_read(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/enwiki/20261001/a.xml", b"4444")
    offer = open_catalogue("memory://", None).offer("enwiki", "20261001")
    assert offer is not None
    assert offer.files[0].place == "memory://enwiki/20261001/a.xml"


def test_what_is_put_into_a_store_later_is_seen(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/dumps/enwiki-20261001/a.xml", b"1")
    catalogue = open_catalogue("memory://dumps", None)
    assert catalogue.dates("enwiki") == ["20261001"]
    memory.pipe_file("/dumps/enwiki-20261101/a.xml", b"1")
    assert catalogue.dates("enwiki") == ["20261101", "20261001"]


class Remembering(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A file system that, as those of object stores do, lists a folder once and then remembers it."""

    protocol = "remembering"

    def __init__(self) -> None:
        super().__init__()
        self.listed: dict[str, Any] = {}

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        if path not in self.listed:
            self.listed[path] = super().ls(path, detail=detail, **kwargs)
        return self.listed[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.listed.clear()


def test_a_store_that_remembers_its_listings_is_listed_anew(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/dumps/enwiki-20261001/a.xml", b"1")
    catalogue = StoreCatalogue(Remembering(), "/dumps", "memory://dumps/")
    assert catalogue.dates("enwiki") == ["20261001"]
    memory.pipe_file("/dumps/enwiki-20261101/a.xml", b"1")
    assert catalogue.dates("enwiki") == ["20261101", "20261001"]


def test_the_root_of_the_disk_is_not_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "enwiki-20261001", {"a.xml": "1"})
    monkeypatch.chdir(tmp_path)
    assert open_catalogue("/", None).dates("enwiki") == []
    assert open_catalogue(".", None).dates("enwiki") == ["20261001"]


def test_a_folder_named_like_an_export_is_none(tmp_path: Path) -> None:
    put(tmp_path / "enwiki-20261001" / "a.xml", {})
    assert store_offer(tmp_path).files == ()


def test_dates_of_a_store_are_folders_of_the_wiki(tmp_path: Path) -> None:
    folders = (
        "enwiki-20260901",
        "enwiki/20261001",
        "enwiki/latest",
        "enwiki-20261399",
        "dewiki-20261101",
        "dewiki/20261201",
    )
    for folder in folders:
        put(tmp_path / folder, {})
    put(tmp_path / "x", {})
    (tmp_path / "enwiki-20260701").write_text("a file")
    catalogue = open_catalogue(str(tmp_path), None)
    assert catalogue.dates("enwiki") == ["20261001", "20260901"]
    assert catalogue.dates("x") == []
    assert catalogue.offer("enwiki", "20260701") is None


def test_a_prefix_that_is_not_there_is_told_apart_from_one_without_the_wiki(tmp_path: Path) -> None:
    catalogue = open_catalogue(str(tmp_path / "clasic"), None)
    with pytest.raises(CatalogueError, match=r"clasic/: there is no such folder.*\nExpected auto, classic or exports"):
        catalogue.dates("enwiki")


def test_one_date_in_two_folders_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "enwiki-20261001", {"a.xml": "1"})
    put(tmp_path / "enwiki" / "20261001", {"a.xml": "1"})
    catalogue = open_catalogue(str(tmp_path), None)
    assert catalogue.dates("enwiki") == ["20261001"]
    with pytest.raises(CatalogueError, match="are both enwiki-20261001"):
        catalogue.offer("enwiki", "20261001")


@pytest.mark.parametrize("name", ["b.xml.bz2.part", "b.xml.tmp"])
def test_a_folder_with_a_file_being_written_is_not_complete(tmp_path: Path, name: str) -> None:
    put(tmp_path / "enwiki-20261001", {"a.xml": "1", name: ""})
    assert store_offer(tmp_path).missing == f"Files are still being written: {name}."


def test_a_folder_without_exports_is_not_complete(tmp_path: Path) -> None:
    put(tmp_path / "enwiki-20261001", {"notes.txt": "1"})
    assert store_offer(tmp_path).missing.startswith("The folder holds no export")


def test_hashes_are_taken_from_the_files_of_checksums_beside(tmp_path: Path) -> None:
    sums = {
        "SHA256SUMS": f"{SHA256}  a.xml\n",
        "enwiki-20261001-sha1sums.txt": f"{SHA1}  a.xml\n{SHA1}  enwiki-20261001-site_stats.sql.gz\n",
        "enwiki-20261001-md5sums.txt": f"{MD5}  a.xml\n",
    }
    put(tmp_path / "enwiki-20261001", {"a.xml": "1", "b.xml": "1", **sums})
    offer = store_offer(tmp_path)
    assert offer.complete
    assert [(file.sha256, file.sha1, file.md5) for file in offer.files] == [(SHA256, SHA1, MD5), (None, None, None)]


def test_a_file_that_checksums_name_and_that_has_not_come_is_awaited(tmp_path: Path) -> None:
    put(tmp_path / "enwiki-20261001", {E10: "1", "SHA256SUMS": f"{SHA256}  {E10}\n{SHA256}  {E20}\n"})
    assert store_offer(tmp_path).missing == f"Checksums name files that are not there: {E20}."


def test_each_export_of_sha256sums_is_awaited_whatever_its_name(tmp_path: Path) -> None:
    awaited = "enwiki-2026-10-01-p30000r1r99.xml.bz2"
    put(tmp_path / "enwiki-20261001", {E10: "1", "SHA256SUMS": f"{SHA256}  {E10}\n{SHA256}  {awaited}\n"})
    assert store_offer(tmp_path).missing == f"Checksums name files that are not there: {awaited}."


def test_of_a_whole_run_only_further_parts_of_the_same_form_are_awaited(tmp_path: Path) -> None:
    # A sha1sums file of a run names what nobody copies: other forms of the articles, stubs, tables.
    others = [ONE, "enwiki-20261001-stub-articles.xml.gz", "enwiki-20261001-pages-articles1.xml-p1p99.bz2"]
    sums = "".join(f"{SHA1}  {name}\n" for name in [P1, I1, *others])
    put(tmp_path / "enwiki-20261001", {P1: "1", I1: "1", "enwiki-20261001-sha1sums.txt": sums})
    assert store_offer(tmp_path).complete
    put(tmp_path / "enwiki-20261002", {P1.replace("1001", "1002"): "1"})
    more = (sums + f"{SHA1}  {P11}\n").replace("20261001", "20261002")
    (tmp_path / "enwiki-20261002" / "enwiki-20261002-sha1sums.txt").write_text(more)
    assert P11.replace("1001", "1002") in store_offer(tmp_path, "20261002").missing


def test_of_a_mirrored_run_one_form_of_the_articles_is_read(tmp_path: Path) -> None:
    single = "enwiki-20261001-pages-articles.xml.bz2"
    extra = [ONE, single, "enwiki-20261001-stub-articles.xml.gz", "enwiki-20261001-pages-meta-current.xml.bz2", E10]
    put(tmp_path / "enwiki" / "20261001", dict.fromkeys([P2, P1, I1, I2, I_ONE, *extra, "mine.xml"], "1"))
    offer = store_offer(tmp_path)
    assert names(offer.files) == ["mine.xml", P1, P2]
    assert names(offer.indexes) == [I1, I2]
    assert [offer.index_of(file) for file in offer.files] == [None, *offer.indexes]
    for name in (P1, P2):
        (tmp_path / "enwiki" / "20261001" / name).unlink()
    assert names(store_offer(tmp_path).files) == [ONE, "mine.xml"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.xml": "", "SHA256SUMS": "x\n"}, "SHA256SUMS, line 1: expected 64 hex digits"),
        ({"a.xml": "", "a-sha1sums.txt": f"{SHA256}  a.xml\n"}, "a-sha1sums.txt, line 1: expected 40 hex digits"),
        ({"a-md5sums.txt": f"{MD5}  a.xml\n", "b-md5sums.txt": f"{MD5[::-1]}  a.xml\n"}, "another hash of a.xml"),
        ({"a-p1p9.xml": "", "a-p9p20.xml": ""}, "overlaps that of a-p1p9.xml"),
        ({"a::b.xml": ""}, "cannot be part of a URL"),
        ({"a\x1b.xml": ""}, "cannot be part of a URL"),
    ],
)
def test_a_folder_that_cannot_be_right_is_refused(tmp_path: Path, files: dict[str, str], says: str) -> None:
    put(tmp_path / "enwiki-20261001", files)
    with pytest.raises(CatalogueError, match=says):
        store_offer(tmp_path)


def test_checksums_that_are_no_text_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "enwiki-20261001", {"a.xml": ""})
    (tmp_path / "enwiki-20261001" / "SHA256SUMS").write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogueError, match="SHA256SUMS: no text"):
        store_offer(tmp_path)
