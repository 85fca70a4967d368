"""Chat completions: what is put on the wire, and what servers really send back."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.llm.apis.thoughts import split_thought
from valbench_dagster.llm.apis.wire import path_of, request_body
from valbench_dagster.llm.calls import Message, Request, SchemaMode, ServedModel
from valbench_dagster.llm.replies import BadReply, read_reply
from valbench_dagster_tests.llm_fakes import completion

SCHEMA = {
    "type": "object",
    "properties": {"why": {"type": "string"}, "score": {"type": "integer", "enum": [0, 1]}},
    "required": ["why", "score"],
    "additionalProperties": False,
}
ADDED = (
    "Reply with one JSON object and nothing else: no text before or after it, no code fence. Write its keys in this "
    'order: "why", "score". The object must be valid against this JSON schema:\n'
    '{"additionalProperties":false,"properties":{"score":{"enum":[0,1],"type":"integer"},"why":{"type":"string"}},'
    '"required":["why","score"],"type":"object"}'
)
SYSTEM, USER = Message("system", "Be brief."), Message("user", "Why?")


def asked(*messages: Message, sample: int = 0, **settings: Any) -> Request:
    served = ServedModel("lab", "lab", "chat", "org/m", 1, settings)
    return Request(served, messages or (SYSTEM, USER), "verdict", SCHEMA, sample)


def test_a_request_s_body_is_settings_model_and_messages() -> None:
    served = ServedModel("lab", "lab", "chat", "org/m", 1, {"temperature": 0.1, "model": "other"})
    assert path_of("chat") == "chat/completions"
    assert request_body(Request(served, (SYSTEM, USER))) == {
        "temperature": 0.1,
        "model": "org/m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
    }


@pytest.mark.parametrize(
    ("mode", "response_format", "system"),
    [
        (
            "json_schema",
            {"type": "json_schema", "json_schema": {"name": "verdict", "schema": SCHEMA, "strict": True}},
            "Be brief.",
        ),
        ("json_object", {"type": "json_object"}, f"Be brief.\n\n{ADDED}"),
        ("prompt", None, f"Be brief.\n\n{ADDED}"),
    ],
)
def test_each_mode_asks_for_the_schema_in_its_way(
    mode: SchemaMode, response_format: dict[str, Any] | None, system: str
) -> None:
    body = request_body(asked(), mode)
    assert body.get("response_format") == response_format
    assert [each["content"] for each in body["messages"]] == [system, "Why?"]


def test_the_schema_goes_into_the_last_system_message_or_a_new_first_one() -> None:
    two = request_body(asked(SYSTEM, Message("system", "Be kind."), USER), "prompt")["messages"]
    assert [each["content"] for each in two] == ["Be brief.", f"Be kind.\n\n{ADDED}", "Why?"]
    none = request_body(asked(USER), "prompt")["messages"]
    assert none == [{"role": "system", "content": ADDED}, {"role": "user", "content": "Why?"}]


def test_the_mode_is_part_of_the_body_and_not_of_the_request() -> None:
    request = asked()
    before = request.fingerprint, request.messages
    request_body(request, "prompt")
    assert (request.fingerprint, request.messages) == before


def test_each_sample_is_sent_the_next_seed_and_a_body_never_changes_the_settings() -> None:
    requests = [asked(sample=sample, seed=7) for sample in range(3)]
    assert [request_body(request)["seed"] for request in requests] == [7, 8, 9]
    assert [request.served.settings for request in requests] == [{"seed": 7}] * 3
    assert "seed" not in request_body(asked(sample=2))


def body(**changes: Any) -> dict[str, Any]:
    """Give a completion as a real server words it; `changes` replace fields of the whole body."""
    message: dict[str, Any] = {"role": "assistant", "content": "Yes.", "refusal": None, "annotations": []}
    whole = {
        "id": "chatcmpl-C1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 4, "accepted_prediction_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }
    return whole | changes


def choice(message: Any, finish_reason: Any = "stop", **more: Any) -> bytes:
    return orjson.dumps(body(choices=[{"index": 0, "message": message, "finish_reason": finish_reason, **more}]))


def test_a_whole_completion_is_read() -> None:
    reply = read_reply("chat", orjson.dumps(body()))
    assert (reply.text, reply.reasoning, reply.finish_reason, reply.refusal) == ("Yes.", None, "stop", None)
    assert (reply.served_model, reply.system_fingerprint) == ("gpt-4o-2024-08-06", "fp_44709d6fcb")
    counted = (reply.input_tokens, reply.output_tokens, reply.cached_tokens, reply.reasoning_tokens)
    assert counted == (19, 10, 16, 4)
    assert reply.citations == ()


@pytest.mark.parametrize(
    ("raw", "text", "finish_reason", "refusal"),
    [
        (choice({"role": "assistant", "content": "Becau"}, "length"), "Becau", "length", None),
        (choice({"role": "assistant", "content": ""}, "stop"), "", "stop", None),
        # A reasoning model that spent its limit on thinking.
        (choice({"role": "assistant", "content": None}, "length"), None, "length", None),
        (choice({"role": "assistant"}, "length"), None, "length", None),
        # Azure and Gemini, whose filter takes the message away.
        (choice(None, "content_filter", content_filter_results={"hate": {"filtered": True}}),
         None, "content_filter", None),
        (choice(None, "PROHIBITED_CONTENT"), None, "PROHIBITED_CONTENT", None),
        (choice({"content": "Part"}, "content_filter"), "Part", "content_filter", None),
        (choice({"content": None, "refusal": "I cannot help."}), None, "stop", "I cannot help."),
        (choice({"content": [{"type": "refusal", "refusal": "No."}]}), None, "stop", "No."),
        (choice({"content": None, "tool_calls": [{"type": "function"}]}, "tool_calls"), None, "tool_calls", None),
        # An Azure filter that was out of order says so beside the choice: what it has is a reply.
        (choice({"content": "Yes."}, content_filter_result={"error": {"code": "content_filter_error"}}),
         "Yes.", "stop", None),
        (choice({"content": " Yes.\n"}, None), " Yes.\n", None, None),
        (choice({"content": "Yes."}, 3), "Yes.", None, None),
    ],
)  # fmt: skip
def test_every_way_to_end_is_read_as_the_server_words_it(
    raw: bytes, text: str | None, finish_reason: str | None, refusal: str | None
) -> None:
    reply = read_reply("chat", raw)
    assert (reply.text, reply.finish_reason, reply.refusal, reply.reasoning) == (text, finish_reason, refusal, None)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"object": "list"}', "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": [null]}', "no choices"),
        (b'{"choices": [{"text": "old API"}]}', "no message"),
        (choice(None, "stop"), "no message"),
        (b'{"choices": [{"message": {"content": 5}}]}', "no text"),
        (choice({"content": ""}, error={"message": "provider died"}), "provider died"),
        (b'{"choices": [{"error": ' + b"[" * 400 + b"]" * 400 + b"}]}", "in place of a reply"),
        # vLLM, when it is shut down in the middle.
        (choice({"content": "Half a sen"}, "abort"), "ended with 'abort'"),
        (choice({"content": "Half a sen"}, "error"), "ended with 'error'"),
        (orjson.dumps(body(model="m\0")), "control characters"),
    ],
)
def test_what_is_no_finished_completion_is_a_bad_reply(raw: bytes, said: str) -> None:
    with pytest.raises(BadReply, match=said):
        read_reply("chat", raw)


def test_of_several_choices_the_first_is_read_and_unknown_fields_are_let_be() -> None:
    two = [{"index": n, "message": {"content": f"Answer {n}"}, "finish_reason": "stop"} for n in range(2)]
    filters = [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}]
    raw = orjson.dumps(body(choices=two, prompt_filter_results=filters, provider="Some", timings={"prompt_ms": 0.4}))
    assert read_reply("chat", raw).text == "Answer 0"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_both_spellings_of_the_reasoning_field_are_read(field: str) -> None:
    reply = read_reply("chat", completion("Yes.", fields={field: "Let me see."}))
    assert (reply.text, reply.reasoning) == ("Yes.", "Let me see.")


def test_reasoning_alone_is_a_reply_without_text() -> None:
    reply = read_reply("chat", completion(None, finish_reason="length", fields={"reasoning": "Let me see"}))
    assert (reply.text, reply.reasoning, reply.finish_reason) == (None, "Let me see", "length")


def test_content_in_parts_is_joined_and_its_thinking_parts_are_reasoning() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "thinking", "thinking": " Yes?"},
        {"type": "text", "text": "Ye"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "s."},
    ]
    reply = read_reply("chat", choice({"content": parts}))
    assert (reply.text, reply.reasoning) == ("Yes.", "Hm. Yes?")


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", "Yes.", "Hm."),
        ("\n <think>Hm.</think>Yes.", "Yes.", "Hm."),
        ("<thinking>Hm.</thinking>Yes.", "Yes.", "Hm."),
        ("<thought>Hm.</thought>Yes.", "Yes.", "Hm."),
        ("<reasoning>Hm.</reasoning>\nYes.", "Yes.", "Hm."),
        ("<seed:think>Hm.</seed:think>Yes.", "Yes.", "Hm."),
        ("[THINK]Hm.[/THINK]Yes.", "Yes.", "Hm."),
        ("<think>Hm, and then the limit", None, "Hm, and then the limit"),
        ("<think></think>Yes.", "Yes.", None),
        ("<think>Hm.</think>", "", "Hm."),
        # The chat template had opened the block, so the server's text begins inside of it.
        ("Hm.\n</think>\nYes.", "Yes.", "Hm."),
        ("Hm.[/THINK]Yes.", "Yes.", "Hm."),
        # No template opens this one: the model speaks about the tag.
        ("End it with </reasoning> then.", "End it with </reasoning> then.", None),
        # Not leading: the model speaks about the tag.
        ("Write <think>x</think> around it.", "Write <think>x</think> around it.", None),
        ("[1] Yes.", "[1] Yes.", None),
        ("<b>Yes.</b>", "<b>Yes.</b>", None),
        # The harmony format of gpt-oss, where the server has no parser for it.
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
            "Yes.",
            "Hm.",
        ),
        (
            "<|start|>assistant<|channel|>commentary to=browser.search <|constrain|>json<|message|>{}<|call|>"
            "<|start|>assistant<|channel|>final<|message|>Yes, <|a mark|> too.",
            "Yes, <|a mark|> too.",
            "{}",
        ),
        ("<|channel|>analysis<|message|>Hm, and then the limit", None, "Hm, and then the limit"),
        ("<|channel|>analysis to the end of it", "<|channel|>analysis to the end of it", None),
        ("", "", None),
        (None, None, None),
    ],
)
def test_a_leading_block_of_reasoning_is_no_text(content: str | None, text: str | None, reasoning: str | None) -> None:
    reply = read_reply("chat", completion(content))
    assert (reply.text, reply.reasoning) == (text, reasoning)


@given(st.text(alphabet=st.sampled_from("<>/|[] \nthink")))
def test_text_without_a_mark_of_reasoning_is_as_it_came(content: str) -> None:
    marks = ("<think", "</think>", "<|channel|>", "[THINK]")
    if not any(mark in content for mark in marks):
        assert split_thought(content) == (content, None)


def test_tokens_that_are_not_counted_are_null() -> None:
    odd = {"prompt_tokens": 2**31, "completion_tokens": -1, "prompt_tokens_details": 3}
    words = {"prompt_tokens": None, "completion_tokens": "5"}
    usages: list[Any] = [None, [], {}, words, {"prompt_tokens": True}, odd]
    for usage in usages:
        reply = read_reply("chat", orjson.dumps(body(usage=usage)))
        counted = (reply.input_tokens, reply.output_tokens, reply.cached_tokens, reply.reasoning_tokens)
        assert counted == (None, None, None, None)


def test_reasoning_that_a_server_counts_in_the_total_alone_is_output() -> None:
    # xAI: 20 for the prompt, 151 for the text, 382 for reasoning, 553 in all, so 533 of output are billed.
    usage = {"prompt_tokens": 20, "completion_tokens": 151, "total_tokens": 553}
    details = {"completion_tokens_details": {"reasoning_tokens": 382}}
    for given_usage in (usage, usage | details):
        reply = read_reply("chat", orjson.dumps(body(usage=given_usage)))
        assert (reply.input_tokens, reply.output_tokens) == (20, 533)
    assert reply.reasoning_tokens == 382


def test_deepseek_s_name_for_cached_tokens_is_known() -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 4}
    assert read_reply("chat", orjson.dumps(body(usage=usage))).cached_tokens == 16


def test_citations_are_each_address_once_in_order() -> None:
    found = [
        {"type": "url_citation", "url_citation": {"url": url, "title": "t", "start_index": 0, "end_index": 3}}
        for url in ("https://b.example.org/1", "https://a.example.org/", "https://b.example.org/1")
    ]
    odd: list[Any] = [None, {"type": "file_citation"}, {"type": "url_citation", "url_citation": None}, {"type": []}]
    reply = read_reply("chat", choice({"content": "Yes.", "annotations": [*found, *odd]}))
    assert reply.citations == ("https://b.example.org/1", "https://a.example.org/")


def test_citations_beside_the_choices_are_read_where_the_message_has_none() -> None:
    reply = read_reply("chat", orjson.dumps(body(citations=["https://a.example.org/", "https://a.example.org/", 3])))
    assert reply.citations == ("https://a.example.org/",)
