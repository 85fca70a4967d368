"""What servers and models really send, read into replies and objects."""

import json
from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.llm.replies import BadReply, parse_json_object, read_reply
from valbench_dagster_tests.llm_fakes import completion


def test_text_finish_reason_model_and_tokens_are_read() -> None:
    reply = read_reply("chat", completion("Yes.", tokens=(7, 2)))
    assert (reply.text, reply.reasoning, reply.finish_reason, reply.refusal) == ("Yes.", None, "stop", None)
    assert (reply.served_model, reply.input_tokens, reply.output_tokens) == ("served-model", 7, 2)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_both_spellings_of_the_reasoning_field_are_read(field: str) -> None:
    reply = read_reply("chat", completion("Yes.", fields={field: "Let me see."}))
    assert (reply.text, reply.reasoning) == ("Yes.", "Let me see.")


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", "Yes.", "Hm."),
        ("\n <think>Hm.</think>Yes.", "Yes.", "Hm."),
        ("<think>Hm, and then the limit", None, "Hm, and then the limit"),
        ("<think></think>Yes.", "Yes.", None),
        ("<think>Hm.</think>", "", "Hm."),
        # The chat template had opened the block, so the server's text begins inside of it.
        ("Hm.\n</think>\nYes.", "Yes.", "Hm."),
        # Not leading: the model speaks about the tag.
        ("Write <think>x</think> around it.", "Write <think>x</think> around it.", None),
        ("", "", None),
        (None, None, None),
    ],
)
def test_a_leading_think_block_is_reasoning(content: str | None, text: str | None, reasoning: str | None) -> None:
    reply = read_reply("chat", completion(content))
    assert (reply.text, reply.reasoning) == (text, reasoning)


def test_content_in_parts_is_joined_and_its_thinking_parts_are_reasoning() -> None:
    body = json.loads(completion("x"))
    body["choices"][0]["message"]["content"] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "Ye"},
        {"type": "text", "text": "s."},
    ]
    reply = read_reply("chat", orjson.dumps(body))
    assert (reply.text, reply.reasoning) == ("Yes.", "Hm.")


def test_the_refusal_field_of_the_api_is_kept_apart_from_the_text() -> None:
    reply = read_reply("chat", completion(None, fields={"refusal": "I cannot help with that."}))
    assert (reply.text, reply.refusal) == (None, "I cannot help with that.")


def test_tokens_that_are_not_counted_are_null() -> None:
    body = json.loads(completion("x"))
    for usage in (None, {}, {"prompt_tokens": None, "completion_tokens": "5"}, {"prompt_tokens": True}):
        body["usage"] = usage
        reply = read_reply("chat", orjson.dumps(body))
        assert (reply.input_tokens, reply.output_tokens) == (None, None)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not JSON"),
        (b"<html>Bad gateway</html>", "Bad gateway"),
        (b'{"choices": [{"message": {"content": "cut of', "not JSON"),
        (b"[]", "expected a JSON object"),
        (b'{"object": "list"}', "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": [{"text": "old API"}]}', "no message"),
        (b'{"choices": [{"message": {"content": 5}}]}', "no text"),
        (b'{"error": {"message": "upstream overloaded", "code": 502}}', "upstream overloaded"),
        (b'{"choices": [{"error": {"message": "provider died"}, "message": {"content": ""}}]}', "provider died"),
    ],
)
def test_a_body_that_is_no_chat_completion_is_a_bad_reply_that_shows_it(raw: bytes, said: str) -> None:
    with pytest.raises(BadReply, match=said):
        read_reply("chat", raw)


def json_of(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    keys = st.sampled_from(["choices", "message", "content", "error", "usage", "model", "type", "text"])
    return st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(), json_of))
def test_no_json_value_brings_the_reader_down(value: object) -> None:
    for body in (value, {"choices": value}, {"choices": [value]}, {"choices": [{"message": value}]}):
        with suppress(BadReply):
            reply = read_reply("chat", json.dumps(body).encode())
            assert reply.text is None or isinstance(reply.text, str)


def test_an_unknown_api_is_a_value_error_and_no_bad_reply() -> None:
    with pytest.raises(ValueError, match="'responses'") as caught:
        read_reply("responses", completion("x"))
    assert not isinstance(caught.value, BadReply)


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 2}',
        '  {"score": 2}\n',
        '```json\n{"score": 2}\n```',
        '```\n{"score": 2}```',
        '```{"score": 2}\n```\n',
    ],
)
def test_an_object_is_read_with_and_without_a_fence(text: str) -> None:
    assert parse_json_object(text) == {"score": 2}


def test_a_fence_inside_a_string_is_left_alone() -> None:
    assert parse_json_object('{"a": "```x```"}') == {"a": "```x```"}


def test_raw_control_characters_in_strings_are_allowed() -> None:
    assert parse_json_object('{"a": "one\n\ttwo\x01"}') == {"a": "one\n\ttwo\x01"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("Score: 2", "Expecting value"),
        ('Here it is: {"score": 2}', "Expecting value"),
        ('{"score": 2} Hope that helps!', "Extra data"),
        ('{"score": ', "Expecting value"),
        ("[2]", "expected a JSON object, found list"),
        ("2", "expected a JSON object, found int"),
        ('{"score": 2, "score": -2}', "twice"),
        ('{"score": NaN}', "NaN"),
        ('{"a": "\\ud83d"}', "surrogate"),
        ('{"a": ' + "[" * 100_000, "depth"),
        ('```json\n{"score": 2}\n```\n```json\n{"score": 1}\n```', "Extra data"),
    ],
)
def test_what_is_not_one_object_is_a_value_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json_object(text)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()), st.booleans(), st.booleans())
def test_every_object_that_json_can_write_is_read_back(
    value: dict[str, object], ascii_only: bool, fenced: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json_object(f"```json\n{text}\n```" if fenced else text) == value
