"""Template text: what one template, parser function or parameter shows in a sentence.

Here belongs how the kinds of `templates.py` are put into words; arguments come with their own templates and links
shown already. Whatever is not known is dropped, and a mark says so.
"""

import re
from collections.abc import Callable, Mapping

from valbench_dagster.wikitext import templates as table
from valbench_dagster.wikitext.marks import BREAK, REMOVED, SEAM, bare

Arguments = Mapping[str, str]
"""Arguments by name; those without a name by their place, `1` the first."""

_MONTH_NAMES = "January February March April May June July August September October November December"
_MONTHS = tuple(_MONTH_NAMES.split())
_NUMBER = re.compile(r"[-−+]?[0-9][0-9.,]*(?:/[0-9]+)?$|[0-9]+⁄[0-9]+$")


def parameter_text(default: str | None) -> str:
    """What `{{{name|default}}}` shows: its default, since nobody gives it a value."""
    return REMOVED if default is None else default


def template_text(name: str, arguments: Arguments) -> str:
    """What the template `name` shows with these arguments: a string that may hold marks, breaks and blank lines.

    `REMOVED` for templates that are not in the table and for known ones whose argument is missing: hatnotes, notices,
    navigation boxes, citations and info boxes are dropped this way.
    """
    if ":" in name:
        shown = _function(name, arguments)
        if shown is not None:
            return shown
    key = bare(name).replace("_", " ").lower()
    key = " ".join(key.removeprefix("template:").removeprefix("subst:").split())
    if key in table.LITERAL:
        return f"{SEAM}{table.LITERAL[key]}{SEAM}"
    if key in table.WORD_BREAK:
        return SEAM
    if key in ("br", "break", "crlf"):
        return BREAK
    kind = _in_language if key.startswith("lang-") and key not in _KINDS else _KINDS.get(key)
    shown = kind(key, arguments) if kind is not None else ""
    return f"{SEAM}{shown}{SEAM}" if bare(shown) else REMOVED


def _get(arguments: Arguments, *keys: str) -> str:
    """The first of these arguments that says something, else an empty string."""
    return next((arguments[key].strip() for key in keys if bare(arguments.get(key, ""))), "")


def _positional(arguments: Arguments) -> list[str]:
    """The arguments without a name, in order, as far as none is left out."""
    shown: list[str] = []
    while (value := arguments.get(str(len(shown) + 1))) is not None:
        shown.append(value.strip())
    return shown


def _first(_: str, arguments: Arguments) -> str:
    return _get(arguments, "1", "text")


def _second(_: str, arguments: Arguments) -> str:
    return _get(arguments, "2", "text")


def _last(_: str, arguments: Arguments) -> str:
    return next((value for value in reversed(_positional(arguments)) if bare(value)), "")


def _joined(_: str, arguments: Arguments) -> str:
    return "".join(_positional(arguments))


def _with_commas(_: str, arguments: Arguments) -> str:
    return ", ".join(value for value in _positional(arguments) if bare(value))


def _money(key: str, arguments: Arguments) -> str:
    amount = _get(arguments, "1")
    return f"{table.CURRENCY[key]}{amount}" if amount else ""


def _spaced(key: str, arguments: Arguments) -> str:
    first, second = _get(arguments, "1"), _get(arguments, "2")
    if key in table.SHIP_PREFIXES:
        return f"{key.upper()} {first}" if first else ""
    return " ".join(value for value in (first, second) if value)


def _quote(key: str, arguments: Arguments) -> str:
    texts, authors, sources = table.QUOTES[key]
    text = _get(arguments, *texts)
    if not text:
        return ""
    beneath = ", ".join(value for value in (_get(arguments, *authors), _get(arguments, *sources)) if value)
    return f"\n\n{text}\n\n" + (f"— {beneath}\n\n" if beneath else "")


def _list(key: str, arguments: Arguments) -> str:
    items = [value for value in _positional(arguments) if bare(value)]
    return "".join(f"{table.LISTS[key]}{item}" for item in items) + "\n" if items else ""


def _in_language(key: str, arguments: Arguments) -> str:
    code, text = (_get(arguments, "1"), _get(arguments, "2")) if key == "langx" else (key[5:], _get(arguments, "1"))
    label = _get(arguments, "label") or table.LANGUAGES.get(code.lower(), "")
    return f"{label}: {text}" if text and label and label != "none" else text


def _chinese(_: str, arguments: Arguments) -> str:
    text = _get(arguments, "c", "s", "t", "1")
    return f"Chinese: {text}" if text and _get(arguments, "labels") != "no" else text


def _nihongo(_: str, arguments: Arguments) -> str:
    english, inside = _get(arguments, "1"), [_get(arguments, "2"), _get(arguments, "3")]
    shown = ", ".join(value for value in inside if value)
    return f"{english} ({shown})" if english and shown else english or shown


def _interlanguage(_: str, arguments: Arguments) -> str:
    return _get(arguments, "lt", "1")


def _sic(_: str, arguments: Arguments) -> str:
    text = "".join(value for value in _positional(arguments)[:2] if bare(value))
    if _get(arguments, "hide").lower() in ("y", "yes") or _get(arguments, "nolink").lower() == "hide":
        return text
    return f"{text}[sic]" if text else " [sic]"


