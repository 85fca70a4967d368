"""A larger dump than the bundled one, and a roster that asks stand-ins over the wire: for tests that need many calls.

The dump is the sample several times over. In every copy page ids, revision ids and titles are new, and so is the first
sentence of each section that opens with prose: so the sections differ, and with them every request made of them.
"""

import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from valbench_dagster.project_files import package_file

GROWN = "sample-20260301"
"""Key for a snapshot of a grown dump: a date that the bundled dump does not have."""

PAIRS_A_COPY = 47
"""Pairs that the stand-ins make of one copy: as many as of the sample, whose sections all keep what they had."""

SECTIONS_A_COPY = 51
"""Sections with a matching heading in one copy: each is annotated, and so costs a call."""

_PAGES_APART = 10_000
_REVISIONS_APART = 1_000_000
_EXPORT = "http://www.mediawiki.org/xml/export-0.11/"
_PAGE = re.compile(r"  <page>.*?</page>\n", re.DOTALL)
# A heading line, templates on lines of their own under it, and then a line of prose.
_OPENING = re.compile(r"^(=+[^\n]+=+\n(?:\{\{[^\n]*\}\}\n)*)(?=[A-Z][a-z]+ )", re.MULTILINE)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def grow_dump(target: Path, copies: int) -> Path:
    """Write a dump of `copies` times the sample to `target`, a page at a time, and give `target`.

    The pages ascend by id as in every dump, and their lengths and checksums are those of their new texts. The first
    copy differs from the sample too. Raises `ValueError` where there are more copies than names for them.
    """
    [sample] = package_file("sample").glob("*.xml")
    text = sample.read_text(encoding="utf-8")
    names = [f"{one}{two}{three}" for one, two, three in product(*_SYLLABLES)]
    if copies > len(names):
        raise ValueError(f"there are names for {len(names)} copies, not for {copies}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text[: text.index("  <page>")])
        for copy, place in enumerate(names[:copies], start=1):
            file.writelines(_pages(text, copy, place))
        file.write("</mediawiki>\n")
    return target


_SYLLABLES = (("Bel", "Cor", "Dun", "Fal", "Gar", "Hes"), ("a", "e", "o", "ar", "en", "il"), ("mora", "vik", "stead"))


def _pages(text: str, copy: int, place: str) -> Iterator[str]:
    ET.register_namespace("", _EXPORT)
    for found in _PAGE.finditer(text):
        [page] = ET.fromstring(f'<mediawiki xmlns="{_EXPORT}">{found[0]}</mediawiki>')  # noqa: S314 - our own file
        for element in page.iter():
            name = element.tag.removeprefix(f"{{{_EXPORT}}}")
            if name == "title":
                element.text = f"{element.text} of {place}"
            elif name == "redirect":
                element.set("title", f"{element.attrib['title']} of {place}")
            elif name in ("parentid", "origin"):
                element.text = str(int(element.text or "") + copy * _REVISIONS_APART)
        _renumber(page, "id", copy * _PAGES_APART)
        _renumber(page, "revision/id", copy * _REVISIONS_APART)
        _rewrite(page, place)
        yield f"  {ET.tostring(page, encoding='unicode').strip()}\n"


def _renumber(page: ET.Element, path: str, by: int) -> None:
    element = _found(page, path)
    element.text = str(int(element.text or "") + by)


def _rewrite(page: ET.Element, place: str) -> None:
    element = _found(page, "revision/text")
    if not element.text:
        return  # hidden or empty: its length and checksum stay as they are
    element.text = _OPENING.sub(rf"\1The people of {place} remember it in this way. ", element.text)
    data = element.text.encode()
    number, digits = int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest(), "big"), ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    element.set("bytes", str(len(data)))
    element.set("sha1", digits.zfill(31))
    _found(page, "revision/sha1").text = digits.zfill(31)


def _found(page: ET.Element, path: str) -> ET.Element:
    element = page.find("/".join(f"{{{_EXPORT}}}{name}" for name in path.split("/")))
    assert element is not None, f"a page of the sample has no {path}"
    return element


def write_roster(
    path: Path,
    base_url: str,
    *,
    models: Sequence[str] = ("mixture",),
    judges: Sequence[str] = ("stand-in-v3",),
    concurrency: int = 32,
    runs: int = 8,
) -> Path:
    """Write a roster of stand-ins at `base_url`, the provider named as in the shipped one, all splits asked.

    `models` are ids of respondents (`mixture` is served as `stand-in-mixture`); `judges` are those asked by default,
    of `stand-in-v3` and `stand-in-released`, the first the headline. Gives `path`.
    """
    workers = "".join(
        f'\n[worker.stand-in-{role}]\nendpoint = "stand-ins"\nmodel = "stand-in-{role}"\nmax_tokens = {tokens}\n'
        for role, tokens in (("annotator", 1024), ("writer", 1024), ("judge", 2048))
    )
    respondents = "".join(
        f'\n[[model]]\nid = "{model}"\nfamily = "stand-in"\nendpoint = "stand-ins"\nmodel = "stand-in-{model}"\n'
        'system_prompt = "paper"\ntemperature = 0.1\ntop_p = 0.9\nmax_tokens = 4096\n'
        for model in models
    )
    path.write_text(
        f"""[defaults]
split = "all"
annotator = "stand-in-annotator"
writer = "stand-in-writer"
judges = [{", ".join(f'"{judge}"' for judge in judges)}]

[endpoint.stand-ins]
base_url = "{base_url}"
provider = "stand-ins"
concurrency = {concurrency}
runs = {runs}
{workers}
[judge.stand-in-v3]
worker = "stand-in-judge"
prompt = "judge_v3"

[judge.stand-in-released]
worker = "stand-in-judge"
prompt = "judge_released"
{respondents}""",
        encoding="utf-8",
    )
    return path
