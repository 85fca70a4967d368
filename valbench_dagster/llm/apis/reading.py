"""Reading: what the replies of all API kinds have in common, taken from JSON of any shape.

Here belong the errors of a body, its names, its token counts and its citations. Where a kind keeps them is its own
module's. Nothing here trusts a type: a field that is not what the API says is null, or the body is a `BadReply`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from valbench_dagster.llm.finish_reasons import is_broken_off

_SHOWN = 400
_MOST_TOKENS = 2**31 - 1
"""What a 32-bit column holds; no reply has more."""


class BadReply(ValueError):  # noqa: N818 - names what was received
    """A body that is no reply of the API, with a message that says why and shows its beginning."""


class Counts(NamedTuple):
    """Tokens as `Reply` has them: `cached` are among the input's, `reasoning` among the output's; null: not told."""

    input: int | None
    output: int | None
    cached: int | None
    reasoning: int | None


def whole_object(data: Any, raw: bytes) -> dict[str, Any]:
    """Take the body for a JSON object that is no error; raises `BadReply`."""
    if not isinstance(data, dict):
        raise BadReply(f"expected a JSON object, found: {beginning(raw)}")
    if error := data.get("error"):
        raise BadReply(f"an error with a success status: {shown(error, raw)}")
    return data


def first_choice(data: dict[str, Any], raw: bytes) -> dict[str, Any]:
    """Take the first choice of a chat or text completion; raises `BadReply` where there is none or it is an error."""
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadReply(f"no choices in: {beginning(raw)}")
    choice: dict[str, Any] = choices[0]
    if error := choice.get("error"):
        raise BadReply(f"an error in place of a reply: {shown(error, raw)}")
    return choice


def ending(choice: Mapping[str, Any], raw: bytes) -> str | None:
    """Take the finish reason of a choice; raises `BadReply` where it says that the server gave up."""
    finish_reason = name(choice.get("finish_reason"), raw)
    if is_broken_off(finish_reason):
        raise BadReply(f"a reply that ended with {finish_reason!r}: {beginning(raw)}")
    return finish_reason


def name(value: Any, raw: bytes) -> str | None:
    """Take a name, such as a model's or a finish reason; null where there is none.

    Raises `BadReply` on characters that no name has: databases refuse some of them.
    """
    if not isinstance(value, str) or not value:
        return None
    if not value.isprintable():
        raise BadReply(f"a name with control characters in: {beginning(raw)}")
    return value


def text(value: Any) -> str | None:
    """Take a text that is not empty; null where there is none."""
    return value if isinstance(value, str) and value else None


def counts(usage: Any, tokens_in: str = "prompt_tokens", tokens_out: str = "completion_tokens") -> Counts:
    """Read the token counts of a reply; `tokens_in` and `tokens_out` are what its API kind calls them.

    Some servers (xAI, Gemini) leave reasoning out of the output's count but not out of the total, and bill it: what a
    total has more than the input is output.
    """
    if not isinstance(usage, dict):
        return Counts(None, None, None, None)
    given, made, total = _count(usage.get(tokens_in)), _count(usage.get(tokens_out)), _count(usage.get("total_tokens"))
    if given is not None and made is not None and total is not None and total > given + made:
        made = total - given
    cached = _count(_detail(usage, f"{tokens_in}_details", "cached_tokens"))
    if cached is None:
        cached = _count(usage.get("prompt_cache_hit_tokens"))  # DeepSeek's name for it
    return Counts(given, made, cached, _count(_detail(usage, f"{tokens_out}_details", "reasoning_tokens")))


def cited(annotations: Any) -> list[str]:
    """List the addresses of URL citations among annotations, in order; both shapes, flat and nested, are known."""
    found: list[str] = []
    for each in annotations if isinstance(annotations, list) else ():
        if isinstance(each, dict) and each.get("type") == "url_citation":
            nested = each.get("url_citation")
            url = (nested if isinstance(nested, dict) else each).get("url")
            if isinstance(url, str) and url:
                found.append(url)
    return found


def beginning(raw: bytes) -> str:
    """Show the beginning of a body on one line, without control characters."""
    return _on_one_line(raw[:_SHOWN].decode("utf-8", "replace")) or "an empty body"


def shown(error: Any, raw: bytes) -> str:
    """Show an error object on one line; the body it came in where it is nested too deep to be written."""
    try:
        return beginning(orjson.dumps(error))
    except orjson.JSONEncodeError:
        return beginning(raw)


def _on_one_line(line: str) -> str:
    return " ".join("".join(c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in line).split())


def _count(value: Any) -> int | None:
    # A bool is an int to Python, and no count.
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _detail(usage: Mapping[str, Any], group: str, key: str) -> Any:
    details = usage.get(group)
    return details.get(key) if isinstance(details, dict) else None
