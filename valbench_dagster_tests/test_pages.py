"""Pages: every schema of the export, cut at every kind of place, one page at a time."""

import bz2
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.dumps.decode import READ_BYTES, DumpError
from valbench_dagster.dumps.namespaces import ENGLISH_NAMESPACES
from valbench_dagster.dumps.pages import Page, SiteInfo, read_export

SCHEMAS = ("0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "0.10", "0.11")
SITEINFO = """
  <siteinfo>
    <sitename>Wikipedia</sitename>{dbname}
    <base>https://de.wikipedia.org/wiki/Wikipedia:Hauptseite</base>
    <generator>MediaWiki</generator>
    <case>first-letter</case>
    <namespaces>
      <namespace key="-2" case="first-letter">Medium</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">Datei</namespace>
      <namespace key="10" case="first-letter">Vorlage</namespace>
    </namespaces>
  </siteinfo>"""


def version(schema: str) -> tuple[int, ...]:
    return tuple(int(number) for number in schema.split("."))


def page(
    schema: str, page_id: int, title: str, text: str, *, namespace: int = 0, redirect: str = "", extra: str = ""
) -> str:
    """One page as the schema has it; `text` is already escaped."""
    number = version(schema)
    ns = f"<ns>{namespace}</ns>" if number >= (0, 6) else ""
    target = {True: f'<redirect title="{redirect}" />', False: "<redirect />"}[number >= (0, 6)]
    kind = "<model>wikitext</model><format>text/x-wiki</format>" if number >= (0, 8) else ""
    origin = "<origin>9</origin>" if number >= (0, 11) else ""
    size = f' bytes="{len(text.encode())}"' if number >= (0, 7) else ""
    own_sha1 = ' sha1="of the text"' if number >= (0, 11) else ""
    sha1 = "<sha1>of the revision</sha1>" if number >= (0, 6) else ""
    return f"""
  <page>
    <title>{title}</title>{ns}
    <id>{page_id}</id>{target if redirect and number >= (0, 4) else ""}
    <revision>
      <id>{page_id + 1000}</id>
      <parentid>1</parentid>
      <timestamp>2026-01-02T03:04:05Z</timestamp>
      <contributor><username>A</username><id>77</id></contributor>
      <comment>[[b]] &lt;c&gt;</comment>{origin}{kind}
      <text{size}{own_sha1} xml:space="preserve">{text}</text>{extra}{sha1}
    </revision>
  </page>"""


def export(schema: str, *pages: str, siteinfo: str = SITEINFO) -> str:
    dbname = "\n    <dbname>dewiki</dbname>" if version(schema) >= (0, 9) else ""
    return (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-{schema}/" version="{schema}" xml:lang="de">'
        + siteinfo.replace("{dbname}", dbname)
        + "".join(pages)
        + "\n</mediawiki>\n"
    )


def read(xml: str | bytes) -> list[Page]:
    data = xml.encode() if isinstance(xml, str) else xml
    with read_export(io.BytesIO(data), "x.xml") as opened:
        return list(opened)


TWO_PAGES = export("0.10", page("0.10", 1, "A", "a"), page("0.10", 2, "B", "b"))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_gives_the_same_pages(schema: str) -> None:
    xml = export(
        schema,
        page(schema, 1, "Kritik &amp; mehr", "== A ==\n&lt;ref&gt;b&lt;/ref&gt; &amp;nbsp; ''c''\n"),
        page(schema, 2, "Weiter", "#redirect [[Kritik]]", redirect="Kritik"),
        page(schema, 3, "Vorlage:X", "d", namespace=10),
        page(schema, 4, "Template:Y", "d", namespace=10),
        page(schema, 5, "Star Wars: Episode", "e"),
    )
    with read_export(io.BytesIO(xml.encode())) as opened:
        assert opened.site.dbname == ("dewiki" if version(schema) >= (0, 9) else None)
        assert opened.site.base == "https://de.wikipedia.org/wiki/Wikipedia:Hauptseite"
        assert opened.site.namespaces == {-2: "Medium", 0: "", 6: "Datei", 10: "Vorlage"}
        first, *rest = opened
    text = "== A ==\n<ref>b</ref> &nbsp; ''c''\n"
    sha1 = "of the revision" if version(schema) >= (0, 6) else None
    if version(schema) >= (0, 11):
        sha1 = "of the text"
    written = len("== A ==\n&lt;ref&gt;b&lt;/ref&gt; &amp;nbsp; ''c''\n")
    assert first == Page(
        page_id=1,
        namespace=0,
        title="Kritik & mehr",
        redirect=False,
        revision_id=1001,
        revision_time="2026-01-02T03:04:05Z",
        model="wikitext",
        text=text,
        text_bytes=written if version(schema) >= (0, 7) else None,
        sha1=sha1,
    )
    assert [(p.page_id, p.namespace, p.redirect) for p in rest] == [
        (2, 0, True),
        (3, 10, False),
        (4, 10, False),
        (5, 0, False),
    ]


def test_an_export_without_siteinfo_is_read_with_english_namespaces() -> None:
    with read_export(io.BytesIO(export("0.3", page("0.3", 1, "Category:A", "a"), siteinfo="").encode())) as opened:
        assert opened.site == SiteInfo(None, None, ENGLISH_NAMESPACES)
        assert [p.namespace for p in opened] == [14]


@pytest.mark.parametrize("text", ["#REDIRECT [[A]]", "#Redirect: [[A]]", "\n#redirect[[A]]"])
def test_schema_0_3_knows_redirects_by_their_text(text: str) -> None:
    assert [p.redirect for p in read(export("0.3", page("0.3", 1, "B", text)))] == [True]


@pytest.mark.parametrize("text", ["# REDIRECT [[A]]", "See #REDIRECT [[A]]", "#REDIRECT A"])
def test_text_that_only_speaks_of_redirects_makes_none(text: str) -> None:
    assert [p.redirect for p in read(export("0.3", page("0.3", 1, "B", text)))] == [False]


def test_later_schemas_know_redirects_by_the_element_alone() -> None:
    assert [p.redirect for p in read(export("0.10", page("0.10", 1, "B", "#REDIRECT [[A]]")))] == [False]


def test_hidden_text_is_absent_and_empty_text_is_empty() -> None:
    def with_text(element: str) -> str:
        start, _, rest = page("0.11", 1, "A", "a").partition("<text")
        return start + element + rest.partition("</text>")[2]

    elements = ('<text bytes="-1" deleted="deleted" />', '<text bytes="0" />', '<text bytes="5" />', "")
    pages = read(export("0.11", *map(with_text, elements)))
    assert [(p.text, p.text_bytes) for p in pages] == [(None, -1), ("", 0), ("", 5), (None, None)]


def test_other_slots_do_not_hide_the_page() -> None:
    slot = '<content><role>x</role><model>json</model><text bytes="9">{"id": 1}</text></content>'
    (found,) = read(export("0.11", page("0.11", 1, "A", "a", extra=slot)))
    assert (found.text, found.model, found.text_bytes, found.revision_id) == ("a", "wikitext", 1, 1001)


def test_another_content_model_is_named() -> None:
    xml = export("0.10", page("0.10", 1, "A", "a").replace("<model>wikitext", "<model>css"))
    assert [p.model for p in read(xml)] == ["css"]


def test_of_several_revisions_the_last_in_the_file_is_taken() -> None:
    first = page("0.10", 1, "A", "old").replace("</page>", "")
    last = page("0.10", 1, "A", "new").partition("</id>")[2].replace("<id>1001", "<id>1002")
    with read_export(io.BytesIO(export("0.10", first, last, page("0.10", 2, "B", "b")).encode())) as opened:
        assert [(p.revision_id, p.text) for p in opened] == [(1002, "new"), (1002, "b")]
        assert opened.with_history == 1


def test_nothing_of_an_earlier_revision_or_page_is_left_in_a_later_one() -> None:
    bare = "<page><title>B</title><ns>0</ns><id>2</id><revision><id>5</id><timestamp>t</timestamp></revision></page>"
    (_, found) = read(export("0.11", page("0.11", 1, "A", "a", redirect="C"), bare))
    assert found == Page(2, 0, "B", False, 5, "t", "wikitext", None, None, None)


def test_pages_without_a_revision_are_counted() -> None:
    bare = "<page><title>B</title><ns>0</ns><id>2</id></page>"
    with read_export(io.BytesIO(export("0.10", bare, page("0.10", 3, "C", "c")).encode())) as opened:
        assert [p.page_id for p in opened] == [3]
        assert opened.without_revision == 1


def test_names_may_carry_a_prefix() -> None:
    xml = '<m:mediawiki xmlns:m="x"><m:page><m:title>A</m:title><m:id>1</m:id><m:revision><m:id>2</m:id></m:revision>'
    assert [p.title for p in read(xml + "</m:page></m:mediawiki>")] == ["A"]


def test_text_is_kept_to_the_character() -> None:
    text = "\n  a\t\u00a0 b \u200e\U0001f600\n\n"
    assert [p.text for p in read(export("0.10", page("0.10", 1, "A", text)))] == [text]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=80))
