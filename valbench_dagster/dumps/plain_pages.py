"""Plain pages: a `Page` straight from the raw XML of a page that the quick look recognised, without the parser.

Here belongs the reading of what holds nothing but text and the four entities that MediaWiki writes. Whatever else
stands in a page, be it well-formed or not, is left to the parser (`pages.py`), whose word counts.
"""

import re

from valbench_dagster.dumps.elements import Page
from valbench_dagster.dumps.page_scan import PAGE_TO_TEXT, TEXT_TO_END, RawPage

_SIGNS = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_ENTITY = re.compile("&(lt|gt|amp|quot);")
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n")  # a line end of two signs is one to the parser
_NO_CHARACTERS = ("\ufffe", "\uffff")
_ATTRIBUTES = re.compile(
    rb'(?P<space> xml:space="preserve")?(?: bytes="(?P<bytes>\d{1,18})")?(?: sha1="(?P<sha1>[0-9a-z]*)")?'
    rb'(?(space)|(?: xml:space="preserve")?)'
)


def read_plain(xml: bytes, page: RawPage) -> Page | None:
    """Read a page of the kind "text" as the parser would; null where only the parser can tell what it says.

    `xml` is what the page was found in.
    """
    head = PAGE_TO_TEXT.match(xml, page.start, page.end) if page.kind == "text" else None
    if head is None:
        return None
    text_end = xml.find(b"<", page.text_start)
    tail = TEXT_TO_END.match(xml, text_end, page.end)
    attributes = _ATTRIBUTES.fullmatch(head["text"])
    if tail is None or attributes is None:
        return None
    before = _characters(xml[page.start : page.text_start])
    text = _characters(xml[page.text_start : text_end])
    after = _characters(xml[text_end : page.end])
    title, time, sha1 = (_characters(value or b"") for value in (head["title"], head["time"], tail["sha1"]))
    if before is None or text is None or after is None or title is None or time is None or sha1 is None:
        return None
    own_sha1, length = attributes["sha1"] or b"", attributes["bytes"]
    return Page(
        page_id=page.page_id,
        namespace=0,
        title=title,
        redirect=False,
        revision_id=int(head["revision"]),
        revision_time=time,
        model="wikitext",
        text=text,
        text_bytes=None if length is None else int(length),
        sha1=own_sha1.decode() or sha1 or None,
    )


def _characters(xml: bytes) -> str | None:
    """The characters that a piece of XML stands for; null where not only characters and the four entities are in it."""
    if len(xml.translate(None, _CONTROLS)) < len(xml) or (b">" in xml and b"]]>" in xml):
        return None
    try:
        text = xml.decode("utf-8")
    except UnicodeDecodeError:
        return None
    read, entities = _ENTITY.subn(_sign, text)
    unknown = entities < text.count("&") or any(sign in text for sign in _NO_CHARACTERS)
    return None if unknown else read


def _sign(entity: re.Match[str]) -> str:
    return _SIGNS[entity[1]]
