"""The header of a dump file: the XML before its first page, which says of what wiki it is.

Here belongs reading it off the spans of the file, and refusing what is no export. What the header says is
`dumps.elements`.
"""

import io
from collections.abc import Sequence
from itertools import chain

from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.dumps.page_scan import PAGE
from valbench_dagster.dumps.pages import read_export
from valbench_dagster.dumps.span_reader import SpanReader
from valbench_dagster.dumps.spans import Span
from valbench_dagster.mining.span_miner import CLOSING

MOST_BETWEEN_PAGES = 1 << 28
"""Most bytes of XML that may stand in a row without a whole page: far above any page, far below what fills memory."""


def read_header(cut: Sequence[Span]) -> bytes:
    """Read the XML before the first page of the file that is cut into these spans, or before damage that swallowed it.

    Raises `DumpError` where the file is no MediaWiki export, or broken before its header is whole.
    """
    header, name, broken = b"", cut[0].path.name, ""
    # No thread of a decoder in this process: workers are forked from it.
    for chunk in chain.from_iterable(SpanReader(span, "bz2") for span in cut):
        if not isinstance(chunk, bytes):
            kind = chunk.kind.replace("_", " ")
            broken = f"{name}: {kind} at or after byte {chunk.offset}, before the first page: {chunk.detail}"
            break
        header += chunk
        ends = [at for at in (header.find(PAGE), header.find(CLOSING)) if at >= 0]
        if ends:
            header = header[: min(ends)]
            break
        if len(header) > MOST_BETWEEN_PAGES:
            raise DumpError(f"{name}: no page in the first {len(header)} bytes of XML")
    try:
        with read_export(io.BytesIO(header + CLOSING), name) as export:
            if next(iter(export), None) is None and not export.without_revision:
                return header
    except DumpError as error:
        raise DumpError(f"{broken}; fetch the file again") if broken else error from error
    raise DumpError(
        f"{name}: pages are written in a way that is not known here; expected {PAGE.decode()}> or attributes"
    )
