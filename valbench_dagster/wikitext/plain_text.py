"""Plain text: the wikitext of one section to what a reader of the page sees of it, without its references and tables.

The order is that of wikipedia.md, section 8: hide first, then the templates whose words belong to the sentence, then
the rest of the markup, then breaks, then repairs. The only importer of mwparserfromhell, which is given brackets to
find and nothing else; where it is not needed, and where it could take long or fail, `braces.py` finds them.
"""

import re
from collections.abc import Sequence

import mwparserfromhell
from mwparserfromhell import nodes
from mwparserfromhell.parser import ParserError
from mwparserfromhell.wikicode import Wikicode

from valbench_dagster.wikitext.braces import shown_by_brackets, shown_if_simple
from valbench_dagster.wikitext.hidden import Stash, without_hidden, without_pictures, without_switches, without_tables
from valbench_dagster.wikitext.lines import mark_headings, paragraphs
from valbench_dagster.wikitext.link_names import LinkNames, link_names, link_text
from valbench_dagster.wikitext.marks import LINE, REMOVED, SEAM, cleared, masked, unmasked
from valbench_dagster.wikitext.repair import repaired
from valbench_dagster.wikitext.tags import without_tags
from valbench_dagster.wikitext.template_text import parameter_text, template_text

__all__ = ["LinkNames", "ParserGaveUp", "link_names", "plain_text"]

MOST_PARSED = 100_000
"""Characters of wikitext above which `braces.py` takes over: the parser takes a second for a megabyte at its best."""
MOST_UNMATCHED = 8
"""Brackets without their other half above which it takes over: each makes the parser read the rest once more."""
MOST_NESTED = 30
"""Depth of brackets above which it takes over: the parser gives up at 100, after trying every one."""

_RUNS = re.compile(r"\{{2,}|\}{2,}|\[+|\]+")
_THREE_BRACKETS = re.compile(r"\[(?=\[\[(?!\[))")
_EXTERNAL = re.compile(
    r"\[(?:(?:https?|ftps?|sftp|ircs?|gopher|telnet|nntp|svn|git|mms|ssh|worldwind|redis):|(?=//))//[^\s\[\]<>\"]*"
    r"[ \t]*([^\[\]\n]*)\]"
    r"|\[(?:mailto|news|tel|sip|sms|urn|xmpp|geo|magnet|bitcoin):[^\s\[\]<>\"]*[ \t]*([^\[\]\n]*)\]",
    re.IGNORECASE,
)
_VARIANT = re.compile(r"-\{([^{}]*)\}-")
_VARIANT_RULE = re.compile(r"\s*[a-z][a-z-]*\s*:")


class ParserGaveUp(Exception):  # noqa: N818 - named for what happened, as the counted reason is
    """The parser failed on a section: its text is not known. The message says how."""


def plain_text(wikitext: str, names: LinkNames, *, with_parser: bool | None = None) -> str:
    """The text of `wikitext` (one section, heading line included if it is given) as a reader of the page sees it.

    Blocks stand apart by a blank line: paragraphs of one line, lists with an item a line (`* `, `** `, `# `; indents
    and definitions as plain lines), sub-headings on a line of their own. `<br>` is a line break. Out are references,
    comments, tables, galleries, pictures with captions, categories, formulas, hatnotes and boxes, elements that are
    not displayed, and every template that `templates.py` does not list. The result is trimmed, may be empty, and never
    holds a control character or a surrogate.

    `with_parser` says whether mwparserfromhell finds the brackets or `braces.py`, which agree where all are closed;
    by default the text decides: `braces.py` where it is simple (`shown_if_simple`: nine of ten sections are), long, or
    its brackets do not match or nest deep (`MOST_PARSED`, `MOST_UNMATCHED`, `MOST_NESTED`). Time is then linear in the
    text, and half a second at most otherwise. Raises `ParserGaveUp` where the parser fails or runs out of stack or
    memory.
    """
    stash = Stash()
    text = without_hidden(cleared(wikitext), stash)
    text = without_pictures(without_tables(without_switches(text)), names)
    text = masked(mark_headings(text))
    try:
        text = _without_brackets(text, names, with_parser)
    except (ParserError, RecursionError, MemoryError) as error:
        raise ParserGaveUp(f"{type(error).__name__}: {error}") from error
    text = _VARIANT.sub(_variant, _EXTERNAL.sub(_label, unmasked(text)))
    return repaired(stash.restored(paragraphs(without_tags(text))))


