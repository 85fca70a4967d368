"""Plain text: the rules one by one (`wikitext/plain_text.toml`), laws for any text, and inputs made to hurt."""

import inspect
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valbench_dagster.dumps.namespaces import ENGLISH_NAMESPACES
from valbench_dagster.wikitext.braces import shown_if_simple
from valbench_dagster.wikitext.plain_text import ParserGaveUp, link_names, plain_text

CASES: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "wikitext" / "plain_text.toml").read_text(encoding="utf-8")
)["cases"]
NAMES = link_names(ENGLISH_NAMESPACES)
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff\u00a0\u00ad\u200b\u200e\u200f]")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["label"])
@pytest.mark.parametrize("with_parser", [True, False], ids=["parser", "brackets"])
def test_a_reader_sees(case: dict[str, Any], with_parser: bool) -> None:
    names = link_names({6: case["files"]}) if "files" in case else NAMES
    assert plain_text(case["wikitext"], names, with_parser=with_parser) == case["text"]


def test_every_case_has_a_name_of_its_own() -> None:
    labels = [case["label"] for case in CASES]
    assert len(set(labels)) == len(labels) >= 90


def test_every_row_of_the_table_of_what_a_reader_sees_has_a_case() -> None:
    assert {case["row"] for case in CASES if "row" in case} == set(range(1, 48))


def test_a_paragraph_of_everything_at_once() -> None:
    wikitext = (
        "{{Main|Quotas}}\n[[File:A.jpg|thumb|A [[b]]]]\n'''Quotas''' were [[Quota (x)|set]] in {{circa|1900}}"
        "<ref name=a>{{cite book|title=B}}</ref> by {{nowrap|A. B.}} ({{lang-fr|quota}}; {{IPAc-en|k}}).<!-- c -->\n"
        "They cost {{convert|12|km|mi}}&nbsp;of\nroad.{{citation needed}}\n\n{{quote|They are wrong.|C. D.}}\n"
        "* one\n* two\n\n[[Category:Quotas]]\n"
    )
    assert plain_text(wikitext, NAMES) == (
        "Quotas were set in c. 1900 by A. B. (French: quota). They cost 12 km of road.\n\n"
        "They are wrong.\n\n— C. D.\n\n* one\n* two"
    )


def test_names_of_files_and_categories_are_those_of_the_wiki_and_the_english_ones() -> None:
    german = link_names({6: "Datei", 14: "Kategorie"})
    links = "a [[Datei:A.jpg|mini|b]] [[Bild:A.jpg]] [[File:A.jpg]] [[Kategorie:C]] [[Category:C]] [[en:D]] e"
    assert plain_text(links, german) == "a e"
    # `Bild` and `Datei` are no names of files on the English wiki: the newspaper keeps its name.
    assert plain_text("a [[Bild: b]] [[Datei:c]]", NAMES) == "a Bild: b Datei:c"


def test_names_of_files_are_known_without_siteinfo() -> None:
    assert link_names({}).files == {"file", "image"}
    assert link_names({}).categories == {"category"}
    assert {"fr", "zh-min-nan", "simple"} <= link_names({}).languages


def test_running_out_of_stack_is_a_reason_and_no_crash() -> None:
    # 90 templates inside each other need a frame each at least, of which 60 are given.
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 60)
    try:
        with pytest.raises(ParserGaveUp, match="RecursionError"):
            plain_text("{{nowrap|" * 90 + "x" + "}}" * 90, NAMES, with_parser=True)
    finally:
        sys.setrecursionlimit(limit)


def test_templates_nested_deeper_than_the_parser_goes_are_shown_all_the_same() -> None:
    assert plain_text("{{nowrap|" * 300 + "x" + "}}" * 300, NAMES) == "x"


# Laws. Pieces of markup, so that what hypothesis joins is structure more often than noise.

