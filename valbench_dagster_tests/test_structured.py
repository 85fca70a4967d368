"""Structured replies: which faults are found and in what words, and that our schemas are ones that servers take."""

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from valbench_dagster.llm.calls import Question, Reply, Request
from valbench_dagster.llm.finish_reasons import (
    BLANKS,
    ends_without_words,
    is_blank_loop,
    is_broken_off,
    is_filtered,
    is_truncated,
    wants_more_tokens,
)
from valbench_dagster.llm.settle import advance
from valbench_dagster.llm.structured import fault_against, read_structured
from valbench_dagster.prompting import load_prompt
from valbench_dagster_tests.llm_fakes import request

PROMPTS = ("annotate_issue", "write_pair", "judge_v3", "judge_released")


class Score(BaseModel):
    score: int


class Exactly(Score):
    model_config = ConfigDict(extra="forbid")


def replied(text: str | None, finish_reason: str | None = "stop", refusal: str | None = None) -> Reply:
    return Reply(text, None, finish_reason, refusal, "m", 10, 5)


def test_an_object_of_the_model_is_read() -> None:
    assert read_structured(Score, replied(' {"score": 2}\n')).score == 2
    assert read_structured(Score, replied('{"score": 2}', None)).score == 2


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (replied(None, "stop", "I can't."), "refused: I can't."),
        (replied('{"score": 2}', "content_filter"), "stopped by the server's content filter"),
        (replied(None, "SAFETY"), "stopped by the server's content filter (finish reason SAFETY)"),
        (replied(None, "length"), "empty reply (finish reason length)"),
        (replied(None, "tool_calls"), "empty reply (finish reason tool_calls)"),
        (replied(""), "empty reply"),
        (replied(" \n"), "empty reply"),
        (replied(" \n", "length"), "white space without end (finish reason length)"),
        (replied('{"score":' + "\n" * (BLANKS + 1), "length"), "white space without end"),
        (replied('{"score":' + "\n" * BLANKS, "MAX_TOKENS"), "cut short by the token limit"),
        (replied('{"score": 2', "length"), "cut short by the token limit"),
        (replied('{"score": 2', "stop"), "Expecting ',' delimiter"),
        (replied("Two."), "Expecting value"),
        (replied('{"score": "2"}'), "not as the schema says: score"),
        (replied("\0"), "Expecting value"),
    ],
)
def test_every_fault_has_its_words(reply: Reply, fault: str) -> None:
    assert (fault_against(Score)(reply) or "").startswith(fault)


def test_a_fault_is_short_whatever_the_model_wrote() -> None:
    fault = fault_against(Exactly)(replied(json.dumps({"x" * 100_000: 1})))
    assert len(fault or "") < 1_100


def test_an_object_with_much_white_space_is_none_the_worse() -> None:
    assert fault_against(Score)(replied('{"score":' + " " * 500 + "2}" + "\n" * 500)) is None


@pytest.mark.parametrize(
    "word",
    ["length", "LENGTH", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length", "incomplete", "max-tokens"],
)
def test_each_vendor_s_word_for_the_limit_is_known(word: str) -> None:
    assert is_truncated(replied("x", word))
    assert not is_filtered(replied("x", word))
    assert ends_without_words(word)


@pytest.mark.parametrize(
    "word",
    [
        *("content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "refusal", "sensitive"),
        *("guardrail_intervened", "content_filtered", "content_filter: PROHIBITED_CONTENT", "content-filter"),
    ],
)
def test_each_vendor_s_word_for_the_filter_is_known(word: str) -> None:
    assert is_filtered(replied("x", word))
    assert not is_truncated(replied("x", word))
    assert ends_without_words(word)


@pytest.mark.parametrize(
    "word",
    [None, "", "stop", "STOP", "end_turn", "eos", "eos_token", "stop_sequence", "tool_calls", "COMPLETE", "ſtop"],
)
def test_a_reply_that_ended_by_itself_is_neither(word: str | None) -> None:
    reply = replied("x", word)
    assert not is_truncated(reply)
    assert not is_filtered(reply)
    assert not ends_without_words(word)
    assert not is_broken_off(word)


def test_a_cut_reply_is_asked_again_with_twice_the_limit_and_one_in_a_loop_with_the_same() -> None:
    question = Question(request("q", settings={"max_tokens": 100}), fault_against(Score), reasks=1)
    fingerprint = question.request.fingerprint
    for text, limit in (('{"score": ', 200), (None, 200), ('{"score": ' + " " * 300, 100)):
        reply = replied(text, "length")
        assert wants_more_tokens(reply) == (limit == 200)
        assert is_blank_loop(reply) == (limit == 100)
        again = advance(question, {fingerprint: reply})
        assert isinstance(again, Request)
        assert again.served.settings == {"max_tokens": limit}


STRICT_KEYWORDS = {"type", "properties", "required", "additionalProperties", "enum"}
"""All that our schemas need: a part of what OpenAI's strict mode takes, and of what every server of the kind does."""


def objects(schema: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [found for each in schema.get("properties", {}).values() for found in objects(each)]
    return [schema, *inner]


@pytest.mark.parametrize("name", PROMPTS)
def test_the_schemas_of_the_prompts_keep_to_the_rules_of_strict_mode(name: str) -> None:
    # https://platform.openai.com/docs/guides/structured-outputs: every key required, no others allowed, few keywords.
    schema = load_prompt(name).schema
    assert schema is not None
    for each in objects(dict(schema)):
        assert set(each) <= STRICT_KEYWORDS
        if each["type"] == "object":
            assert list(each["required"]) == list(each["properties"])
            assert each["additionalProperties"] is False
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert len(json.dumps(schema)) < 15_000
