"""Pages read without the parser are what the parser reads; what it reads otherwise, or refuses, is left to it."""

import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.dumps.elements import Page
from valbench_dagster.dumps.page_scan import look
from valbench_dagster.dumps.pages import read_export
from valbench_dagster.dumps.plain_pages import read_plain

OPENING, CLOSING = b"<mediawiki>", b"</mediawiki>"
TEXT = b'<text bytes="4" sha1="abc0" xml:space="preserve">lead</text>'
PAGE = (
    b"""<page>
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
      %s
      <sha1>def1</sha1>
    </revision>
  </page>"""
    % TEXT
)


def parsed(xml: bytes) -> Page | None:
    """What the parser reads; null where it refuses the page."""
    try:
        with read_export(io.BytesIO(OPENING + xml + CLOSING), "x") as export:
            return next(iter(export))
    except DumpError:
        return None


def plain(xml: bytes) -> Page | None:
    raw = look(OPENING + xml + CLOSING, len(OPENING))
    return None if raw is None else read_plain(OPENING + xml + CLOSING, raw)


def test_a_page_as_mediawiki_writes_it_needs_no_parser() -> None:
    found = plain(PAGE)
    assert found == Page(
        page_id=5,
        namespace=0,
        title="A & B",
        redirect=False,
        revision_id=77,
        revision_time="2026-01-01T00:00:00Z",
        model="wikitext",
        text="lead",
        text_bytes=4,
        sha1="abc0",
    )
    assert found == parsed(PAGE)


@pytest.mark.parametrize(
    "text",
    [
        b"<text>a</text>",
        b'<text xml:space="preserve">a</text>',
        b'<text xml:space="preserve" bytes="1">a</text>',
        b'<text bytes="1" sha1="" xml:space="preserve">a</text>',
        "<text>\n é \U0001f600 \u0085\x7f\t== x ==\n]] &gt; &quot;&lt;b&gt;&amp;lt;&amp;amp;&quot;</text>".encode(),
    ],
)
def test_texts_of_every_schema_need_no_parser(text: bytes) -> None:
    found = plain(PAGE.replace(TEXT, text))
    assert found is not None
    assert found == parsed(PAGE.replace(TEXT, text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # What the parser reads otherwise: line ends, characters by number, lengths below zero.
        (b"lead", b"le\r\nad"),
        (b"lead", b"le\rad"),
        (b"lead", b"le&#65;ad"),
        (b"A &amp; B", b"A &#38; B"),
        (b'bytes="4"', b'bytes="-1"'),
        (b"<ns>0", b"<ns>1"),
        (b"<revision>", b'<redirect title="B" /><revision>'),
        (b"lead", b"  "),
        # What it refuses.
        (b"lead", b"le&ad"),
        (b"lead", b"le&amp ad"),
        (b"lead", b"le&nbsp;ad"),
        (b"lead", b"le]]>ad"),
        (b"lead", b"le\x01ad"),
        (b"lead", b"le\xffad"),
        (b"lead", b"le\xed\xa0\x80ad"),  # half of a surrogate pair
        (b"lead", "le\uffffad".encode()),
        (b"<comment>x", b"<comment>x&y"),
        (b"<username>C", b"<username>\xe9"),
        (b"A &amp; B", b"A \x0b B"),
        (b'bytes="4"', b'xml:space="preserve" bytes="4"'),
        # What it reads alike, but is rare.
        (b' sha1="abc0"', b' sha1="ABC"'),
        (b"<text ", b'<text more="x" '),
    ],
)
def test_whatever_is_unusual_is_left_to_the_parser(old: bytes, new: bytes) -> None:
    assert plain(PAGE.replace(old, new)) is None


SNIPPETS = st.sampled_from(
    [
        *(
            b"&",
            b"&lt;",
            b"&amp;lt;",
            b"&gt;",
            b"&quot;",
            b"&apos;",
            b"&#10;",
            b"]]>",
            b">",
            b"\r",
            b"\0",
            b"\t",
            b"\n",
        ),
        *(b"\xc3\xa9", b"\xff", b"\xef\xbf\xbe", b"\xef\xbf\xbd", b"<", b"<!-- -->", b'"', b' bytes="7"', b"/", b"0"),
    ]
)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(PAGE)), SNIPPETS), min_size=1, max_size=3))
@example([(PAGE.index(b"lead"), b"&amp;&lt;")])
def test_what_is_read_without_the_parser_is_what_the_parser_reads(changes: list[tuple[int, bytes]]) -> None:
    xml = PAGE
    for place, snippet in sorted(changes, reverse=True):
        xml = xml[:place] + snippet + xml[place:]
    found = plain(xml)
    if found is not None:
        assert found == parsed(xml)