def test_text_is_unescaped_once(text: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert [p.text for p in read(export("0.11", page("0.11", 1, "A", escaped)))] == [text]


def test_multistream_files_are_read_through(tmp_path: Path) -> None:
    # As the producer writes them: head, runs of pages, tail, each a bzip2 stream of its own.
    xml = export("0.11", *(page("0.11", number, f"P{number}", "x" * number) for number in range(1, 8)))
    head, *pages = xml.split("  <page>")
    last, closing = pages[-1].split("</mediawiki>")
    pieces = [head, *(f"  <page>{body}" for body in [*pages[:-1], last]), f"</mediawiki>{closing}"]
    assert "".join(pieces) == xml
    path = tmp_path / "x.xml.bz2"
    path.write_bytes(b"".join(bz2.compress(piece.encode()) for piece in pieces))
    with read_export(path) as opened:
        assert [p.page_id for p in opened] == [1, 2, 3, 4, 5, 6, 7]


def collect(data: bytes) -> tuple[list[int], str]:
    """The ids of all pages before the failure, and what it says."""
    ids: list[int] = []
    try:
        with read_export(io.BytesIO(data), "x.xml") as opened:
            for found in opened:
                ids.append(found.page_id)
    except DumpError as error:
        return ids, str(error)
    return ids, ""


CUTS = {  # what the file still holds at its end: the pages that are whole, what must be said
    "<title>B": ([1], "</title></page></mediawiki>"),
    "<title>B</title>": ([1], "</page></mediawiki>"),
    '<text bytes="1" xml:space="preserve">b': ([1], "</text></revision></page></mediawiki>"),
    '<text bytes="1" xml:sp': ([1], "</revision></page></mediawiki>"),
    "<contributor><username>A</user": ([1], "</username></contributor></revision></page></mediawiki>"),
    "[[b]] &lt;c&g": ([1], "</comment></revision></page></mediawiki>"),
    "</revision>\n  </page>": ([1, 2], "</mediawiki>"),
    "</page>\n</mediawik": ([1, 2], "</mediawiki>"),
}


@pytest.mark.parametrize("end", CUTS)
def test_a_cut_gives_every_whole_page_and_says_what_is_missing(end: str) -> None:
    whole, missing = CUTS[end]
    cut = TWO_PAGES[: TWO_PAGES.rindex(end) + len(end)]
    ids, message = collect(cut.encode())
    assert ids == whole
    assert f"expected {missing};" in message
    last = {1: "page 1 'A'", 2: "page 2 'B'"}[whole[-1]]
    assert message.startswith("x.xml: the XML is cut short at byte ")
    assert f"the last whole page is {last}" in message


@given(st.integers(0, len(TWO_PAGES) - 2))
def test_a_cut_anywhere_is_an_error_and_loses_no_whole_page(at: int) -> None:
    cut = TWO_PAGES[:at]
    ids, message = collect(cut.encode())
    assert message
    assert len(ids) == cut.count("</page>")


def test_a_cut_inside_a_character_is_a_cut() -> None:
    data = export("0.10", page("0.10", 1, "A", "a"), page("0.10", 2, "B", "\U0001f600")).encode()
    ids, message = collect(data[: data.index("\U0001f600".encode()) + 2])
    assert ids == [1]
    assert "cut short" in message


def test_a_multistream_file_cut_between_streams_is_found() -> None:
    head, tail = TWO_PAGES.split("  <page>\n    <title>B")
    assert tail
    ids, message = collect(bz2.compress(head.encode()))
    assert ids == [1]
    assert "expected </mediawiki>" in message


def test_a_cut_in_the_compressed_data_names_its_place_and_the_last_page() -> None:
    head, tail = TWO_PAGES.split("  <page>\n    <title>B")
    first, second = bz2.compress(head.encode()), bz2.compress(f"  <page>\n    <title>B{tail}".encode())
    ids, message = collect(first + second[:60])
    assert ids == [1]
    assert f"the file ends at compressed byte {len(first) + 60}" in message
    assert "the last whole page is page 1 'A'" in message


def test_what_is_not_well_formed_names_byte_and_line() -> None:
    ids, message = collect(TWO_PAGES.replace(">b</text>", "><b</text>").encode())
    assert ids == [1]
    line = TWO_PAGES[: TWO_PAGES.index(">b</text>")].count("\n") + 1
    assert f"line {line}: " in message
    assert "not well-formed at byte" in message


def test_two_documents_in_one_file_are_an_error() -> None:
    ids, message = collect((TWO_PAGES + TWO_PAGES).encode())
    assert ids == [1, 2]
    assert "junk after document element" in message


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<html><body>403 Forbidden</body></html>", "the document is <html>; expected <mediawiki>"),
        ("<!DOCTYPE html><html></html>", "a document type declaration"),
        ('<!DOCTYPE m [<!ENTITY a "aa">]><mediawiki></mediawiki>', "a document type declaration"),
        ("<", "cut short at byte 0 of the XML, line 1: expected <mediawiki>; no page is whole"),
        ("<mediawiki><siteinfo><dbname>a", "expected </dbname></siteinfo></mediawiki>"),
        ('<mediawiki><siteinfo><namespaces><namespace key="a">', "the key of a namespace is 'a'"),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_no_export_is_refused_at_once(xml: str, message: str) -> None:
    with pytest.raises(DumpError) as error:
        read_export(io.BytesIO(xml.encode()), "x.xml")
    assert message in str(error.value)
    assert str(error.value).startswith("x.xml: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<id>2</id>", "<id>two</id>", "the id of the page 'B' is 'two'; expected a whole number"),
        ("<id>2</id>", "", "the id of the page 'B' is None"),
        ("<title>B</title>", "", "a page without a title"),
        ("<id>1002</id>", "", "the id of a revision of 'B' is None"),
        ('<text bytes="1" xml:space="preserve">b', '<text bytes="one">b', "the length of the text of 'B' is 'one'"),
    ],
)
def test_a_page_that_says_what_it_may_not_stops_the_reading(old: str, new: str, message: str) -> None:
    ids, found = collect(new.join(TWO_PAGES.rsplit(old, 1)).encode())
    assert ids == [1]
    assert message in found
    assert "line" in found


