"""Pages: the XML of a MediaWiki export to one `Page` after the other, in constant memory.

Here belongs the reading, and what is said of a file that is cut short or broken. Containers are `decode.py`; what is
known of the export's elements is `elements.py`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Self
from xml.parsers import expat

from valbench_dagster.dumps.decode import DumpError, decoded
from valbench_dagster.dumps.elements import Builder, MalformedError, Page, SiteInfo

__all__ = ["DumpError", "Export", "Page", "SiteInfo", "read_export"]

_CUT_SHORT = frozenset(
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
)


class Export:
    """One export, read once and forwards: `site` at once, pages by iterating, all in constant memory.

    Iterating raises `DumpError` after the last whole page where the file is cut short, corrupt or not well-formed.
    Use it as a context manager, or iterate to the end: either closes what `read_export` opened.
    """

    def __init__(self, source: BinaryIO, name: str, *, closes: bool) -> None:
        self._name = name
        self._source = source
        self._closes = closes
        self._chunks = decoded(source, name)
        self._parser = expat.ParserCreate(encoding="utf-8")
        self._parser.buffer_text = True
        self._parser.buffer_size = 1 << 16
        self._builder = Builder(self._capture)
        self._parser.StartElementHandler = self._builder.start
        self._parser.EndElementHandler = self._builder.end
        self._parser.StartDoctypeDeclHandler = self._builder.doctype
        self._failure: DumpError | None = None
        self._finished = False
        self._iterator = self._read_pages()
        try:
            while not (self._builder.site_known or self._finished):
                self._advance()
            if self._failure is not None and not self._builder.site_known:
                raise self._failure
        except BaseException:
            self.close()
            raise

    @property
    def site(self) -> SiteInfo:
        """What the export says of its wiki."""
        return self._builder.site

    @property
    def without_revision(self) -> int:
        """Pages read so far that hold no revision at all; they are not given out."""
        return self._builder.without_revision

    @property
    def with_history(self) -> int:
        """Pages read so far with several revisions, of which the last in the file was taken."""
        return self._builder.with_history

    def __iter__(self) -> Iterator[Page]:
        return self._iterator

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if `read_export` opened it."""
        if self._closes:
            self._source.close()

    def _capture(self, sink: Callable[[str], object] | None) -> None:
        self._parser.CharacterDataHandler = sink

    def _read_pages(self) -> Iterator[Page]:
        try:
            while True:
                ready, self._builder.pages = self._builder.pages, []
                yield from ready
                if self._failure is not None:
                    raise self._failure
                if self._finished and not self._builder.pages:
                    return
                self._advance()
        finally:
            self.close()

    def _advance(self) -> None:
        """Parse one chunk more; a failure is kept until the pages before it are given out."""
        try:
            chunk = next(self._chunks, None)
            self._finished = chunk is None
            self._parser.Parse(chunk or b"", self._finished)
        except DumpError as error:
            self._fail(f"{error}; {self._progress()}", error)
        except MalformedError as error:
            self._fail(f"{self._name}: {error} ({self._place()}); {self._progress()}", error)
        except expat.ExpatError as error:
            closing = "".join(f"</{name}>" for name in reversed(self._builder.where.split("/")[1:]))
            if error.code in _CUT_SHORT:
                what = f"the XML is cut short at {self._place()}: expected {closing or '<mediawiki>'}"
            else:
                what = f"the XML is not well-formed at {self._place()}: {expat.ErrorString(error.code)}"
            self._fail(f"{self._name}: {what}; {self._progress()}; fetch the file again", error)

    def _fail(self, message: str, cause: Exception) -> None:
        self._finished = True
        self._failure = DumpError(message)
        self._failure.__cause__ = cause

    def _place(self) -> str:
        return f"byte {self._parser.CurrentByteIndex} of the XML, line {self._parser.CurrentLineNumber}"

    def _progress(self) -> str:
        return f"the last whole page is {self._builder.last_page}" if self._builder.last_page else "no page is whole"


def read_export(source: Path | BinaryIO, name: str | None = None) -> Export:
    """Open a MediaWiki export, compressed or not, and read as far as its siteinfo.

    `name` is what messages call it: the file's name where it is not given. A stream is read forwards from where it
    stands and is left open. Raises `OSError` where the file cannot be opened, `DumpError` where it is empty, no
    export, or broken before its first page.
    """
    if isinstance(source, Path):
        return Export(source.open("rb"), name or source.name, closes=True)
    return Export(source, name or str(getattr(source, "name", "the export")), closes=False)
