"""Mining in parallel gives what mining plainly gives: the same sections in the same order and the same counts, to the
byte, whatever the container, the cut, the decoder and the number of processes; on dumps written here, and on real
exports in every language in the folder that `VALBENCH_TEST_DUMPS` names.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from valbench_dagster.dumps.bzip2_decoder import Decoder
from valbench_dagster.dumps.decode import open_decoded
from valbench_dagster.dumps.spans import spans
from valbench_dagster.mining.mine import MineProgress, Mining
from valbench_dagster.mining.span_miner import Rules
from valbench_dagster.wikitext.patterns import Patterns, load_patterns
from valbench_dagster_tests.dump_content import CLOSING_XML, WrittenPage, opening_xml, page_xml, written_pages
from valbench_dagster_tests.mining_runs import (
    CONTAINERS,
    NO_LIMITS,
    SNAPSHOT,
    WHOLE,
    Outcome,
    as_bytes,
    compiled,
    counted,
    mine,
    packed,
)
from valbench_dagster_tests.plain_miner import PlainResult, mine_plainly
from valbench_dagster_tests.section_texts import as_it_stands
from valbench_dagster_tests.test_plain_miner import PATTERNS

FOLDER = os.environ.get("VALBENCH_TEST_DUMPS")
real_exports = pytest.mark.skipif(
    FOLDER is None,
    reason="NOT RUN: parallel mining was not compared with the plain miner on real exports; set VALBENCH_TEST_DUMPS to "
    "the folder that holds en/ and other/",
)
ENGLISH = tuple(pattern.pattern for pattern in load_patterns("enwiki").compiled)
DECODERS: tuple[Decoder, ...] = ("rapidgzip", "bz2", *(("lbzip2",) if shutil.which("lbzip2") else ()))


def assert_as_plainly(found: Outcome, plain: PlainResult) -> None:
    """Compare sections, their order and their text, and the counts of pages."""
    assert found.error is None
    assert [(s.page_id, s.title, s.heading_index, s.heading_path, s.text) for s in found.sections] == [
        (s.page_id, s.page_title, s.heading_index, s.heading_path, f".{s.wikitext}") for s in plain.sections
    ]
    counts = counted(found.drops)
    assert {reason: counts[f"page: {reason}"] for reason in plain.reasons} == dict(plain.reasons)
    assert counts["section: kept"] == len(plain.sections)
    [file] = found.files
    assert (file.pages, file.closed) == (plain.pages, plain.whole)


# A dump with every kind of page, a section on one page in eight.


def _sample() -> bytes:
    pages = written_pages(48, words=50, seed=4)
    kinds: dict[int, dict[str, object]] = {
        3: {"ns": 1},
        5: {"redirect": "Elsewhere"},
        7: {"model": "json"},
        9: {"text": None},
        11: {"text": ""},
        13: {"text": " \n\t"},
        15: {"text": "<!--\n== Criticism ==\n-->x"},
        17: {"text": "<!-- a -->== Criticism ==\nbehind a comment"},
        19: {"text": "== Criticism ==\nopens the text\n=== Fraud ===\ninside"},
        21: {"text": "lead\n== C&#114;iticism ==\nin an entity"},
    }
    xml = []
    for number, page in enumerate(pages):
        text = page.text or ""
        kept = page if number % 8 == 0 else replace(page, text=text.replace("Criticism", "Geography"))
        xml.append(page_xml(replace(kept, **kinds.get(number, {}))))  # type: ignore[arg-type]  # fields by name
    xml[23] = xml[23].replace("<revision>", "<!-- nobody writes this --><revision>").replace("Geography", "Fraud")
    xml[25] = "  <page>\n    <title>Nothing</title>\n    <ns>0</ns>\n    <id>265</id>\n  </page>\n"
    return "".join([opening_xml("enwiki"), *xml, CLOSING_XML]).encode()


SAMPLE = _sample()


@pytest.fixture(scope="module")
def plain_sample(tmp_path_factory: pytest.TempPathFactory) -> PlainResult:
    path = tmp_path_factory.mktemp("plain") / "sample.xml"
    path.write_bytes(SAMPLE)
    return mine_plainly(path, ENGLISH)


def test_the_sample_has_pages_of_every_reason(plain_sample: PlainResult) -> None:
    # Sections: pages 0, 8, 16, 24, 32, 40 (those after have none, as 48 pages are written), 17, 19, 21 and 23.
    # Without text are 9, 11, 13 and 25.
    assert plain_sample.reasons == {
        "other_namespace": 1,
        "redirect": 1,
        "other_content_model": 1,
        "empty_or_hidden": 4,
        "no_matching_heading": 31,
        "kept": 10,
    }
    assert len(plain_sample.sections) == 10


@pytest.mark.parametrize("container", CONTAINERS)
def test_any_cut_gives_what_the_plain_miner_gives(tmp_path: Path, plain_sample: PlainResult, container: str) -> None:
    path = packed(tmp_path, SAMPLE, container)
    made = set()
    for number, span_bytes in enumerate((1000, 4001, WHOLE)):
        decoder, processes = DECODERS[number % 2], 1 + number % 3
        found = mine(path, span_bytes=span_bytes, decoder=decoder, processes=processes)
        assert_as_plainly(found, plain_sample)
        made.add(as_bytes(found, tmp_path))
    assert len(made) == 1


def test_the_pages_of_a_large_dump_are_not_gathered_and_come_in_order_all_the_same(
    tmp_path: Path, plain_sample: PlainResult
) -> None:
    path = packed(tmp_path, SAMPLE, "3 pages a stream")
    assert_as_plainly(mine(path, any_order=False, span_bytes=4000, processes=2), plain_sample)


@pytest.mark.parametrize("last", [2, 3])
def test_a_cut_within_a_mark_loses_no_page(tmp_path: Path, last: int) -> None:
    # Two spans of plain XML, cut in the middle: white space at one end of the file moves that to where it is wanted,
    # each byte around the end of the second page and the beginning of what follows, another page or the file's end.
    pages = [WrittenPage(number, f"T{number}", f"== History ==\n{number}", number) for number in range(1, last + 1)]
    written = [page_xml(page).strip() for page in pages]
    before = opening_xml("enwiki") + "".join(written[:2])
    xml, path = before + "".join(written[2:]) + CLOSING_XML, tmp_path / "x.xml"
    for cut in range(len(before) - 8, len(before) + 8):
        missing = 2 * cut - len(xml)
        path.write_text(" " * -missing + xml + " " * missing, encoding="utf-8")
        size, shift = path.stat().st_size, max(0, -missing)
        assert spans(path, -(-size // 8))[1].start == cut + shift
        found = mine(path, span_bytes=-(-size // 8))
        assert (found.error, found.reasons) == (None, {"no_matching_heading": last})


@pytest.mark.parametrize("any_order", [True, False])
def test_a_dump_of_several_files_is_mined_as_one(tmp_path: Path, any_order: bool) -> None:
    pages = written_pages(12, words=20)
    files = []
    for number in range(3):
        xml = "".join([opening_xml("enwiki"), *map(page_xml, pages[4 * number : 4 * number + 4]), CLOSING_XML])
        (tmp_path / str(number)).mkdir()
        files.append(packed(tmp_path / str(number), xml.encode(), ["plain XML", "gzip", "a page a stream"][number]))
    found = mine(*files, any_order=any_order, span_bytes=700, processes=2)
    assert (found.error, found.places) == (None, [(page.page_id, 2) for page in pages])
    assert [(file.part, file.pages, file.closed) for file in found.files] == [(n, 4, True) for n in range(3)]


def test_an_excerpt_may_have_its_pages_in_any_order_and_its_sections_are_sorted(tmp_path: Path) -> None:
    pages = written_pages(6, words=20)
    xml = "".join([opening_xml("enwiki"), *map(page_xml, pages[::-1]), CLOSING_XML]).encode()
    for span_bytes in (300, WHOLE):
        found = mine(packed(tmp_path, xml, "plain XML"), span_bytes=span_bytes)
        assert (found.error, found.places) == (None, [(page.page_id, 2) for page in pages])
        [file] = found.files
        assert (file.first_page_id, file.last_page_id) == (pages[0].page_id, pages[-1].page_id)


def test_pages_that_another_program_wrote_are_found_as_well(tmp_path: Path) -> None:
    pages = written_pages(5)
    plain, written_anew = tmp_path / "plain.xml", tmp_path / "anew.xml"
    xml = opening_xml("enwiki") + "".join(page_xml(page) for page in pages) + CLOSING_XML
    plain.write_text(xml, encoding="utf-8")
    written_anew.write_text(xml.replace("<page>", '<page xmlns="http://www.mediawiki.org/xml/export-0.11/">'))
    assert mine(written_anew).places == mine(plain).places
    assert mine(written_anew, span_bytes=1000).pages == len(pages)


def test_pages_that_cannot_be_told_from_the_header_are_an_error_never_an_empty_dump(tmp_path: Path) -> None:
    xml = opening_xml("enwiki") + "".join(page_xml(page) for page in written_pages(2)) + CLOSING_XML
    prefixed = tmp_path / "prefixed.xml"
    prefixed.write_text(xml.replace("<page>", "<w:page>").replace("</page>", "</w:page>"), encoding="utf-8")
    error = mine(prefixed).error
    assert error is not None
    assert "prefixed.xml" in error


def test_a_wiki_without_pages_is_mined(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text(opening_xml("enwiki") + CLOSING_XML, encoding="utf-8")
    for span_bytes in (100, WHOLE):
        found = mine(path, span_bytes=span_bytes)
        assert (found.error, found.pages, found.sections) == (None, 0, ())
        assert found.files[0].closed


def test_texts_are_compared_with_their_sha1_and_lost_texts_are_counted(tmp_path: Path) -> None:
    pages = written_pages(4, words=20)
    xml = [page_xml(page) for page in pages]
    xml[1] = xml[1].replace("== Criticism ==\n", "== Criticism ==\nadded ")
    xml[2] = page_xml(replace(pages[2], text="")).replace('bytes="0"', 'bytes="12"')
    xml[3] = page_xml(replace(pages[3], text=None))  # hidden text has a length too, and is not lost
    # What holds for the usual looks of a page holds where the parser must say.
    xml += [page.replace("<ns>", "<!-- x --><ns>").replace("<id>", "<id>9", 1) for page in xml]
    path = packed(tmp_path, "".join([opening_xml("enwiki"), *xml, CLOSING_XML]).encode(), "plain XML")
    [file] = mine(path).files
    assert (file.sha1_compared, file.sha1_differing, file.lost_texts) == (4, 2, 2)


def test_progress_ends_with_all_bytes_and_all_pages(tmp_path: Path) -> None:
    path = packed(tmp_path, SAMPLE, "a page a stream")
    told: list[MineProgress] = []
    rules = Rules(SNAPSHOT, load_patterns("enwiki"), NO_LIMITS, as_it_stands)
    mining = Mining([path], rules, 2, span_bytes=2000, progress=told.append)
    sections = list(mining.sections())
    assert len(told) > 3
    assert told == sorted(told, key=lambda progress: progress.bytes_done)
    size = path.stat().st_size
    assert (told[-1].bytes_done, told[-1].bytes_total, told[-1].pages, told[-1].sections) == (size, size, 48, 10)
    assert len(sections) == 10
    assert {*mining.seconds} == {"decode", "look", "parse", "clean", "files"}


# Real exports.


def exports() -> list[Path]:
    return sorted(Path(FOLDER).glob("*/*.xml*")) if FOLDER else []


def own_patterns(path: Path) -> tuple[str, ...]:
    return PATTERNS[path.name.partition("-")[0]]


def whole_exports() -> list[Path]:
    return [path for path in exports() if "cut-short" not in path.name]


@real_exports
@pytest.mark.parametrize("path", whole_exports(), ids=lambda path: path.name)
def test_a_real_export_gives_what_the_plain_miner_gives(path: Path) -> None:
    plain = mine_plainly(path, own_patterns(path))
    assert_as_plainly(mine(path, patterns=compiled(own_patterns(path)), processes=2), plain)


@real_exports
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", ["enwiki-20250201-first70.xml.bz2", "frwiki-2021-minidump.xml.bz2"])
def test_a_real_export_packed_anew_and_cut_small_gives_the_same(tmp_path: Path, name: str, container: str) -> None:
    [path] = [path for path in exports() if path.name == name]
    patterns: Patterns = compiled(own_patterns(path))
    plain = mine_plainly(path, own_patterns(path))
    with open_decoded(path) as chunks:
        xml = b"".join(chunks)
    again = packed(tmp_path, xml, container)
    assert_as_plainly(mine(again, patterns=patterns, span_bytes=17_000, processes=2), plain)


@real_exports
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_export_that_is_cut_short_gives_every_whole_page_before_the_cut(decoder: Decoder) -> None:
    [path] = [path for path in exports() if "cut-short" in path.name]
    plain = mine_plainly(path, own_patterns(path))
    kept = mine(path, patterns=compiled(own_patterns(path)), decoder=decoder, processes=2, on_damage="keep")
    assert_as_plainly(kept, plain)
    [damage], [file] = kept.damages, kept.files
    assert (file.pages, file.last_page_id, file.closed, file.damages) == (532, 1218, False, 1)
    assert (damage.kind, damage.byte_offset) == ("cut_short", path.stat().st_size)
    assert (damage.after_page_id, damage.before_page_id, damage.missing_pages) == (1218, None, None)
    assert damage.detail == "expected </mediawiki> after the last page, found a page that is cut short"


@real_exports
def test_by_default_the_export_that_is_cut_short_fails_and_says_where() -> None:
    [path] = [path for path in exports() if "cut-short" in path.name]
    found = mine(path, patterns=compiled(own_patterns(path)), processes=2)
    for word in (path.name, f"byte {path.stat().st_size}", "page 1218", "--damaged keep"):
        assert word in str(found.error)
