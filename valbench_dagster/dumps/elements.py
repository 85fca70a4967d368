"""Elements: what a MediaWiki export holds, schemas 0.3 to 0.11, matched by local name.

Here belong the records of a page and of a wiki, and the handlers of the XML parser that gather them. Reading a file
and saying where it is broken is `pages.py`; what the wikitext of a page says is `wikitext/`.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from valbench_dagster.dumps.namespaces import ENGLISH_NAMESPACES, namespace_of, prefixes


@dataclass(frozen=True, slots=True)
class Page:
    """One page with one revision: the last in the file where it has several (current-revision dumps have one)."""

    page_id: int
    namespace: int
    title: str
    """As written in the export, with the namespace's prefix."""
    redirect: bool
    revision_id: int
    revision_time: str
    """ISO 8601, UTC, as written in the export."""
    model: str
    """Content model; `wikitext` where the schema names none."""
    text: str | None
    """Wikitext, unescaped once and otherwise untouched; null where it is hidden or absent, empty where it is empty."""
    text_bytes: int | None
    """Length that the producer states, -1 for hidden text; null where the schema has none."""
    sha1: str | None
    """SHA-1 of the text in base 36, the text element's own before the revision's; null where there is none."""


@dataclass(frozen=True, slots=True)
class SiteInfo:
    """What the export says of its wiki; null where it says nothing, English namespaces where it names none."""

    dbname: str | None = None
    base: str | None = None
    namespaces: Mapping[int, str] = field(default_factory=lambda: ENGLISH_NAMESPACES)


def sha1_base36(text: str) -> str:
    """Hash a text as exports do: SHA-1 of its UTF-8 bytes in base 36, 31 digits and small letters."""
    number = int.from_bytes(hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).digest(), "big")
    digits = []
    while number:
        number, digit = divmod(number, 36)
        digits.append("0123456789abcdefghijklmnopqrstuvwxyz"[digit])
    return "".join(reversed(digits)).rjust(31, "0")


_ROOT = "/mediawiki"
_NAMESPACE = "/mediawiki/siteinfo/namespaces/namespace"
_PAGE = "/mediawiki/page"
_REVISION = "/mediawiki/page/revision"
_TEXT = "/mediawiki/page/revision/text"
_REVISION_VALUES = (f"{_REVISION}/id", f"{_REVISION}/timestamp", f"{_REVISION}/model", f"{_REVISION}/sha1", _TEXT)
_KEPT = frozenset(
    (
        f"{_ROOT}/siteinfo/dbname",
        f"{_ROOT}/siteinfo/base",
        _NAMESPACE,
        f"{_PAGE}/title",
        f"{_PAGE}/ns",
        f"{_PAGE}/id",
        *_REVISION_VALUES,
    )
)
"""Elements whose text is kept, by their path: an `id` of a contributor or the `text` of another slot is neither."""

_REDIRECT_TEXT = re.compile(r"\s*#REDIRECT\s*:?\s*\[\[", re.IGNORECASE)


class MalformedError(Exception):
    """What the export says where it may not; `Export` adds the file and the place."""


class Builder:
    """Handlers of the XML parser: gathers siteinfo, then one page at a time into `pages`."""

    def __init__(self, capture: Callable[[Callable[[str], object] | None], None]) -> None:
        self.site: SiteInfo = SiteInfo()
        self.site_known = False
        self.pages: list[Page] = []
        self.last_page: str | None = None
        self.without_revision = 0
        self.with_history = 0
        self.where = ""
        self._capture = capture
        self._parts: list[str] = []
        self._values: dict[str, str] = {}
        self._namespaces: dict[int, str] = {}
        self._namespace_key = 0
        self._prefixes: dict[str, int] = {}
        self._text_attributes: Mapping[str, str] = {}
        self._revisions = 0
        self._redirect = False

    def doctype(self, *_: object) -> None:
        """Refuse a document type declaration."""
        raise MalformedError("a document type declaration, which no MediaWiki export has")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take notice of an element that begins."""
        self.where = where = f"{self.where}/{tag.rpartition(':')[2]}"
        if where in _KEPT:
            self._parts = []
            self._capture(self._parts.append)
            if where == _TEXT:
                self._text_attributes = attributes
            elif where == _NAMESPACE:
                self._namespace_key = _integer(attributes.get("key"), "the key of a namespace")
        elif where == _REVISION:
            self._revisions += 1
            self._text_attributes = {}
            for name in _REVISION_VALUES:
                self._values.pop(name, None)
        elif where == _PAGE:
            self._know_site()
            self._values, self._redirect, self._revisions = {}, False, 0
        elif where == f"{_PAGE}/redirect":
            self._redirect = True
        elif where.count("/") == 1 and where != _ROOT:
            raise MalformedError(f"the document is <{tag}>; expected <mediawiki>")

    def end(self, _tag: str) -> None:
        """Keep what an element held; a whole page is appended to `pages`."""
        where = self.where
        if where in _KEPT:
            self._capture(None)
            value = "".join(self._parts)
            if where == _NAMESPACE:
                self._namespaces[self._namespace_key] = value
            else:
                self._values[where] = value
        elif where == _PAGE:
            self._finish_page()
        elif where in (f"{_ROOT}/siteinfo", _ROOT):
            self._know_site()
        self.where = where.rpartition("/")[0]

    def _know_site(self) -> None:
        if self.site_known:
            return
        self.site_known = True
        self.site = SiteInfo(
            dbname=self._values.get(f"{_ROOT}/siteinfo/dbname") or None,
            base=self._values.get(f"{_ROOT}/siteinfo/base") or None,
            namespaces=MappingProxyType(self._namespaces) if self._namespaces else ENGLISH_NAMESPACES,
        )
        self._prefixes = prefixes(self.site.namespaces)

    def _finish_page(self) -> None:
        values = self._values
        title = values.get(f"{_PAGE}/title")
        if title is None:
            raise MalformedError("a page without a title")
        page_id = _integer(values.get(f"{_PAGE}/id"), f"the id of the page {title!r}")
        self.last_page = f"page {page_id} {title!r}"
        if not self._revisions:
            self.without_revision += 1
            return
        self.with_history += self._revisions > 1
        attributes = self._text_attributes
        text = None if "deleted" in attributes else values.get(_TEXT)
        redirect = self._redirect
        if (number := values.get(f"{_PAGE}/ns")) is not None:
            namespace = _integer(number, f"the namespace of {title!r}")
        else:  # schemas before 0.6; those before 0.4 have no redirect element either
            namespace = namespace_of(title, self._prefixes)
            redirect = redirect or (text is not None and _REDIRECT_TEXT.match(text) is not None)
        size = attributes.get("bytes")
        self.pages.append(
            Page(
                page_id=page_id,
                namespace=namespace,
                title=title,
                redirect=redirect,
                revision_id=_integer(values.get(f"{_REVISION}/id"), f"the id of a revision of {title!r}"),
                revision_time=values.get(f"{_REVISION}/timestamp", ""),
                model=values.get(f"{_REVISION}/model") or "wikitext",
                text=text,
                text_bytes=None if size is None else _integer(size, f"the length of the text of {title!r}"),
                sha1=attributes.get("sha1") or values.get(f"{_REVISION}/sha1") or None,
            )
        )


def _integer(value: str | None, what: str) -> int:
    try:
        return int(value or "")
    except ValueError:
        raise MalformedError(f"{what} is {value!r}; expected a whole number") from None
