"""The door to replies: any bytes of any API kind, and the JSON that models write.

What each kind's replies look like is in `test_apis_chat.py`, `test_apis_responses.py`, `test_apis_completions.py`.
"""

import json
import sys
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.llm.calls import Reply
from valbench_dagster.llm.replies import BadReply, parse_json_object, read_reply
from valbench_dagster_tests.llm_fakes import completion

KINDS = ("chat", "responses", "completions")


def test_an_unknown_api_is_a_value_error_and_no_bad_reply() -> None:
    with pytest.raises(ValueError, match=r"'messages'.*'responses'") as caught:
        read_reply("messages", completion("x"))
    assert not isinstance(caught.value, BadReply)


@pytest.mark.parametrize("api", KINDS)
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "an empty body"),
        (b"<html>Bad gateway</html>", "Bad gateway"),
        (b'{"choices": [{"message": {"content": "cut of', "not JSON"),
        (b'{"model": "half a pair \\ud83d"}', "not JSON"),
        (b'\xff\xfe{"model": "m"}', "not JSON"),
        (b"[]", "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b'{"error": {"message": "upstream overloaded", "code": 502}}', "upstream overloaded"),
        (b'{"error": "no such model"}', "no such model"),
        (b'{"error": ' + b"[" * 400 + b"]" * 400 + b"}", "an error with a success status"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"object": "list", "data": []}', '"object": "list"'),
    ],
)
def test_a_body_that_is_no_reply_is_a_bad_reply_that_shows_it(api: str, raw: bytes, said: str) -> None:
    with pytest.raises(BadReply, match=said):
        read_reply(api, raw)


def test_what_is_shown_of_a_bad_body_is_short_and_holds_no_control_character() -> None:
    with pytest.raises(BadReply) as caught:
        read_reply("chat", b"\x00\x1b[31m\r\n\xff" + b"x" * 1_000_000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def bodies() -> st.SearchStrategy[Any]:
    """JSON of any shape, made of the names that the API kinds know."""
    names = (
        *("choices", "message", "content", "error", "usage", "model", "type", "text", "output", "status", "phase"),
        *("finish_reason", "refusal", "summary", "annotations", "url", "url_citation", "thinking", "citations"),
        *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens_details", "incomplete_details"),
        *("prompt_tokens_details", "cached_tokens", "system_fingerprint", "reasoning", "reason"),
    )
    words = ("text", "message", "reasoning", "output_text", "refusal", "thinking", "url_citation", "summary_text")
    ends = ("completed", "incomplete", "failed", "stop", "length", "content_filter", "abort", "<think>", "a\0b")
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from((*words, *ends)) | st.text()
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=5),
        max_leaves=30,
    )


@pytest.mark.parametrize("api", KINDS)
@given(value=bodies())
def test_any_json_is_a_reply_or_a_bad_reply_and_never_another_error(api: str, value: Any) -> None:
    around = (
        value,
        {"choices": value},
        {"choices": [value]},
        {"choices": [{"message": value, "text": value}], "usage": value},
        {"choices": [{"message": {"content": value, "annotations": value}, "text": "x"}], "citations": value},
        {"output": value, "status": "completed"},
        {"output": [{"type": "message", "content": value}, {"type": "reasoning", "summary": value}], "usage": value},
        {"output": [], "status": "incomplete", "incomplete_details": value},
    )
    for body in around:
        raw = json.dumps(body).encode()  # as Python's writer has it: NaN, Infinity and half surrogate pairs too
        try:
            reply = read_reply(api, raw)
        except BadReply:
            continue
        assert_of_its_types(reply)


@pytest.mark.parametrize("api", KINDS)
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_a_bad_reply(api: str, raw: bytes) -> None:
    with pytest.raises(BadReply):  # 200 bytes at random are no reply
        read_reply(api, raw)


def assert_of_its_types(reply: Reply) -> None:
    for text in (reply.text, reply.reasoning, reply.refusal):
        assert text is None or isinstance(text, str)
    for name in (reply.finish_reason, reply.served_model, reply.system_fingerprint):
        assert name is None or (isinstance(name, str) and name.isprintable())
    for count in (reply.input_tokens, reply.output_tokens, reply.cached_tokens, reply.reasoning_tokens):
        assert count is None or (type(count) is int and 0 <= count < 2**31)
    assert all(isinstance(each, str) for each in reply.citations)
    assert len(set(reply.citations)) == len(reply.citations)


@pytest.mark.parametrize("levels", [50, 250, 500])
def test_parts_nested_in_parts_are_read_at_any_depth(levels: int) -> None:
    # Two levels of JSON each; more than 1,024 are no JSON to our parser.
    nested = b'[{"type": "text", "text": ' * levels + b'"deep"' + b"}]" * levels
    assert read_reply("chat", b'{"choices": [{"message": {"content": %b}}]}' % nested).text is None


@pytest.mark.parametrize("api", KINDS)
def test_reading_a_reply_costs_less_than_25_microseconds(api: str) -> None:
    text = "Those who put up the tolls had a deck to pay for. " * 22  # 1,100 characters: 1.5 KB with the rest
    usage = {
        "total_tokens": 15,
        **dict.fromkeys(("prompt_tokens", "input_tokens"), 10),
        **dict.fromkeys(("completion_tokens", "output_tokens"), 5),
        **{f"{name}_tokens_details": {"cached_tokens": 3, "audio_tokens": 0} for name in ("prompt", "input")},
        **{f"{name}_tokens_details": {"reasoning_tokens": 2} for name in ("completion", "output")},
    }
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    parts = [{"type": "output_text", "text": text, "annotations": []}]
    body: dict[str, Any] = {"id": "x", "model": "m", "usage": usage, "system_fingerprint": "fp_1"}
    kinds: dict[str, dict[str, Any]] = {
        "chat": {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]},
        "responses": {"status": "completed", "output": [{"type": "message", "content": parts}]},
        "completions": {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]},
    }
    raw, rounds, best = orjson.dumps(body | kinds[api]), 300, float("inf")
    for _ in range(9):
        before = time.thread_time()
        for _ in range(rounds):
            read_reply(api, raw)
        best = min(best, (time.thread_time() - before) / rounds)
    sys.stdout.write(f"read_reply({api!r}) of {len(raw)} bytes: {best * 1e6:.1f} microseconds of CPU\n")
    assert best < 25e-6


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
    assert parse_json_object('{"a": "one\n\ttwo\x01\x00"}') == {"a": "one\n\ttwo\x01\x00"}


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
        ('{"score": 1' + "0" * 5000 + "}", "digits"),
        ('{"a": "\\ud83d"}', "surrogate"),
        ('{"a": ' + "[" * 100_000, "depth"),
        ("```", "Expecting value"),
        ("``````", "Expecting value"),
        ('```json\n{"score": 2}\n```\n```json\n{"score": 1}\n```', "Extra data"),
    ],
)
def test_what_is_not_one_object_is_a_value_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json_object(text)


def test_a_megabyte_of_white_space_in_a_fence_is_refused_at_once() -> None:
    before = time.thread_time()
    with pytest.raises(ValueError, match="Expecting"):
        parse_json_object("```json\n{" + " \n" * 500_000 + "x")
    assert time.thread_time() - before < 1  # a search for the end from every blank would take hours


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()), st.booleans(), st.booleans())
def test_every_object_that_json_can_write_is_read_back(
    value: dict[str, object], ascii_only: bool, fenced: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json_object(f"```json\n{text}\n```" if fenced else text) == value
