"""Text completions of base models: the template, what is put on the wire, and what replies are read as."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.llm.apis.completions import prompt_text, template_problem
from valbench_dagster.llm.apis.wire import path_of, request_body
from valbench_dagster.llm.calls import Message, Request, SchemaMode, ServedModel
from valbench_dagster.llm.replies import BadReply, read_reply

TEMPLATE = "{system}\n\nQuestion: {question}\nAnswer:"
SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
USER = Message("user", "Why?")


def asked(template: str | None = TEMPLATE, *messages: Message, schema: Any = None, **settings: Any) -> Request:
    served = ServedModel("lab", "lab", "completions", "base", 1, settings, template)
    return Request(served, messages or (Message("system", "Be brief."), USER), "verdict", schema)


def test_a_request_s_body_is_settings_model_and_one_prompt() -> None:
    assert path_of("completions") == "completions"
    assert request_body(asked(stop=["\n\n"], max_tokens=300)) == {
        "stop": ["\n\n"],
        "max_tokens": 300,
        "model": "base",
        "prompt": "Be brief.\n\nQuestion: Why?\nAnswer:",
    }


@pytest.mark.parametrize(
    ("mode", "fields"),
    [
        (
            "json_schema",
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "verdict", "schema": SCHEMA, "strict": True},
                },
                "json_schema": SCHEMA,
            },
        ),
        ("json_object", {"response_format": {"type": "json_object"}}),
        ("prompt", {}),
    ],
)
def test_each_mode_asks_for_the_schema_in_its_way(mode: SchemaMode, fields: dict[str, Any]) -> None:
    body = request_body(asked(schema=SCHEMA), mode)
    assert {key: value for key, value in body.items() if key not in ("model", "prompt")} == fields
    assert ("JSON schema" in body["prompt"]) == (mode != "json_schema")
    assert body["prompt"].endswith("\n\nQuestion: Why?\nAnswer:")


@pytest.mark.parametrize("template", [TEMPLATE, "{question}{system}", '{{"q": "{question}"}} {system} }}{{'])
def test_a_template_with_both_placeholders_once_has_no_problem(template: str) -> None:
    assert template_problem(template) is None


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("", "expected {question} once, found it 0 times"),
        ("{system}", "expected {question} once, found it 0 times"),
        ("{question}", "expected {system} once, found it 0 times"),
        ("{system}{question}{question}", "expected {question} once, found it 2 times"),
        ("{system}{system}{question}", "expected {system} once, found it 2 times"),
        ("{system}{question}{answer}", "'{answer}' is no placeholder"),
        ("{system}{question}{}", "'{}' is no placeholder"),
        ("{system}{ question }", "'{' is no placeholder"),
        ("{system}{question!r}", "'{question!r}' is no placeholder"),
        ("{{system}}{question}", "expected {system} once, found it 0 times"),
        ('{system}{question}{"a": 1}', "'{\"a\":' is no placeholder"),
        ("{system}{question}}", "'}' is no placeholder"),
    ],
)
def test_a_template_s_problem_is_told(template: str, problem: str) -> None:
    assert (template_problem(template) or "").startswith(problem)


def test_a_prompt_without_a_system_message_needs_no_place_for_one() -> None:
    assert template_problem("Q: {question}\nA:", has_system=False) is None
    assert prompt_text(asked("Q: {question}\nA:", USER), "prompt") == "Q: Why?\nA:"
    assert prompt_text(asked("{system}Q: {question}", USER), "prompt") == "Q: Why?"


def test_a_system_message_is_never_left_out_in_silence() -> None:
    with pytest.raises(ValueError, match=r"template of model 'base': expected \{system\} once"):
        request_body(asked("Q: {question}"))
    with pytest.raises(ValueError, match="has no template"):
        request_body(asked(None))


BRACED = st.text(alphabet=st.sampled_from("{}systemquestion \n")) | st.text()


@given(BRACED, BRACED, BRACED, BRACED, BRACED)
def test_braces_of_messages_are_text_and_doubled_ones_of_templates_are_one(
    system: str, question: str, before: str, between: str, after: str
) -> None:
    def doubled(text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    template = f"{doubled(before)}{{system}}{doubled(between)}{{question}}{doubled(after)}"
    assert template_problem(template) is None
    request = asked(template, Message("system", system), Message("user", question))
    assert prompt_text(request, "json_schema") == f"{before}{system}{between}{question}{after}"


@given(BRACED)
def test_any_template_has_a_problem_or_makes_a_prompt(template: str) -> None:
    if template_problem(template) is None:
        assert "Why?" in prompt_text(asked(template), "json_schema")
    else:
        with pytest.raises(ValueError, match="template of model 'base'"):
            prompt_text(asked(template), "json_schema")


def completion(text: Any, finish_reason: Any = "stop", **more: Any) -> bytes:
    # As vLLM words it.
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason, "stop_reason": None, **more}
    usage = {"prompt_tokens": 6, "total_tokens": 24, "completion_tokens": 18, "prompt_tokens_details": None}
    body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "base", "choices": [choice]}
    return orjson.dumps(body | {"usage": usage, "system_fingerprint": "b0-unknown"})


def test_text_is_as_it_came_with_its_white_space() -> None:
    reply = read_reply("completions", completion(" Because.\n\nQuestion: And then?\n", "length"))
    assert (reply.text, reply.finish_reason) == (" Because.\n\nQuestion: And then?\n", "length")
    assert (reply.reasoning, reply.refusal, reply.citations) == (None, None, ())
    assert (reply.served_model, reply.system_fingerprint) == ("base", "b0-unknown")
    counted = (reply.input_tokens, reply.output_tokens, reply.cached_tokens, reply.reasoning_tokens)
    assert counted == (6, 18, None, None)


def test_a_leading_think_block_is_reasoning_here_too() -> None:
    reply = read_reply("completions", completion(" <think>Hm.</think>Yes."))
    assert (reply.text, reply.reasoning) == ("Yes.", "Hm.")


def test_an_empty_text_and_a_filtered_one_are_replies() -> None:
    assert read_reply("completions", completion("")).text == ""
    assert read_reply("completions", completion(None, "content_filter")).text is None


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"choices": []}', "no choices"),
        (completion(None), "no text"),
        (completion({"text": "x"}), "no text"),
        (b'{"choices": [{"message": {"content": "a chat"}, "finish_reason": "stop"}]}', "no text"),
        (completion("Half a", "abort"), "ended with 'abort'"),
        (completion("", error={"message": "provider died"}), "provider died"),
    ],
)
def test_what_is_no_text_completion_is_a_bad_reply(raw: bytes, why: str) -> None:
    with pytest.raises(BadReply, match=why):
        read_reply("completions", raw)
