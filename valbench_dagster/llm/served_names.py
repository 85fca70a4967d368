"""Served names: whether the model that a reply names is the one that was asked for.

Servers write the same model in many ways (`gpt-4o` answers as `gpt-4o-2024-08-06`, `google/gemma-3-27b-it` as
`gemma-3-27b-it`), and some answer for any name with the model they have. Here belongs which names mean the same; what
follows where they do not is `one_call.py`.
"""

import re
from functools import lru_cache

_TAG = re.compile(
    r"(?P<rest>.*[^-_/])"
    r"(?P<tag>[:@][^/]+"
    r"|[-_](?:\d{4}-\d{2}-\d{2}|\d{2}-\d{2}|\d{8}|\d{6}|\d{3,4}|v\d+(?:\.\d+)*|latest))"
)
"""A routing or version tag at the end of a name: anything behind `:` or `@`; behind a hyphen or underscore a date, a
number of three digits or more, `v2`, `latest`. So a longer word is no tag (`gpt-4o-mini`), nor is a size (`-8b`)."""

_MODEL_FILE = re.compile(r"\.(?:gguf|ggml|safetensors|bin)$")


LONGEST_NAME = 300
"""Characters of a name that is taken apart; a longer one is no model's."""


def fits(asked: str, answered: str | None, answers_as: tuple[str, ...] = ()) -> bool:
    """Tell whether a reply that names `answered` (null: no name) may be the reply of `asked`.

    Case does not count. One of two names may stand behind a provider or a folder (whole parts before a `/`), may bear a
    tag that the other lacks, may be a model file; two different tags do not fit. `answers_as` are names that are
    allowed besides, by the same rules; `*` is any.
    """
    if answered is None or answered == asked or "*" in answers_as:
        return True
    return len(answered) <= LONGEST_NAME and any(_same(name, answered) for name in (asked, *answers_as))


@lru_cache(maxsize=1024)
def _same(one: str, other: str) -> bool:
    (name, tags), (other_name, other_tags) = _split(one), _split(other)
    if not (tags <= other_tags or other_tags <= tags):
        return False
    return name == other_name or name.endswith(f"/{other_name}") or other_name.endswith(f"/{name}")


def _split(name: str) -> tuple[str, frozenset[str]]:
    """Take a name apart: what it is called, in lower case, and its tags; `latest` is none."""
    rest, tags = _MODEL_FILE.sub("", name.strip().lower().replace("\\", "/").rstrip("/")), set[str]()
    while found := _TAG.fullmatch(rest):
        rest = found["rest"]
        tags.add(found["tag"][1:])
    return rest, frozenset(tags - {"latest"})
