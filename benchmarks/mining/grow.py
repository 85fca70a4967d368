"""Growing: a large dump out of small excerpts: their pages again and again, under new ids and titles.

    python -m benchmarks.mining.grow EXCERPTS OUT --megabytes 600

EXCERPTS is a folder with MediaWiki exports in `en/` and `other/` (the folder that `VALBENCH_TEST_DUMPS` names for the
tests); nothing of it is part of this project. Written are `OUT/multistream.xml.bz2`, 100 pages a stream as Wikimedia
does it, with its index, and the same XML as one stream, `OUT/single.xml.bz2`.
"""

import argparse
import bz2
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from itertools import count
from pathlib import Path
from typing import BinaryIO

PAGES_A_STREAM = 100
NAMES = {
    "multistream": "enwiki-20261101-pages-articles-multistream.xml.bz2",
    "index": "enwiki-20261101-pages-articles-multistream-index.txt.bz2",
    "single": "enwiki-20261101-pages-articles.xml.bz2",
}
HEADER = b"""<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <dbname>enwiki</dbname>
    <base>https://en.wikipedia.org/wiki/Main_Page</base>
    <generator>grown for a benchmark</generator>
    <case>first-letter</case>
  </siteinfo>
"""
CLOSING = b"</mediawiki>\n"
_PAGE = re.compile(rb"  <page>.*?</page>\n", re.DOTALL)
_ID = re.compile(rb"<id>\d+</id>")
_TITLE = re.compile(rb"<title>([^<]*)</title>")


def pages_of(folder: Path) -> list[bytes]:
    """Read every whole page of every export in a folder, as raw XML; exports of another indentation give none."""
    found: list[bytes] = []
    for path in sorted(folder.glob("*/*.xml*")):
        raw, plain = path.read_bytes(), b""
        while path.suffix == ".bz2" and raw:
            stream = bz2.BZ2Decompressor()
            plain += stream.decompress(raw)
            raw = stream.unused_data
        found += _PAGE.findall(plain or raw)
    if not found:
        raise SystemExit(f"{folder} holds no export with pages: expected en/*.xml.bz2 and other/*.xml.bz2")
    return found


def grown(pages: list[bytes], size: int) -> Iterator[tuple[bytes, list[tuple[int, str]]]]:
    """Give batches of pages, with ids and titles, until `size` bytes are reached: the excerpts over and over."""
    written = 0
    batch: list[bytes] = []
    names: list[tuple[int, str]] = []
    for page_id in count(1):
        page = pages[(page_id - 1) % len(pages)]
        title = _TITLE.search(page)
        name = b"%s %d" % (title[1] if title else b"Page", page_id)
        page = _ID.sub(b"<id>%d</id>" % page_id, page, count=1)
        page = page.replace(title[0], b"<title>%s</title>" % name, 1) if title else page
        batch.append(page)
        names.append((page_id, name.decode()))
        written += len(page)
        if len(batch) == PAGES_A_STREAM or written >= size:
            yield b"".join(batch), names
            batch, names = [], []
            if written >= size:
                return


def grow(excerpts: Path, out: Path, megabytes: int, threads: int = 2) -> dict[str, Path]:
    """Write the multistream file, its index and the single stream; gives their paths by what they are."""
    out.mkdir(parents=True, exist_ok=True)
    paths = {kind: out / name for kind, name in NAMES.items()}
    single = bz2.BZ2Compressor()
    with (
        paths["multistream"].open("wb") as multistream,
        bz2.open(paths["index"], "wt", encoding="utf-8") as index,
        paths["single"].open("wb") as alone,
        ThreadPoolExecutor(threads) as pool,
    ):
        waiting: deque[tuple[Future[bytes], list[tuple[int, str]]]] = deque()

        def settle(target: BinaryIO, most: int) -> None:
            while len(waiting) > most:
                stream, names = waiting.popleft()
                offset = target.tell()
                target.write(stream.result())
                index.writelines(f"{offset}:{page_id}:{escape(title, quote=True)}\n" for page_id, title in names)

        waiting.append((pool.submit(bz2.compress, HEADER), []))
        alone.write(single.compress(HEADER))
        for batch, names in grown(pages_of(excerpts), megabytes * 1_000_000):
            waiting.append((pool.submit(bz2.compress, batch), names))
            alone.write(single.compress(batch))
            settle(multistream, 4 * threads)
        settle(multistream, 0)
        multistream.write(bz2.compress(CLOSING))
        alone.write(single.compress(CLOSING) + single.flush())
    return paths


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Grow a large dump out of excerpts.")
    arguments.add_argument("excerpts", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--megabytes", type=int, default=600, help="size of the XML")
    chosen = arguments.parse_args()
    for kind, path in grow(chosen.excerpts, chosen.out, chosen.megabytes).items():
        print(f"{kind:12} {path} {path.stat().st_size / 1e6:.1f} MB")