PIECES = st.sampled_from(
    (
        *(
            "{{",
            "}}",
            "{{{",
            "}}}",
            "{{nowrap|",
            "{{quote|",
            "{{lang|fr|",
            "{{#if:",
            "[[",
            "]]",
            "[[File:",
            "[[Category:",
        ),
        *(
            "|",
            "=",
            "[http://a ",
            "]",
            "''",
            "'''",
            "<ref>",
            "</ref>",
            "<ref name=x>",
            "<ref/>",
            "<!--",
            "-->",
            "<nowiki>",
        ),
        *(
            "</nowiki>",
            "<div style='display:none'>",
            "</div>",
            "<br>",
            "<li>",
            "<table>",
            "</table>",
            "{|\n",
            "\n|}",
            "\n|-",
        ),
        *("\n* ", "\n; a : b", "\n== ", " ==\n", "-{", "}-", "&amp;", "&", "&#xD800;", "&nbsp;", "__TOC__", "<poem>"),
        *(
            "\n",
            "\n\n",
            " ",
            "word",
            "\u00e9",
            "\U0001f600",
            "\x07",
            "\r\n",
            "<includeonly>",
            "<math>",
            "</math>",
            "----",
        ),
    )
)


@settings(max_examples=250)
@given(st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=200))
@example("{{T|p=a & b}}")
@example("\ud800 \x00")
def test_any_text_gives_text_that_can_be_stored(wikitext: str) -> None:
    for with_parser in (None, True, False):
        try:
            text = plain_text(wikitext, NAMES, with_parser=with_parser)
        except ParserGaveUp:
            continue
        text.encode("utf-8")
        assert not UNSEEN.search(text)
        assert text == text.strip()
        assert "\n\n\n" not in text
        assert "  " not in text


WORDS = st.text("abcdefghijklmnopqrstuvwyz", min_size=1, max_size=8).map(lambda word: f"x{word}x")
GONE = st.sampled_from(
    (
        *(
            "<!-- zz -->",
            "<ref>zz</ref>",
            "<ref name=z/>",
            "{{zz}}",
            "{{zz|z=zz|[[zz]]}}",
            "[[File:Z.jpg|thumb|zz [[zz]] zz]]",
        ),
        *(
            "[[Category:Zz]]",
            "[[fr:Zz]]",
            "<math>zz</math>",
            "\n{|\n| zz\n|}\n",
            "\n{{Main|zz}}\n",
            "<gallery>\nzz\n</gallery>",
        ),
        *("<span style='display:none'>zz</span>", "<includeonly>zz</includeonly>", "__NOTOC__", "{{zz|{{nowrap|zz}}}}"),
    )
)
BETWEEN = st.sampled_from(
    (" ", "\n", "\n\n", ", ", ". ", "\n* ", "<br>", " '' ", " <small> ", " [", "] ", " (", ") ", " & ")
)


@given(st.lists(st.tuples(WORDS, BETWEEN, GONE | st.just("")), max_size=20))
def test_words_outside_of_markup_survive_in_their_order(pieces: list[tuple[str, str, str]]) -> None:
    wikitext = "".join(f"{word}{between}{gone}{between}" for word, between, gone in pieces)
    shown = plain_text(wikitext, NAMES)
    assert re.findall(r"[a-z]+", shown) == [word for word, _, _ in pieces]


SENTENCES = st.lists(WORDS, min_size=1, max_size=8).map(lambda words: " ".join(words).capitalize() + ".")
PROSE = st.lists(st.lists(SENTENCES, min_size=1, max_size=3).map(" ".join), max_size=5).map("\n\n".join)


@given(PROSE)
def test_plain_prose_comes_out_as_it_went_in(prose: str) -> None:
    assert plain_text(prose, NAMES) == prose


@given(st.lists(st.tuples(WORDS, GONE), max_size=12))
def test_cleaning_twice_is_cleaning_once(pieces: list[tuple[str, str]]) -> None:
    once = plain_text(" ".join(f"{word} {gone}" for word, gone in pieces), NAMES)
    assert plain_text(once, NAMES) == once


