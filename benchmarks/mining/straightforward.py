"""The straightforward way to mine a dump: pages from mwxml, mwparserfromhell on every page. What `run` compares with.

    python -m benchmarks.mining.straightforward FILE

Prints the number of candidate sections. Needs the packages of `benchmarks/requirements.txt`.
"""

import bz2
import sys
from pathlib import Path

import mwparserfromhell
import mwxml

from valbench_dagster.wikitext.patterns import load_patterns


def mine(path: Path) -> int:
    """Count the sections of a dump whose heading matches, and clean each, as one would write it down first."""
    patterns = load_patterns("enwiki")
    found = 0
    with bz2.open(path) as file:
        for page in mwxml.Dump.from_file(file):
            if page.namespace != 0 or page.redirect:
                continue
            for revision in page:
                code = mwparserfromhell.parse(revision.text or "")
                for section in code.get_sections(include_lead=False):
                    headings = section.filter_headings()
                    if headings and patterns.match(headings[0].title.strip_code().strip()):
                        section.strip_code()
                        found += 1
    return found


if __name__ == "__main__":
    print(mine(Path(sys.argv[1])), "sections")
