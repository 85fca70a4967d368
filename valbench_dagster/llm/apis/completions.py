"""Text completions, the API kind `completions`, for base models (paper, section 3.2).

Here belong the template that makes one text of a request's messages, the body, and the reading of its reply
(https://platform.openai.com/docs/api-reference/completions). A base model goes on when it has answered: where it is to
stop is a setting (`stop` in `extra_body`).
"""

import re
from functools import lru_cache
from typing import Any

from valbench_dagster.llm.apis.chat import response_format
from valbench_dagster.llm.apis.reading import BadReply, beginning, counts, ending, first_choice, name, whole_object
from valbench_dagster.llm.apis.schema_prompt import messages_sent
from valbench_dagster.llm.apis.thoughts import split_thought
from valbench_dagster.llm.calls import Reply, Request, SchemaMode
from valbench_dagster.llm.finish_reasons import ends_without_words

PATH = "completions"

_MARKS = re.compile(r"(\{\{|\}\}|\{system\}|\{question\})")


def template_problem(template: str, *, has_system: bool = True) -> str | None:
    """Say what is wrong with a template, null if nothing.

    It has `{question}` once, `{system}` once (not needed where the prompt has no system message: `has_system`), and
    no other braces but `{{` and `}}`, which stand for one each.
    """
    pieces = _pieces(template)
    for piece in pieces[::2]:
        if brace := re.search(r"\{[^{}\s]*\}?|\}", piece):
            return f"{brace[0]!r} is no placeholder, only {{system}} and {{question}} are; write a brace itself twice"
    for mark, needed in (("{question}", True), ("{system}", has_system)):
        if (found := pieces[1::2].count(mark)) > 1 or found < needed:
            return f"expected {mark} once, found it {found} times"
    return None


def prompt_text(request: Request, mode: SchemaMode) -> str:
    """Make the one text of a request: system messages for `{system}`, user messages for `{question}`.

    Braces of the messages are text. Raises `ValueError` where there is no template, or one with a problem.
    """
    template = request.served.template
    if template is None:
        raise ValueError(f"model {request.served.model!r} has no template, which the API kind completions needs")
    messages = messages_sent(request, mode)
    system = "\n\n".join(each.content for each in messages if each.role == "system")
    if problem := template_problem(template, has_system=bool(system)):
        raise ValueError(f"template of model {request.served.model!r}: {problem}")
    values = {
        "{system}": system,
        "{question}": "\n\n".join(each.content for each in messages if each.role == "user"),
        "{{": "{",
        "}}": "}",
    }
    return "".join(values[piece] if place % 2 else piece for place, piece in enumerate(_pieces(template)))


def request_body(request: Request, mode: SchemaMode, settings: dict[str, Any]) -> dict[str, Any]:
    """Give the JSON body of a request: `settings` (which it may keep), model, prompt and form of the reply.

    vLLM reads a schema from `response_format`, as in chat; llama.cpp ignores that here and reads `json_schema`. Each
    ignores the other's field.
    """
    body = settings
    body["model"] = request.served.model
    body["prompt"] = prompt_text(request, mode)
    if request.schema is not None and mode != "prompt":
        body["response_format"] = response_format(request, mode)
        if mode == "json_schema":
            body["json_schema"] = dict(request.schema)
    return body


def read_reply(data: Any, raw: bytes) -> Reply:
    """Read a text completion, `data`, of the body `raw`; its text is as it came but for a leading block of reasoning.

    Raises `BadReply` where there is no choice with a text. A choice that its filter or limit left without one is a
    reply without text.
    """
    data = whole_object(data, raw)
    choice = first_choice(data, raw)
    finish_reason = ending(choice, raw)
    written = choice.get("text")
    if not isinstance(written, str) and not (written is None and ends_without_words(finish_reason)):
        raise BadReply(f"no text in the first choice of: {beginning(raw)}")
    text, reasoning = split_thought(written)
    tokens = counts(data.get("usage"))
    return Reply(
        text=text,
        reasoning=reasoning or None,
        finish_reason=finish_reason,
        refusal=None,
        served_model=name(data.get("model"), raw),
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cached_tokens=tokens.cached,
        reasoning_tokens=tokens.reasoning,
        system_fingerprint=name(data.get("system_fingerprint"), raw),
    )


@lru_cache(maxsize=64)
def _pieces(template: str) -> tuple[str, ...]:
    """Cut a template at its marks: text at even places, marks at odd ones."""
    return tuple(_MARKS.split(template))
