"""Braces: templates, parameters and links by one pass over the brackets, in time linear in the text.

The plain cleaner for texts that need no parser, and for those on which it would take too long: it knows brackets and
bars and nothing else. What a template or a link shows is decided by `template_text.py` and `link_names.py` for both.
"""

import re
from dataclasses import dataclass, field

from valbench_dagster.wikitext.link_names import LinkNames, link_text
from valbench_dagster.wikitext.marks import BREAK, REMOVED, SEAM
from valbench_dagster.wikitext.template_text import parameter_text, template_text

_TOKEN = re.compile(r"\{{2,}|\}{2,}|\[\[(?!\[)|\]\]|[|=]")
_SIMPLE_TOKEN = re.compile(r"\{\{*|\}\}*|\[\[*|\]\]*|\||=")  # each begins with a plain letter: faster than `\{+`
_ADDRESSES = (
    *("//", "bitcoin:", "geo:", "magnet:", "mailto:", "news:", "sip:", "sips:", "sms:", "tel:", "urn:", "xmpp:"),
)
"""What addresses of the web hold, all of those that the parser knows."""
_NO_NAME = re.compile(f"[\n\\[\\]{SEAM}{REMOVED}{BREAK}]")
_MOST_SIMPLE = 30
"""Depth of brackets above which a text is not simple: the parser's own bound is not far."""
_MOST_NESTED = 400
"""Depth below which nothing is shown: a text is put together again for each bracket around it, so that without a bound
time would grow with the square. MediaWiki gives up at 100."""


@dataclass(slots=True)
class _Part:
    """One piece between bars: its strings in order, and the place of its first `=` among them."""

    strings: list[str] = field(default_factory=list)
    equals: int | None = None

    @property
    def text(self) -> str:
        return "".join(self.strings)

    @property
    def key(self) -> str:
        """What stands before the first `=`, trimmed; empty where there is none."""
        return "".join(self.strings[: self.equals]).strip() if self.equals is not None else ""


@dataclass(slots=True)
class _Open:
    """Brackets that wait for their end: `count` braces, or 0 for the two of a link."""

    count: int
    parts: list[_Part] = field(default_factory=lambda: [_Part()])

    def raw(self) -> list[str]:
        """What was read, as it stood, for brackets that never end."""
        strings = ["{" * self.count or "[["]
        for index, part in enumerate(self.parts):
            strings += ["|", *part.strings] if index else part.strings
        return strings


def shown_by_brackets(text: str, names: LinkNames) -> str:
    """`text` with each closed template, parameter and link replaced by what it shows.

    Closing braces take the innermost open ones, over links that are not closed; brackets without their other half
    stay as they stand, as the wiki shows them.
    """
    stack = [_Open(0)]
    braces = 0  # open ones among the stack, so that looking for them is never in vain
    at = 0
    for token in _TOKEN.finditer(text):
        stack[-1].parts[-1].strings.append(text[at : token.start()])
        at = token.end()
        mark = token[0]
        top = stack[-1]
        if mark[0] == "{":
            stack.append(_Open(len(mark)))
            braces += 1
        elif mark == "[[":
            stack.append(_Open(0))
        elif mark[0] == "}" and braces:
            braces -= _close_braces(stack, len(mark), braces)
        elif mark == "]]" and len(stack) > 1 and not top.count:
            stack.pop()
            shown = _link(top, names)
            stack[-1].parts[-1].strings.append(shown if len(stack) < _MOST_NESTED else REMOVED)
        elif mark == "|" and len(stack) > 1:
            top.parts.append(_Part())
        else:
            part = top.parts[-1]
            if mark == "=" and part.equals is None:
                part.equals = len(part.strings)
            part.strings.append(mark)
    rest = [string for brackets in stack[1:] for string in brackets.raw()]
    return "".join([*stack[0].parts[0].strings, *rest, text[at:]])


def shown_if_simple(text: str, names: LinkNames) -> str | None:
    """As `shown_by_brackets` and the parser, which agree on a text that is simple; null for any other.

    Simple is a text in which every pair of brackets is one of a template or a link, closed in its turn and not right
    beside another, in whose names, targets and keys stands nothing else, and which holds no address of the web.
    """
    lower = text.lower()
    if any(address in lower for address in _ADDRESSES):
        return None
    stack = [_Open(0)]
    at = 0
    for token in _SIMPLE_TOKEN.finditer(text):
        top = stack[-1]
        part = top.parts[-1]
        part.strings.append(text[at : token.start()])
        at = token.end()
        mark = token[0]
        if mark in ("{{", "[["):
            stack.append(_Open(2 if mark == "{{" else 0))
            if len(stack) > _MOST_SIMPLE:
                return None
        elif mark in ("}}", "]]"):
            if len(stack) == 1 or (mark == "}}") != (top.count == 2):
                return None
            shown = _simple_template(top) if top.count else _simple_link(top, names)
            if shown is None:
                return None
            stack.pop()
            stack[-1].parts[-1].strings.append(shown)
        elif mark == "|" and len(stack) > 1:
            top.parts.append(_Part())
        elif mark in "[]|=":
            if mark == "=" and part.equals is None:
                part.equals = len(part.strings)
            part.strings.append(mark)
        else:
            return None
    return "".join([*stack[0].parts[0].strings, text[at:]]) if len(stack) == 1 else None


def _close_braces(stack: list[_Open], count: int, braces: int) -> int:
    """Let `count` closing braces close what they can of `braces` open runs; returns how many runs are used up."""
    used = 0
    while count >= 2 and used < braces:
        last = next(index for index in range(len(stack) - 1, 0, -1) if stack[index].count)
        _give_up_links(stack, last)
        top = stack[-1]
        width = 3 if min(count, top.count) >= 3 else 2
        show = _parameter if width == 3 else _template
        shown = show(top) if len(stack) <= _MOST_NESTED else REMOVED
        count, left = count - width, top.count - width
        if left >= 2:
            stack[-1] = _Open(left)
            stack[-1].parts[-1].strings.append(shown)
        else:
            stack.pop()
            used += 1
            stack[-1].parts[-1].strings += ["{" * left, shown]
    stack[-1].parts[-1].strings.append("}" * count)
    return used


def _give_up_links(stack: list[_Open], last: int) -> None:
    """Make text of the links above `last` in the stack: they cannot end any more."""
    rest = [string for brackets in stack[last + 1 :] for string in brackets.raw()]
    del stack[last + 1 :]
    stack[last].parts[-1].strings += rest


def _simple_template(brackets: _Open) -> str | None:
    name, *rest = brackets.parts
    unsure = not name.text.strip() or any(_NO_NAME.search(key) for key in (name.text.strip(), *(p.key for p in rest)))
    return None if unsure else _template(brackets)


def _simple_link(brackets: _Open, names: LinkNames) -> str | None:
    return None if _NO_NAME.search(brackets.parts[0].text) else _link(brackets, names)


def _link(brackets: _Open, names: LinkNames) -> str:
    target, *label = (part.text for part in brackets.parts)
    return link_text(target, "|".join(label) if label else None, names)


def _parameter(brackets: _Open) -> str:
    return parameter_text(brackets.parts[1].text if len(brackets.parts) > 1 else None)


def _template(brackets: _Open) -> str:
    name, *rest = brackets.parts
    arguments: dict[str, str] = {}
    position = 0
    for part in rest:
        if part.equals is None:
            position += 1
            arguments[str(position)] = part.text
        else:
            arguments[part.key] = "".join(part.strings[part.equals + 1 :]).strip()
    return template_text(name.text, arguments)
