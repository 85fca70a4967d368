"""Prompting: how a prompt is loaded, hashed and filled in, and how hostile text is fenced.

Here belongs everything that stands between a text and the messages of a request. What the prompts say is package
data (`prompts/<name>/vN.*`); which values they get, and the limits of their lengths, is each stage's decision.

A released prompt file never changes (`prompts/LOCK.toml`): a better wording is a new version. A system turn is sent
as it stands; only the user turn is a template. Text from Wikipedia and from models stands in it between
`<material name="...">` and `</material>`, and `fence` sees to it that no text can open or close one.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.meta

from valbench_dagster.identity import identify
from valbench_dagster.llm.calls import Message
from valbench_dagster.project_files import package_file

CUT_NOTE = "[the text goes on; it was cut here for length]"
"""Stands in a fenced text, on a line of its own, where it was cut."""

# What might pass for a delimiter: blanks and invisible format characters may stand where a reader overlooks them.
_OVERLOOKED = r"[\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]*"
_DELIMITER = re.compile(rf"<(?={_OVERLOOKED}/?{_OVERLOOKED}material)", re.IGNORECASE)
_DEFANGED = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
_MATERIAL = re.compile(r'<material name="(\w+)">\n(.*?)\n</material>', re.DOTALL)
_FENCED_NAME = re.compile(r'<material name="(\w+)">\n\{\{ (\w+) \}\}\n</material>')

# Nothing is escaped: the rendered text is read by a model, not by a browser.
_TEMPLATES = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - as above


class PromptError(ValueError):
    """A prompt that does not exist, is malformed, or was given the wrong values."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One version of a prompt: system turn, template of the user turn, and JSON schema of the reply, null if free.

    `hash` covers all three texts as they stand in their files: 12 hex characters.
    """

    name: str
    version: int
    hash: str
    system: str | None
    user: str
    schema: Mapping[str, Any] | None

    @property
    def label(self) -> str:
        """The prompt as every record names it: `name/vN/hash`."""
        return f"{self.name}/v{self.version}/{self.hash}"


@dataclass(frozen=True, slots=True)
class Fenced:
    """A text that may stand between material delimiters, and whether it was cut to get there."""

    text: str
    cut: bool


def load_prompt(name: str, version: int | None = None) -> Prompt:
    """Load a prompt of the package, by default its newest version.

    `prompts/<name>/vN.user.md` must exist; a missing `vN.system.md` means no system turn, a missing
    `vN.schema.json` a reply in free text. Raises `PromptError` naming what there is.
    """
    folder = package_file("prompts") / name
    versions = {int(path.name[1:-8]) for path in folder.glob("v*.user.md") if path.name[1:-8].isdigit()}
    if not versions:
        known = sorted(path.parent.name for path in package_file("prompts").glob("*/v1.user.md"))
        raise PromptError(f"no prompt is called {name!r}; there are {', '.join(known)}")
    number = max(versions) if version is None else version
    if number not in versions:
        found = ", ".join(f"v{each}" for each in sorted(versions))
        raise PromptError(f"prompt {name} has no v{number}; there are {found}")
    texts = {
        part: path.read_text(encoding="utf-8").removesuffix("\n") if path.exists() else None
        for part, path in (
            ("system", folder / f"v{number}.system.md"),
            ("user", folder / f"v{number}.user.md"),
            ("schema", folder / f"v{number}.schema.json"),
        )
    }
    return _prompt(name, number, texts["system"], texts["user"] or "", texts["schema"])


def custom_system_prompt(name: str, text: str) -> Prompt:
    """Make the prompt of a roster's own system prompt: `text` as it stands, then the question alone.

    It is version 1 for ever; its hash tells edits apart. Raises `PromptError` on a blank text.
    """
    if not text.strip():
        raise PromptError(f'system prompt {name!r} is blank: give it a text, or use system_prompt = "none"')
    return _prompt(name, 1, text, load_prompt("respondent_none", 1).user, None)


def render(prompt: Prompt, values: Mapping[str, str | Fenced]) -> tuple[Message, ...]:
    """Fill in the user turn and give the messages to send: the system turn, if there is one, and the user turn.

    `values` are exactly the template's names; one that stands between material delimiters must be `Fenced`. Raises
    `PromptError` that names the prompt's file, the names expected and the names given.
    """
    template, expected, fenced = _compiled(prompt.user)
    given = frozenset(values)
    faults = []
    if given != expected:
        faults.append(f"missing {_names(expected - given)}; superfluous {_names(given - expected)}")
    bare = frozenset(name for name in fenced & given if not isinstance(values[name], Fenced))
    if bare:
        faults.append(f"not fenced: {_names(bare)} (pass what `fence` returns, not its text)")
    if faults:
        file = f"prompts/{prompt.name}/v{prompt.version}.user.md"
        raise PromptError(f"{file}: expects {_names(expected)}; was given {_names(given)}; " + "; ".join(faults))
    texts = {name: value.text if isinstance(value, Fenced) else value for name, value in values.items()}
    user = Message("user", template.render(texts))
    return (user,) if prompt.system is None else (Message("system", prompt.system), user)


def fence(text: str, limit: int) -> Fenced:
    """Make a text safe to stand in a prompt: at most `limit` characters of it, unable to end its own fence.

    A longer text ends at its last paragraph within the limit, else at its last word (where either keeps at least
    half the limit), else at the limit; `CUT_NOTE` follows on its own line, beyond the limit. The `<` of anything that
    could pass for a material delimiter becomes `‹`, one character for one; every other character stays. Raises
    `ValueError` on a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"a limit of {limit} characters leaves no text")
    cut = len(text) > limit
    kept = f"{_shortened(text, limit)}\n{CUT_NOTE}" if cut else text
    return Fenced(_DELIMITER.sub(_DEFANGED, kept), cut)


def materials(message: str) -> dict[str, str]:
    """Read the fenced texts of a rendered user turn by name: the inverse of `render`.

    Raises `PromptError` where a name stands twice.
    """
    found: dict[str, str] = {}
    for name, text in _MATERIAL.findall(message):
        if name in found:
            raise PromptError(f"the message has two materials named {name!r}")
        found[name] = text
    return found


def _prompt(name: str, version: int, system: str | None, user: str, schema: str | None) -> Prompt:
    name_hash = identify("prompt", {"system": system, "user": user, "schema": schema})[:12]
    return Prompt(name, version, name_hash, system, user, None if schema is None else json.loads(schema))


@lru_cache(maxsize=64)
def _compiled(user: str) -> tuple[jinja2.Template, frozenset[str], frozenset[str]]:
    """Give a user turn's template, the names it expects, and those of them that stand between delimiters."""
    expected = frozenset(jinja2.meta.find_undeclared_variables(_TEMPLATES.parse(user)))
    fenced = frozenset(name for _label, name in _FENCED_NAME.findall(user))
    return _TEMPLATES.from_string(user), expected, fenced


def _shortened(text: str, limit: int) -> str:
    """Give the beginning of a text that is longer than `limit`, ending where a reader would end it."""
    # One character more than the limit: a blank there means that the last word within the limit is whole.
    window = text[: limit + 1]
    paragraph = window.rfind("\n")
    if 2 * paragraph >= limit:
        return window[:paragraph].rstrip()
    word = max((place for place, character in enumerate(window) if character.isspace()), default=-1)
    if 2 * word >= limit:
        return window[:word].rstrip()
    end = limit
    while end > 1 and unicodedata.combining(text[end]):
        end -= 1
    return text[:end]


def _names(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