def _without_brackets(text: str, names: LinkNames, with_parser: bool | None) -> str:
    """`text` with templates, parameters and links replaced by what they show, by the one who is told or fits."""
    if with_parser is None:
        simple = shown_if_simple(text, names)
        if simple is not None:
            return simple
        with_parser = not _is_odd(text)
    return _shown_by_parser(text, names) if with_parser else shown_by_brackets(text, names)


def _is_odd(text: str) -> bool:
    """Whether the parser could take long: the text is long, or its brackets cross, lack their other half or nest deep.

    Runs of brackets are matched as runs: `{{{a}}` and `[[a}}` count as unmatched too, for the parser backtracks there.
    """
    if len(text) > MOST_PARSED:
        return True
    opened: list[tuple[str, int]] = []  # runs that wait for their end: the closing bracket, and how many
    unmatched = 0
    for found in _RUNS.finditer(text):
        bracket, count = found[0][0], len(found[0])
        if bracket in "{[":
            opened.append(("}" if bracket == "{" else "]", count))
            if len(opened) > MOST_NESTED:
                return True
            continue
        while count and opened and opened[-1][0] == bracket:
            _, waiting = opened.pop()
            taken = min(count, waiting)
            unmatched += taken == 1 and (waiting > 1 or bracket == "}")
            count, waiting = count - taken, waiting - taken
            if waiting:
                opened.append((bracket, waiting))
        unmatched += count > 0
        if unmatched > MOST_UNMATCHED:
            return True
    return unmatched + len(opened) > MOST_UNMATCHED


def _shown_by_parser(text: str, names: LinkNames) -> str:
    """`text` with templates, parameters and links replaced by what they show, as the parser finds them.

    A mark at each line's beginning keeps it from lists, headings, rules and tables, in which it can get lost; one in
    `[[[` shows it which two brackets are the link's.
    """
    text = _THREE_BRACKETS.sub(f"[{SEAM}", text)
    code = mwparserfromhell.parse(LINE + text.replace("\n", f"\n{LINE}"), skip_style_tags=True)
    return _shown(code, names).replace(LINE, "")


def _shown(code: Wikicode, names: LinkNames) -> str:
    return "".join(_node(node, names) for node in code.nodes)


def _node(node: nodes.Node, names: LinkNames) -> str:
    if isinstance(node, nodes.Template):
        arguments: dict[str, str] = {}
        for parameter in node.params:
            value = _shown(parameter.value, names)
            arguments[str(parameter.name).strip()] = value.strip() if parameter.showkey else value
        return template_text(_shown(node.name, names), arguments)
    if isinstance(node, nodes.Wikilink):
        label = None if node.text is None else _shown(node.text, names)
        return link_text(_shown(node.title, names), label, names)
    if isinstance(node, nodes.Argument):
        return parameter_text(None if node.default is None else _shown(node.default, names))
    if isinstance(node, nodes.ExternalLink) and node.brackets:
        label = "" if node.title is None else _shown(node.title, names)
        return f"[{_shown(node.url, names)} {label}]"
    if isinstance(node, nodes.ExternalLink):
        return _shown(node.url, names)  # a template right behind an address is parsed as part of it
    return str(node)


def _label(found: re.Match[str]) -> str:
    """What an external link in brackets shows: its label; without one only a number, which is dropped."""
    label: Sequence[str] = [group for group in found.groups() if group]
    return f"{SEAM}{label[0]}{SEAM}" if label and label[0].strip() else REMOVED


def _variant(found: re.Match[str]) -> str:
    """What `-{..}-` shows: the text itself, or the first of the variants it lists; nothing where it only sets rules."""
    flags, bar, text = found[1].rpartition("|")
    marks = {flag.strip() for flag in flags.split(";")}
    if bar and marks & {"H", "T", "-", "D"}:
        return REMOVED
    if not _VARIANT_RULE.match(text):
        return text
    first = text.split(";")[0]
    return first.partition(":")[2].strip()
