"""The index of a multistream file: found beside it, read whole or refused, and compared page by page."""

import bz2
import re
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.dumps.page_index import IndexedPages, index_of


def lines(*page_ids: int) -> str:
    return "".join(f"{600 + page_id // 100}:{page_id}:Title: of &quot;{page_id}&quot;\n" for page_id in page_ids)


def index(folder: Path, content: str | bytes, name: str = "x-multistream-index.txt.bz2") -> Path:
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(bz2.compress(data) if name.endswith(".bz2") else data)
    return path


@pytest.mark.parametrize(
    ("file", "beside"),
    [
        (
            "enwiki-20240801-pages-articles-multistream11.xml-p5399367p6899366.bz2",
            "enwiki-20240801-pages-articles-multistream-index11.txt-p5399367p6899366.bz2",
        ),
        (
            "simplewiki-20261001-pages-articles-multistream.xml.bz2",
            "simplewiki-20261001-pages-articles-multistream-index.txt.bz2",
        ),
        (
            "simplewiki-20261001-pages-articles-multistream.xml",
            "simplewiki-20261001-pages-articles-multistream-index.txt",
        ),
    ],
)
def test_the_index_is_found_by_the_name_of_its_file(tmp_path: Path, file: str, beside: str) -> None:
    assert index_of(tmp_path / file) is None
    (tmp_path / beside).touch()
    assert index_of(tmp_path / file) == tmp_path / beside


def test_a_file_that_is_no_multistream_has_no_index(tmp_path: Path) -> None:
    path = tmp_path / "enwiki-2026-10-01-p10p1113635.xml.bz2"
    path.touch()
    assert index_of(path) is None


def test_pages_are_compared_up_to_where_they_were_read(tmp_path: Path) -> None:
    pages = IndexedPages(index(tmp_path, lines(3, 5, 8, 9, 12, 20)))
    assert pages.missing_and_unlisted(array("q", [3, 5]), 5) == ([], 0)
    assert pages.missing_and_unlisted(array("q", [9, 10]), 10) == ([8], 1)
    assert pages.missing_and_unlisted(array("q"), None) == ([12, 20], 0)
    assert pages.missing_and_unlisted(array("q"), None) == ([], 0)
    assert pages.listed == 6


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)), st.lists(st.integers(1, 60), max_size=5).map(sorted))
def test_whatever_the_steps_every_missing_and_every_unlisted_page_is_found_once(
    tmp_path: Path, listed: set[int], read: set[int], steps: list[int]
) -> None:
    pages = IndexedPages(index(tmp_path, lines(*sorted(listed)), "index.txt"))
    missing: list[int] = []
    unlisted = after = 0
    for up_to in [*steps, None]:
        ids = array("q", sorted(page_id for page_id in read if after < page_id <= (up_to or 60)))
        some, others = pages.missing_and_unlisted(ids, up_to)
        missing, unlisted, after = missing + some, unlisted + others, up_to or 60
    assert (missing, unlisted) == (sorted(listed - read), len(read - listed))
    assert pages.listed == len(listed)


def test_an_index_of_more_than_one_piece_is_read_whole(tmp_path: Path) -> None:
    ids = array("q", range(10, 70_000))
    pages = IndexedPages(index(tmp_path, lines(*ids)))  # about 2 MB
    assert pages.missing_and_unlisted(ids, ids[-1]) == ([], 0)
    assert pages.missing_and_unlisted(array("q"), None) == ([], 0)


def refused(path: Path) -> str:
    with pytest.raises(DumpError, match=re.escape(path.name)) as raised:
        IndexedPages(path).missing_and_unlisted(array("q"), None)
    return str(raised.value)


def test_an_index_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = index(tmp_path, lines(*range(1, 100)))
    path.write_bytes(path.read_bytes()[:-20])
    assert "damaged after line" in refused(path)
    plain = index(tmp_path, lines(1, 2, 3)[:-4], "index.txt")
    assert "cut short after line 2" in refused(plain)


@pytest.mark.parametrize(
    "content",
    [
        "<html>\n<body>Service unavailable</body>\n</html>\n",
        lines(1, 2) + "600:3\n" + lines(4),
        lines(1, 2) + "\n",
        lines(1) + "600:x:y\n",
        lines(1) + "at 600:2:y\n",
        f"600:{10**30}:y\n",
    ],
)
def test_lines_that_are_none_of_an_index_are_refused(tmp_path: Path, content: str) -> None:
    assert re.search(r"of the lines 1 to \d are no index", refused(index(tmp_path, content)))


def test_what_has_no_lines_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    assert "no index after line 0" in refused(index(tmp_path, b"\0" * 3_000_000, "index.txt"))


def test_an_index_that_is_no_bzip2_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.txt.bz2"
    path.write_text(lines(1, 2), encoding="utf-8")
    assert "damaged after line 0" in refused(path)