BREAKS = (
    *(
        "<br>",
        "<br />",
        "\n",
        "\n\n",
        "<p>",
        "</p>",
        "<div>",
        "</div>",
        "<li>",
        "</li>",
        "\n* ",
        "\n# ",
        "\n: ",
        "\n; ",
        "\n ",
    ),
    *(
        "<hr>",
        "\n----\n",
        "<blockquote>",
        "</blockquote>",
        "<h2>",
        "\n== H ==\n",
        "\n{|\n| c\n|}\n",
        "<table><tr></tr></table>",
    ),
    *(
        "<gallery>a</gallery>",
        "<pre>c</pre>",
        "<poem>c</poem>",
        "{{quote|c}}",
        "{{ubl|c|d}}",
        "{{break}}",
        "{{nbsp}}",
        "{{snd}}",
    ),
    *("&nbsp;", "\u00a0", "&#32;", "&thinsp;", "\t", "\r\n", "\u2028", "<score>c</score>", "<references />"),
)


@given(WORDS, st.lists(st.sampled_from(BREAKS), min_size=1, max_size=4), WORDS)
def test_words_with_a_break_between_are_never_joined(first: str, breaks: list[str], second: str) -> None:
    shown = plain_text(f"{first}{''.join(breaks)}{second}", NAMES)
    assert re.search(rf"\b{first}\b.*\b{second}\b", shown, re.DOTALL)


NESTED = st.recursive(
    WORDS,
    lambda inner: st.lists(
        inner
        | inner.map(lambda text: f"{{{{nowrap|{text}}}}}")
        | inner.map(lambda text: f"{{{{zz|a={text}|{text}}}}}")
        | inner.map(lambda text: f"{{{{lang|fr|{text}}}}}")
        | inner.map(lambda text: f"{{{{{{p|{text}}}}}}}")
        | inner.map(lambda text: f"''{text}''")
        | inner.map(lambda text: f"<small>{text}</small>")
        | inner.map(lambda text: f"<ref>{text}</ref>")
        | WORDS.map(lambda text: f"[[{text}]]")
        | WORDS.map(lambda text: f"[[A|{text}]]"),
        max_size=4,
    ).map(" ".join),
    max_leaves=12,
)


@given(NESTED)
def test_the_parser_and_the_bracket_finder_agree_where_everything_is_closed(wikitext: str) -> None:
    assert plain_text(wikitext, NAMES, with_parser=True) == plain_text(wikitext, NAMES, with_parser=False)


# Texts that need no parser: whichever are called so, it reads them alike.

SIMPLE = st.recursive(
    st.sampled_from(["a", " b", "\n", "\n* c", "\n== d ==\n", "=", "|", "[sic]", ": ", "1", "''e''", "&", "<b>", ""]),
    lambda inner: st.lists(
        st.builds("[[{}|{}]]".format, st.sampled_from(["A", "A b", ":en:x", "\n", "en:x", ""]) | inner, inner)
        | st.builds("[[{}]]".format, inner)
        | st.builds("{{{{{}|{}}}}}".format, st.sampled_from(["nowrap", "lang|fr", " zz\n", "quote", "z\nz", ""]), inner)
        | st.builds("{{{{{}|{}={}|{}}}}}".format, st.sampled_from(["cite", "as of"]), inner, inner, inner)
        | st.sampled_from(["{{", "}}", "[[", "]]", "{", "]", "{{{", "https://a.org", "news:x", "{{!}}"])
        | inner,
        max_size=4,
    ).map("".join),
    max_leaves=16,
)


@settings(max_examples=500)
@given(SIMPLE)
@example("[[en:x\n|a]] b")
@example("{{zz|{{a}}=b}}")
@example("{{quote|a [https://b.org?x=1 c] d}}")
@example("{{nowrap|news:x=1}}")
def test_a_text_that_is_called_simple_is_read_alike_by_the_parser(text: str) -> None:
    if shown_if_simple(text, NAMES) is not None:
        assert plain_text(text, NAMES) == plain_text(text, NAMES, with_parser=True)


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a [sic] b", "{{nowrap|a [[b|c {{small|d}} e]] f}}", "{{cite|title=a = b|1=c}}", "a\n* [[b]] | c\n"),
        *("{{ nowrap\n|a}}", "[[a|b|c]]", "10:30, a: b"),
    ],
)
def test_most_of_what_is_written_is_simple(text: str) -> None:
    assert shown_if_simple(text, NAMES) is not None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "{{a",
            "a}}",
            "[[a",
            "a]]",
            "[[a}}",
            "{{a]]",
            "{a}",
            "{{{a}}}",
            "[[a|[b]]]",
            "{{a|{{b}}}}",
            "{{}}",
            "{{ |a}}",
        ),
        *("{{a\nb}}", "[[a\n]]", "[[{{a}}|b]]", "{{a|{{b}}=c}}", "{{a[|b}}", "https://a.org", "//a", "MailTo:a"),
        "[[a|" * 31 + "]] " * 31,
    ],
)
def test_what_the_parser_may_read_otherwise_is_not_simple(text: str) -> None:
    assert shown_if_simple(text, NAMES) is None