def _convert(_: str, arguments: Arguments) -> str:
    """The measure as it was given: numbers with range words between, their unit, and a second unit that belongs."""
    given = _positional(arguments)
    shown, at = "", 0
    while at < len(given):
        word = table.RANGE_WORDS.get(given[at])
        if not _NUMBER.match(bare(given[at])) and not (word and shown):
            break
        shown += word or given[at]
        at += 1
    unit = given[at] if at < len(given) else ""
    if not shown or not bare(unit):
        return shown
    shown += f" {table.UNITS.get(unit, unit)}"
    if at + 2 < len(given) and (unit, given[at + 2]) in table.COMPOUND_UNITS and _NUMBER.match(bare(given[at + 1])):
        shown += f" {given[at + 1]} {given[at + 2]}"
    return shown


def _date_words(given: list[str]) -> str:
    """A year, month and day, numbers or words, as `5 December 2009`."""
    year, month, day = ([bare(value) for value in given] + ["", "", ""])[:3]
    if month.isdecimal() and 1 <= int(month) <= 12:
        month = _MONTHS[int(month) - 1]
    return " ".join(value for value in (day.lstrip("0"), month, year) if value)


def _as_of(_: str, arguments: Arguments) -> str:
    if _get(arguments, "alt"):
        return _get(arguments, "alt")
    word = "since" if _get(arguments, "since") else "as of"
    word = word if _get(arguments, "lc") else word.capitalize()
    return f"{word} {_date_words(_positional(arguments))}{_get(arguments, 'post')}".strip()


def _date(_: str, arguments: Arguments) -> str:
    return _date_words(_positional(arguments))


def _circa(_: str, arguments: Arguments) -> str:
    years = [value for value in _positional(arguments)[:2] if bare(value)]
    return " – ".join(f"c. {year}" for year in years) or "c."


def _floruit(_: str, arguments: Arguments) -> str:
    return f"fl. {'–'.join(value for value in _positional(arguments)[:2] if bare(value))}".strip()


def _reign(_: str, arguments: Arguments) -> str:
    return f"r. {'–'.join(value for value in _positional(arguments)[:2] if bare(value))}".strip()


def _fraction(_: str, arguments: Arguments) -> str:
    match [value for value in _positional(arguments) if bare(value)]:
        case [below]:
            return f"1⁄{below}"
        case [above, below]:
            return f"{above}⁄{below}"
        case [whole, above, below, *_rest]:
            return f"{whole} {above}⁄{below}"
    return ""


def _value(_: str, arguments: Arguments) -> str:
    number, unit = _get(arguments, "1"), _get(arguments, "u", "ul", "up")
    return f"{number} {unit}" if number and unit else number


def _nee(_: str, arguments: Arguments) -> str:
    return f"née {_get(arguments, '1')}".strip()


def _quoted(_: str, arguments: Arguments) -> str:
    text = _get(arguments, "1")
    return f"“{text}”" if text else ""


def _angled(_: str, arguments: Arguments) -> str:
    text = _get(arguments, "1")
    return f"⟨{text}⟩" if text else ""


_KINDS: Mapping[str, Callable[[str, Arguments], str]] = {
    **dict.fromkeys(table.FIRST, _first),
    **dict.fromkeys(table.SECOND, _second),
    **dict.fromkeys(table.LAST, _last),
    **dict.fromkeys(table.JOINED, _joined),
    **dict.fromkeys(table.SPACED, _spaced),
    **dict.fromkeys(table.CURRENCY, _money),
    **dict.fromkeys(table.QUOTES, _quote),
    **dict.fromkeys(table.LISTS, _list),
    **dict.fromkeys(table.INLINE_LISTS, _with_commas),
    **dict.fromkeys(("ill", "illm", "interlanguage link", "interlanguage link multi", "ill2"), _interlanguage),
    **dict.fromkeys(("sic", "sic?", "typo?"), _sic),
    **dict.fromkeys(("convert", "cvt", "conv", "convinfobox"), _convert),
    **dict.fromkeys(("as of", "asof", "since"), _as_of),
    **dict.fromkeys(("start date", "end date", "start-date", "dts"), _date),
    **dict.fromkeys(("circa", "c.", "ca", "ca.", "c"), _circa),
    **dict.fromkeys(("floruit", "fl.", "fl"), _floruit),
    **dict.fromkeys(("reign", "r."), _reign),
    **dict.fromkeys(("frac", "fraction", "sfrac", "frac2"), _fraction),
    "langx": _in_language,
    **dict.fromkeys(("zh", "zh-cn", "lang-zh"), _chinese),
    **dict.fromkeys(("nihongo", "nihongo2", "nihongo3"), _nihongo),
    **dict.fromkeys(("val", "value"), _value),
    **dict.fromkeys(("née", "nee"), _nee),
    **dict.fromkeys(("angbr", "angle bracket", "angbr ipa"), _angled),
    **dict.fromkeys(('"', "qi", "quote inline", "inline quote"), _quoted),
}


def _function(name: str, arguments: Arguments) -> str | None:
    """What a parser function shows, its first argument standing in `name` after the colon; null where it is none."""
    function, _, first = name.partition(":")
    function, first = bare(function).lower(), first.strip()
    text = bare(first)
    match function:
        case "#if":
            return arguments.get("1" if text else "2", "").strip()
        case "#ifeq":
            return arguments.get("2" if text == bare(arguments.get("1", "")) else "3", "").strip()
        case "formatnum":
            whole, point, rest = text.partition(".")
            is_number = whole.isdecimal() and whole.isascii() and len(whole) < 100
            return f"{int(whole):,}{point}{rest}" if is_number else text
        case "lc":
            return first.lower()
        case "uc":
            return first.upper()
        case "lcfirst":
            return first[:1].lower() + first[1:]
        case "ucfirst":
            return first[:1].upper() + first[1:]
    return REMOVED if function.startswith("#") else None
