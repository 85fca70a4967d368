"""The page scan sees the pages that the parser sees, and of each what the parser says, or that it does not know."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.dumps.elements import Page
from valbench_dagster.dumps.page_scan import Between, PageScan, RawPage, Stretch, look
from valbench_dagster.dumps.pages import read_export
from valbench_dagster.dumps.span_checks import Damage

OPENING = b'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">'
CLOSING = b"</mediawiki>\n"


@dataclass(frozen=True)
class Seen:
    """What a scan gave: pages as XML with what is said of them, and the other parts."""

    pages: tuple[tuple[bytes, RawPage], ...]
    between: tuple[bytes, ...]
    damages: int
    scan: PageScan


def scanned(chunks: Sequence[bytes | Damage]) -> Seen:
    scan, pages, between, damages = PageScan(), list[tuple[bytes, RawPage]](), list[bytes](), 0
    for part in scan.scan(iter(chunks)):
        if isinstance(part, Stretch):
            pages += [(part.xml[page.start : page.end], page) for page in part.pages]
        elif isinstance(part, Between):
            between.append(part.xml)
        else:
            damages += 1
    assert scan.xml_bytes == sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes))
    return Seen(tuple(pages), tuple(between), damages, scan)


def parsed(xml: bytes) -> list[Page]:
    with read_export(io.BytesIO(xml)) as export:
        return list(export)


def kind_of(page: Page) -> str:
    """The first reason that holds, of those that a quick look may find; `text` where none does."""
    reasons = {
        "other_namespace": page.namespace != 0,
        "redirect": page.redirect,
        "other_content_model": page.model != "wikitext",
        "empty_or_hidden": not (page.text or "").strip(),
    }
    return next((reason for reason, holds in reasons.items() if holds), "text")


# Pages as MediaWiki writes them, of any schema; each may have something unusual put into it.

SPACES = st.sampled_from(["\n    ", "", " ", "\r\n\t"])
WORDS = st.sampled_from(
    ["a", "A &amp; B", "&lt;page&gt;", "&quot;x&quot;", "é", "\u3000", "&#32;", "== Fraud ==", "\n", " "]
)
TITLES = st.lists(WORDS.filter(str.strip), min_size=1, max_size=3).map("".join)
TEXTS = st.lists(WORDS, max_size=4).map("".join)
ATTRIBUTES = st.lists(
    st.sampled_from(
        ['bytes="0"', 'bytes="12"', 'bytes="-1"', 'xml:space="preserve"', 'sha1="abc"', 'deleted="deleted"']
    ),
    unique_by=lambda attribute: attribute.partition("=")[0],
)
CONTRIBUTORS = st.sampled_from(
    [
        '<contributor deleted="deleted" />',
        "<contributor><username>A &amp; B</username><id>3</id></contributor>",
        "<contributor><ip>127.0.0.1</ip></contributor>",
        "<contributor><username /><id>0</id></contributor>",
        "<contributor>\n</contributor>",
        "",
    ]
)
COMMENTS = st.sampled_from(["", "<comment>x</comment>", '<comment deleted="deleted" />', "<comment />"])
MODELS = st.sampled_from(
    [
        "",
        "<model>wikitext</model>",
        "<model>json</model>",
        "<model></model>",
        "<model/>",
        "<model>wiki&#116;ext</model>",
    ]
)
UNUSUAL = st.sampled_from(
    [
        *(("<revision>", "<!-- x --><revision>"), ("<ns>0</ns>", "<ns>00</ns>"), ("<ns>0</ns>", "<ns> 0 </ns>")),
        *(("<ns>0</ns>", "<ns>-0</ns>"), ("</page>", "<upload><src>x</src></upload></page>"), ("<page>", "<page><x/>")),
        *(
            ("</revision>", "<content><role>x</role><text>y</text></content></revision>"),
            ("<title>", "<title lang='x'>"),
        ),
        *(("<text", "<text more='>'"), ("<text", '<text more=">"'), ("<text", "<text deleted = 'deleted'")),
        *(
            ("<text", "<text more='deleted='"),
            ("</text>", "<![CDATA[ == Fraud == ]]></text>"),
            ("</text>", "<!-- x --></text>"),
        ),
        *(
            ("</text>", "</text><text>other</text>"),
            ("<text", "<text\n"),
            ("</text>", "<?x y?></text>"),
            ("</id>", "<!----></id>"),
        ),
    ]
)


@st.composite
def revisions(draw: st.DrawFn) -> str:
    space = draw(SPACES)
    model = draw(MODELS)
    content = draw(TEXTS)
    attributes = "".join(f" {attribute}" for attribute in draw(ATTRIBUTES))
    text = draw(
        st.sampled_from([f"<text{attributes}>{content}</text>", f"<text{attributes} />", f"<text{attributes}/>"])
    )
    late = draw(st.booleans())  # schemas 0.6 to 0.9 have model and format behind the text
    described = [model, draw(st.sampled_from(["", "<format>text/x-wiki</format>"]))]
    elements = [
        "<id>77</id>",
        draw(st.sampled_from(["", "<parentid>76</parentid>"])),
        "<timestamp>2026-01-01T00:00:00Z</timestamp>",
        draw(CONTRIBUTORS),
        draw(st.sampled_from(["", "<minor/>", "<minor />"])),
        draw(COMMENTS),
        draw(st.sampled_from(["", "<origin>-1</origin>"])),
        *([] if late else described),
        text,
        draw(st.sampled_from(["", "<sha1>abc</sha1>", "<sha1 />", "<sha1/>"])),
        *(described if late else []),
    ]
    if draw(st.integers(0, 9)) == 0:
        elements = draw(st.permutations(elements))
    return f"<revision>{space.join(['', *filter(None, elements), ''])}</revision>"


@st.composite
def pages(draw: st.DrawFn, number: int = 1) -> str:
    space = draw(SPACES)
    elements = [
        f"<title>{draw(TITLES)}</title>",
        draw(st.sampled_from(["<ns>0</ns>"] * 6 + ["<ns>1</ns>", "<ns>-1</ns>", ""])),
        f"<id>{number}</id>",
        draw(st.sampled_from([""] * 6 + ['<redirect title="A &amp; B" />', "<redirect />"])),
        draw(st.sampled_from(["", "<restrictions>edit=sysop</restrictions>"])),
        *draw(st.lists(revisions(), min_size=1, max_size=draw(st.sampled_from([1] * 9 + [2])))),
    ]
    xml = f"<page>{space.join(['', *filter(None, elements), ''])}</page>"
    for old, new in draw(st.sampled_from([[]] * 3 + [st.lists(UNUSUAL, min_size=1, max_size=2)]).flatmap(_given)):
        xml = xml.replace(old, new, 1)
    return xml


def _given(found: object) -> st.SearchStrategy[list[tuple[str, str]]]:
    return found if isinstance(found, st.SearchStrategy) else st.just([])


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    count = draw(st.integers(1, 4))
    written = [draw(pages(number)) for number in range(1, count + 1)]
    space = draw(st.sampled_from(["\n  ", "", "\r\n"]))
    return OPENING + space.join(["", *written, ""]).encode() + CLOSING


def cuts(xml: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(xml)), max_size=8).map(lambda found: sorted({0, *found, len(xml)}))
    return st.one_of(
        places.map(lambda edges: [xml[a:b] for a, b in pairwise(edges)]),
        st.integers(1, 9).map(lambda step: [xml[at : at + step] for at in range(0, len(xml), step)]),
    )


def well_formed(xml: bytes) -> bool:
    try:
        parsed(xml)
    except Exception:  # noqa: BLE001 - what the parser refuses is for other tests
        return False
    return True


@settings(max_examples=300)
@given(st.data())
def test_any_cutting_gives_the_pages_that_the_parser_reads_or_says_that_it_must_be_asked(data: st.DataObject) -> None:
    xml = data.draw(documents().filter(well_formed))
    found = scanned(data.draw(cuts(xml)))
    expected = parsed(xml)
    assert (found.between, found.damages) == ((), 0)
    assert (found.scan.head, found.scan.tail.strip()) == (xml[: xml.find(b"<page>")], CLOSING.strip())
    assert len(found.pages) == len(expected)
    for (own, raw), page in zip(found.pages, expected, strict=True):
        assert parsed(OPENING + own + CLOSING) == [page]
        if raw.kind == "unknown":
            assert raw.page_id == 0
            continue
        assert raw.page_id == page.page_id
        # A text that only a reference makes blank is the one that a quick look takes for text: the miner asks the
        # parser about every page with a reference.
        blank = raw.kind == "text" and kind_of(page) == "empty_or_hidden" and b"&#" in own
        assert raw.kind == kind_of(page) or blank
        hidden = b"deleted" in own.rpartition(b"<text")[2].partition(b">")[0]
        assert raw.lost_text == (not page.text and not hidden and (page.text_bytes or 0) > 0)


PAGE = """<page>
    <title>A &amp; B</title>
    <ns>0</ns>
    <id>5</id>
    <revision>
      <id>77</id>
      <parentid>76</parentid>
      <timestamp>2026-01-01T00:00:00Z</timestamp>
      <contributor>
        <username>C</username>
        <id>3</id>
      </contributor>
      <minor />
      <comment>x</comment>
      <origin>77</origin>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text bytes="4" sha1="abc" xml:space="preserve">lead</text>
      <sha1>abc</sha1>
    </revision>
  </page>"""
OLD = """<page>
    <title>A</title>
    <ns>0</ns>
    <id>5</id>
    <redirect title="B" />
    <restrictions>edit=sysop</restrictions>
    <revision>
      <id>77</id>
      <timestamp>2014-01-01T00:00:00Z</timestamp>
      <contributor>
        <ip>127.0.0.1</ip>
      </contributor>
      <text xml:space="preserve" bytes="4">lead</text>
      <sha1>abc</sha1>
      <model>wikitext</model>
      <format>text/x-wiki</format>
    </revision>
  </page>"""
TEXT = '<text bytes="4" sha1="abc" xml:space="preserve">lead</text>'


@pytest.mark.parametrize(
    ("kind", "xml"),
    [
        ("text", PAGE),
        ("redirect", OLD),
        ("other_namespace", PAGE.replace("<ns>0", "<ns>14")),
        ("other_namespace", PAGE.replace("<ns>0", "<ns>-2")),
        ("redirect", PAGE.replace("<revision>", '<redirect title="B &quot;" />\n    <revision>')),
        ("other_content_model", PAGE.replace("<model>wikitext", "<model>json")),
        ("empty_or_hidden", PAGE.replace(TEXT, '<text bytes="0" />')),
        ("empty_or_hidden", PAGE.replace(TEXT, '<text bytes="0" sha1="" xml:space="preserve" />')),
        ("empty_or_hidden", PAGE.replace(TEXT, '<text bytes="-1" deleted="deleted" />')),
        ("empty_or_hidden", PAGE.replace(TEXT, '<text bytes="9" xml:space="preserve"></text>')),
        ("empty_or_hidden", PAGE.replace("lead", "\n\u3000 \t")),
        ("text", PAGE.replace("lead", "\n\u3000 \tx")),
        (
            "text",
            PAGE.replace("<minor />", "").replace("<origin>77</origin>", "").replace("<sha1>abc</sha1>", "<sha1 />"),
        ),
        # Real exports hold all of the above. What follows none does, or no reader needs to be quick about.
        ("unknown", PAGE.replace("<ns>0</ns>", "")),
        ("unknown", PAGE.replace("<ns>0", "<ns>00")),
        ("unknown", PAGE.replace("<model>wikitext", "<model>wiki&#116;ext")),
        ("unknown", PAGE.replace("lead", "<![CDATA[lead]]>")),
        ("unknown", PAGE.replace("lead", "<!-- x -->lead")),
        ("unknown", PAGE.replace("lead", "le\0ad")),
        ("unknown", PAGE.replace("<text ", '<text more=">" ')),
        ("unknown", PAGE.replace("</sha1>", "</sha1><model>json</model>")),
        ("unknown", PAGE.replace("</revision>", "</revision><revision><id>1</id></revision>")),
        ("unknown", PAGE.replace("</revision>", "<content><text>x</text></content></revision>")),
    ],
)
def test_what_a_quick_look_finds(kind: str, xml: str) -> None:
    [(own, page)] = scanned([OPENING, xml.encode(), CLOSING]).pages
    assert (page.kind, own.decode()) == (kind, xml)


def test_a_page_is_whole_only_up_to_its_last_sign() -> None:
    xml = PAGE.encode()
    assert [look(xml[:length], 0) for length in range(len(xml))] == [None] * len(xml)
    assert look(xml, 0) is not None


# What is torn or strange.


def names(found: Seen) -> list[str]:
    return [f"{page.kind} {page.page_id}" for _, page in found.pages]


def numbered(number: int, text: str = "lead") -> bytes:
    return PAGE.replace("<id>5</id>", f"<id>{number}</id>").replace("lead", text).encode()


def pieces(xml: bytes) -> Iterator[list[bytes]]:
    yield [xml]
    yield [xml[at : at + 1] for at in range(len(xml))]
    yield [xml[at : at + 50] for at in range(0, len(xml), 50)]


def test_what_stands_between_pages_is_given() -> None:
    for chunks in pieces(OPENING + numbered(1) + b"\nstray\n" + numbered(2) + b"<x>" + numbered(3) + CLOSING):
        found = scanned(chunks)
        assert names(found) == ["text 1", "text 2", "text 3"]
        assert [between.strip() for between in found.between] == [b"stray", b"<x>"]


def test_a_torn_page_ends_where_the_next_begins() -> None:
    for torn in (10, 200, len(numbered(2)) - 8):
        xml = OPENING + numbered(1) + numbered(2)[:torn] + numbered(3) + CLOSING
        for chunks in pieces(xml):
            found = scanned(chunks)
            assert names(found) == ["text 1", "unknown 0", "text 3"]
            assert found.pages[1][0] == numbered(2)[:torn]


def test_a_hole_between_two_pages_makes_one_unknown_of_both() -> None:
    xml = OPENING + numbered(1) + numbered(2)[:-60] + b"\0" * 40 + numbered(3)[120:] + numbered(4) + CLOSING
    assert names(scanned([xml])) == ["text 1", "unknown 0", "text 4"]


def torn_by(kind: str = "corrupt") -> Damage:
    return Damage(kind, 0, "")  # type: ignore[arg-type]  # one of its kinds


def test_damage_costs_the_page_that_it_stands_in_and_no_other() -> None:
    before, after = OPENING + numbered(1) + numbered(2)[:300], numbered(3)[200:] + b"\n" + numbered(4) + CLOSING
    for some in pieces(before):
        for more in pieces(after):
            found = scanned([*some, torn_by(), *more])
            assert (names(found), found.damages) == (["text 1", "text 4"], 1)
            assert (found.scan.head_torn, found.scan.tail_torn) == (False, False)
            assert found.scan.tail == CLOSING


def test_damage_before_any_page_tears_the_head_and_damage_after_the_last_tears_the_tail() -> None:
    xml = numbered(1)[100:] + b"\n" + numbered(2)[:20]
    end = numbered(3)[500:] + CLOSING
    for some in pieces(numbered(1)[100:] + b"\n"):
        for more in pieces(end):
            scan = scanned([*some, torn_by(), *more]).scan
            assert (scan.head, scan.head_torn) == (xml[: -len(numbered(2)[:20])], True)
            assert (scan.tail, scan.tail_torn, scan.found_page) == (end, True, False)
    scan = scanned([numbered(1), torn_by(), end]).scan
    assert (scan.head, scan.head_torn, scan.tail, scan.tail_torn) == (b"", False, end, True)


def test_a_page_that_begins_after_damage_and_does_not_end_is_the_tail() -> None:
    for more in pieces(numbered(2)[300:] + b"\n" + numbered(3)[:100]):
        scan = scanned([numbered(1), torn_by(), *more]).scan
        assert (scan.tail, scan.tail_torn) == (numbered(3)[:100], False)


def test_garbage_costs_nothing() -> None:
    xml = OPENING + numbered(1) + numbered(2) + CLOSING
    found = scanned([xml[:500], torn_by("garbage"), xml[500:]])
    assert (names(found), found.damages) == (["text 1", "text 2"], 1)


def test_where_no_page_begins_all_is_head() -> None:
    for chunks in pieces(numbered(1)[10:]):
        scan = scanned(chunks).scan
        assert (scan.head, scan.tail, scan.found_page) == (numbered(1)[10:], b"", False)
    assert scanned([]).scan.head == b""