# Inputs that take mwparserfromhell minutes, gigabytes or its life when it gets them as they stand (wikipedia.md,
# section 6 and the figures at the end of section 8), 20 kB each. Each takes less than 0.1 s of CPU here, half a second
# at worst, with the bound at 2 s; nothing is timed, because a busy machine would make it lie.

HURTFUL = (
    *(
        "{{a|",
        "<a ",
        '<div style="a ',
        "[[a|",
        "<!-- ",
        "{|\n|-\n| a\n",
        "<x>[[a]]{{b}}",
        '<a b="c ',
        "{{tpl|p=a",
        "<div>",
    ),
    *(
        "<ref>",
        "<ref name=x>",
        "[[link|",
        "\n|-\n| a",
        "''",
        "'''",
        "{",
        "}",
        "[",
        "]",
        "{{",
        "}}",
        "{{{a|",
        "[[",
        "]]",
        "=",
    ),
    *(
        "\n=",
        "== a",
        "<",
        "<br",
        "&",
        "&#",
        "-{",
        "__A_",
        "[http://a ",
        "[http://a",
        "http://",
        ";",
        ":",
        "\n;a:",
        "\n*",
        "*",
    ),
    *(
        "{{a|[[",
        "[[a|{{b}}",
        "[[File:",
        "[[File:a|[[b]]",
        "{{T|p=a & b}}",
        "<nowiki>",
        "</ref>",
        "<poem>",
        "<includeonly>",
    ),
    *(
        "<span style=display:none>",
        "( ",
        "({{x}} ",
        "({{x}},",
        " ",
        "\t",
        "\n",
        "\n|",
        "{{quote|",
        "<!--a-->\n",
        "class=",
    ),
    *(
        "<div class=",
        ":''see also '",
        "[[:",
        "<gallery>",
        "{{#if:",
        "{{a|1=",
        "----",
        "<ref",
        "<i><b>[[a|",
        "{{a}}}",
        "''a",
    ),
)


@pytest.mark.parametrize("piece", HURTFUL)
def test_twenty_thousand_characters_of_it_come_to_an_end(piece: str) -> None:
    plain_text(piece * (20_000 // len(piece)), NAMES)


@pytest.mark.parametrize(
    "wikitext",
    [
        "[[" * 5_000 + "{{}}}}" * 1_500,
        "[[a|" * 3_000 + "x" + "]]" * 3_000,
        "{{nowrap|" * 2_000 + "x" + "}}" * 2_000,
        ("{{nowrap|" * 29 + "x" + "}}" * 29) * 60,
        "{{a|{{b|[[c|[[d|" + "== x\n" * 4_000,
        "{{a|{{b|[[c|[[d|" + ";a:b\n" * 4_000,
        "{{a|{{b|[[c|[[d|" + "|a=b" * 5_000,
        "{{a|{{b|[[c|[[d|" + "http://a.b/c " * 1_500,
        "=" + " " * 20_000 + "x" + " " * 20_000,
        ":''see also" + "'" * 20_000 + "x''",
        "<pre>" * 2_000 + "</pre>" * 2_000,
    ],
    ids=lambda wikitext: wikitext[:20],
)
def test_what_hurts_in_combination_comes_to_an_end(wikitext: str) -> None:
    plain_text(wikitext, NAMES)


def test_eight_unclosed_brackets_before_ninety_thousand_characters_come_to_an_end() -> None:
    # The most that the parser is given; 0.4 s of CPU here.
    plain_text("{{a|{{b|{{c|{{d|{{e|{{f|{{g|" + "ab [[c]] {{d|e}} ''f'' \n" * 3_800, NAMES)
