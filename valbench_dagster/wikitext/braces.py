"""Braces: templates, parameters and links by one pass over the brackets, in time linear in the text.

The plain cleaner that takes over from the parser where that would take too long: it knows brackets and bars and
nothing else. What a template or a link shows is decided by `template_text.py` and `link_names.py` for both.
"""

import re
from dataclasses import dataclass, field

from valbench_dagster.wikitext.link_names import LinkNames, link_text
from valbench_dagster.wikitext.marks import REMOVED
from valbench_dagster.wikitext.template_text import parameter_text, template_text

_TOKEN = re.compile(r"\{{2,}|\}{2,}|\[\[(?!\[)|\]\]|[|=]")


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
            target, *label = (part.text for part in top.parts)
            shown = link_text(target, "|".join(label) if label else None, names)
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
            key = "".join(part.strings[: part.equals]).strip()
            arguments[key] = "".join(part.strings[part.equals + 1 :]).strip()
    return template_text(name.text, arguments)