class Endless(io.RawIOBase):
    """An export without end that counts what was read of it."""

    def __init__(self) -> None:
        self.taken = 0
        self._pages = self._make()
        self._rest = b""

    def _make(self) -> Iterator[bytes]:
        head, tail = export("0.11", "@").split("@")
        assert tail
        yield head.encode()
        number = 0
        while True:
            number += 1
            yield page("0.11", number, f"P{number}", "word " * 200).encode()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while len(self._rest) < size:
            self._rest += next(self._pages)
        data, self._rest = self._rest[:size], self._rest[size:]
        self.taken += len(data)
        return data


def test_pages_come_while_the_file_is_read() -> None:
    source = Endless()
    with read_export(source, "endless") as opened:  # type: ignore[arg-type]  # as much of a BinaryIO as is used
        assert source.taken <= 2 * READ_BYTES
        for expected, found in zip(range(1, 2001), opened, strict=False):
            assert found.page_id == expected
            # A page is about 1.5 kB here: what was read is what was given out, and a piece.
            assert source.taken <= 2500 * expected + 3 * READ_BYTES


def test_the_file_is_closed_whether_read_to_the_end_or_not(tmp_path: Path) -> None:
    path = tmp_path / "x.xml.gz"
    path.write_bytes(gzip.compress(TWO_PAGES.encode()))
    opened = read_export(path)
    assert [p.page_id for p in opened] == [1, 2]
    assert list(opened) == []
    with read_export(path) as opened:
        next(iter(opened))
    # ResourceWarning is an error in this suite: an open file would show.


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_export(tmp_path / "none.xml")
