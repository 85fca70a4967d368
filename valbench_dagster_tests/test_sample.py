"""The bundled sample dump is what the demo and the tests say it is.

Read here with the standard library alone, and headings found by one plain line pattern, so that a fault of the
project's own readers cannot hide a fault of the sample. What those readers make of it is tested beside them.
"""

import hashlib
import re
import unicodedata
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

NAME = "sample-20260101-pages-articles.xml"
SCHEMA = "{http://www.mediawiki.org/xml/export-0.11/}"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
WORDS = (
    "Criticism?s?;Controvers(?:y|ies);Disputes?;Debates?;Allegations?;Scandals?;Backlash;Opposition;Protests?;"
    "Boycott;Complaints?;Dissent;Legal (?:issues|challenges);Lawsuits?;Litigation;Misconduct;Corruption;Fraud;"
    "Bribery;Price[ -]?fixing;Abuse;Harassment;Sexual (?:misconduct|assault);Racism;Sexism;Xenophobia;"
    "Discrimination;Plagiarism;Censorship;Human rights;Ethical concerns?;Environmental impact;Privacy;Data breach;"
    "Security (?:issues|concerns);Safety concerns?;Terrorism;Propaganda"
)
PATTERNS = tuple(re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for words in WORDS.split(";"))
MARKUP = (
    "{{Main| {{See_also| <ref_name= <ref>{{cite_ {{sfn| {| [[File: [[Category: <!-- <nowiki> <br> {{quote| "
    "{{blockquote| {{lang|fr| {{convert|12|km|mi}} &nbsp; &mdash; __NOTOC__ [[fr: <gallery> <math> <poem> '''''"
)
# A divergent section of the sample names both camps (the stand-in annotator asks for the second alone); its widest
# place gives its scale.
FOR_CAMP = re.compile(r"\b(?:supporters|proponents|defenders|advocates|backers)\b", re.IGNORECASE)
AGAINST_CAMP = re.compile(r"\b(?:critics|opponents|detractors|objectors|campaigners)\b", re.IGNORECASE)
SCALES = (
    (5, re.compile(r"\b(?:worldwide|international|global|globally)\b", re.IGNORECASE)),
    (4, re.compile(r"\b(?:national|nationwide|parliament|federal)\b", re.IGNORECASE)),
    (3, re.compile(r"\b(?:regional|region|industry|province|county)\b", re.IGNORECASE)),
    (2, re.compile(r"\b(?:town|city|village|local|council)\b", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it stands in the file; `text` is null where it is hidden."""

    page_id: int
    revision_id: int
    namespace: int
    title: str
    redirect: str | None
    model: str
    text: str | None
    text_bytes: int
    text_sha1: str | None
    revision_sha1: str | None


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading that matches a pattern, with the wikitext under it down to the next heading of its level."""

    page: Page
    title: str
    body: str
    nested: bool

    @property
    def divergent(self) -> bool:
        return bool(FOR_CAMP.search(self.body) and AGAINST_CAMP.search(self.body))

    @property
    def scale(self) -> int:
        return next((scale for scale, cue in SCALES if cue.search(self.body)), 1)


def written(node: ET.Element, path: str) -> str:
    found = node.findtext(SCHEMA + path.replace("/", "/" + SCHEMA))
    assert found is not None, f"<{path}> is missing under <{node.tag}>"
    return found


def sample_bytes() -> bytes:
    return files("valbench_dagster").joinpath("sample", NAME).read_bytes()


@cache
def sample_root() -> ET.Element:
    return ET.fromstring(sample_bytes())  # noqa: S314 (the package's own file)


@cache
def pages() -> tuple[Page, ...]:
    return tuple(read_page(node) for node in sample_root().iter(f"{SCHEMA}page"))


def read_page(node: ET.Element) -> Page:
    text = node.find(f"{SCHEMA}revision/{SCHEMA}text")
    assert text is not None, f"{written(node, 'title')!r} has no <text>"
    redirect = node.find(f"{SCHEMA}redirect")
    return Page(
        page_id=int(written(node, "id")),
        revision_id=int(written(node, "revision/id")),
        namespace=int(written(node, "ns")),
        title=written(node, "title"),
        redirect=None if redirect is None else redirect.attrib["title"],
        model=written(node, "revision/model"),
        text=None if text.get("deleted") == "deleted" else text.text or "",
        text_bytes=int(text.attrib["bytes"]),
        text_sha1=text.get("sha1"),
        revision_sha1=node.findtext(f"{SCHEMA}revision/{SCHEMA}sha1") or None,
    )


def articles() -> tuple[Page, ...]:
    """Pages of namespace 0 with wikitext that may hold sections."""
    return tuple(
        page for page in pages() if page.namespace == 0 and page.model == "wikitext" and not page.redirect and page.text
    )


def article(title: str) -> Page:
    return next(page for page in articles() if page.title == title)


def matching_headings(page: Page) -> list[Heading]:
    shown = re.sub(r"<!--.*?(?:-->|\Z)|<nowiki>.*?</nowiki>", "", page.text or "", flags=re.DOTALL)
    lines = list(re.finditer(r"^(={2,6})(.+?)\1[ \t]*$", shown, re.MULTILINE))
    found, kept_until = [], 0
    for place, line in enumerate(lines):
        title = re.sub(r"\{\{.*?\}\}", "", line[2]).strip()
        if not any(pattern.search(title) for pattern in PATTERNS):
            continue
        followers = (other.start() for other in lines[place + 1 :] if len(other[1]) <= len(line[1]))
        end = next(followers, len(shown))
        found.append(Heading(page, title, shown[line.end() : end].strip(), nested=line.start() < kept_until))
        kept_until = max(kept_until, end)
    return found


@cache
def sections() -> tuple[Heading, ...]:
    return tuple(heading for page in articles() for heading in matching_headings(page) if not heading.nested)


def base36_sha1(content: bytes) -> str:
    number, digits = int(hashlib.sha1(content).hexdigest(), 16), ""  # noqa: S324 (the format's own checksum)
    while number:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
    return digits.rjust(31, "0")


def test_base_36_of_the_empty_sha1_is_the_one_every_wiki_shows_for_an_empty_page() -> None:
    # SHA-1 of nothing is da39a3ee5e6b4b0d3255bfef95601890afd80709.
    assert base36_sha1(b"") == "phoiac9h4m842xq45sp7s6u21eteeq1"


def test_the_sample_names_its_wiki_and_host() -> None:
    siteinfo = sample_root().find(f"{SCHEMA}siteinfo")
    assert siteinfo is not None
    assert sample_root().attrib["version"] == "0.11"
    assert written(siteinfo, "dbname") == "sample"
    assert written(siteinfo, "base") == "https://sample.example.org/wiki/Main_Page"
    keys = [int(node.attrib["key"]) for node in siteinfo.iter(f"{SCHEMA}namespace")]
    assert keys == list(range(-2, 16))
    assert {page.namespace for page in pages()} <= set(keys)


def test_the_sample_stays_small_enough_to_ship() -> None:
    assert len(sample_bytes()) < 700_000


def test_there_are_articles_and_matching_sections_enough() -> None:
    assert len(articles()) >= 45
    assert len(sections()) >= 34


def test_every_length_and_hash_agrees_with_its_text() -> None:
    wrong = []
    for page in pages():
        if page.text is None:
            continue
        content = page.text.encode("utf-8")
        right = (len(content), base36_sha1(content))
        if {(page.text_bytes, page.text_sha1), (page.text_bytes, page.revision_sha1)} != {right}:
            wrong.append(f'{page.title}: write bytes="{right[0]}" sha1="{right[1]}" and <sha1>{right[1]}</sha1>')
    assert not wrong, f"{NAME}, {len(wrong)} pages whose text was changed:\n" + "\n".join(wrong)


def test_page_ids_ascend_and_no_id_or_title_occurs_twice() -> None:
    ids = [page.page_id for page in pages()]
    assert ids == sorted(set(ids))
    assert len({page.revision_id for page in pages()}) == len(ids)
    assert len({page.title for page in pages()}) == len(ids)


def test_every_redirect_leads_to_an_article_and_says_so_in_its_text() -> None:
    redirects = [page for page in pages() if page.redirect is not None]
    assert len(redirects) == 6
    for page in redirects:
        assert article(page.redirect or "")
        assert re.match(rf"#REDIRECT \[\[{re.escape(page.redirect or '')}[\]#]", page.text or "", re.IGNORECASE)


def test_every_kind_of_page_that_is_not_mined_is_present() -> None:
    counted = {space: sum(page.namespace == space for page in pages()) for space in (1, 2, 10, 14)}
    assert counted == {1: 4, 2: 1, 10: 1, 14: 1}
    assert [page.namespace for page in pages() if page.model == "json"] == [0]
    assert [page.text_bytes for page in pages() if page.text == ""] == [0]
    assert sum(page.text is None and page.text_bytes > 0 for page in pages()) == 1


def test_matching_headings_stand_where_they_must_not_be_taken_too() -> None:
    elsewhere = {page.namespace for page in pages() if page.namespace and matching_headings(page)}
    assert {1, 2} <= elsewhere
    assert any(matching_headings(page) for page in pages() if page.redirect)
    nested = [heading.title for page in articles() for heading in matching_headings(page) if heading.nested]
    assert nested == ["Criticism of the order", "Complaints about the borings"]
    hidden = re.compile(r"(?:<!--[^>]*|<nowiki>)\n== (Criticism|Scandal|Allegations) ==\n")
    assert {found[1] for page in articles() for found in hidden.finditer(page.text or "")} == {
        "Criticism",
        "Scandal",
        "Allegations",
    }


def test_headings_that_only_look_like_a_match_are_present_and_unmatched() -> None:
    texts = "\n".join(page.text or "" for page in articles())
    for heading in ("Criticality", "Controversial terms", "Boycotts of sittings", "Critical edition"):
        assert f"\n== {heading} ==\n" in texts
        assert not any(pattern.search(heading) for pattern in PATTERNS)


def test_several_articles_have_no_matching_heading() -> None:
    assert sum(not matching_headings(page) for page in articles()) >= 5


def test_many_different_patterns_are_in_use() -> None:
    used = {pattern for heading in sections() for pattern in PATTERNS if pattern.search(heading.title)}
    assert len(PATTERNS) == 38
    assert len(used) >= 22


def test_at_least_thirty_sections_are_divergent_and_four_full_ones_are_not() -> None:
    assert sum(heading.divergent for heading in sections()) >= 30
    plain = [heading.page.title for heading in sections() if not heading.divergent and len(heading.body) > 500]
    assert "List of passenger ships of Nordsund Rederi" not in plain  # its section is a table only, under 500
    assert sorted(plain) == ["Codex Ambrel", "Parliament of Corvane", "Straits Arbitration Chamber", "The Salt Almanac"]


def test_divergent_sections_spread_over_all_five_scales() -> None:
    counted = dict.fromkeys(range(1, 6), 0)
    for heading in sections():
        counted[heading.scale] += heading.divergent
    assert min(counted.values()) >= 5, counted


def test_divergent_sections_have_several_paragraphs() -> None:
    for heading in sections():
        if heading.divergent and heading.page.title != "Annals of Zweimaren":
            assert heading.body.count("\n\n") >= 1, heading.title
            assert 500 <= len(heading.body) <= 2500, heading.title


def test_one_section_is_too_short_one_is_only_a_table_and_one_is_very_long() -> None:
    bodies = {heading.page.title: heading.body for heading in sections()}
    assert 0 < len(bodies["Otter Ness Lighthouse"]) < 60
    table = bodies["List of passenger ships of Nordsund Rederi"]
    assert not re.sub(r"\{\|.*?\|\}|\[\[File:.*?\]\]", "", table, flags=re.DOTALL).strip()
    assert len(bodies["Annals of Zweimaren"]) > 25_000
    assert 150_000 <= article("Annals of Zweimaren").text_bytes <= 250_000


def test_the_malformed_page_has_a_matching_section_before_and_after_its_trouble() -> None:
    page = article("Brindle Weir")
    text = page.text or ""
    titles = [heading.title for heading in matching_headings(page)]
    assert titles == ["Controversy over the fish pass", "Protests at the sluice"]
    assert text.count("{{") > text.count("}}")
    assert text.count("[[") > text.count("]]")
    assert text.count("{|") > text.count("|}")
    assert text.count("<ref") > text.count("</ref>")
    assert "-->" not in text[text.index("<!--") :]


def test_titles_and_text_reach_beyond_ascii_and_are_composed_as_a_wiki_stores_them() -> None:
    titles = "".join(page.title for page in articles())
    for character in "Æ–жж鐘🌻\u0303":
        assert character in titles, f"U+{ord(character):04X}"
    for page in pages():
        for value in (page.title, page.text or ""):
            assert value == unicodedata.normalize("NFC", value), page.title
        assert not re.search(r"[\r\t]|[ \n]\Z", page.text or ""), page.title


def test_the_articles_use_the_markup_that_readers_stumble_over() -> None:
    texts = "\n".join(page.text or "" for page in articles())
    for markup in MARKUP.split():
        assert markup in texts or markup.replace("_", " ") in texts, markup
