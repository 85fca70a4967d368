"""Whether the model that a reply names is the one that was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.llm.served_names import LONGEST_NAME, fits

FITS = [
    ("gpt-4o", "gpt-4o"),
    ("gpt-4o", "GPT-4o"),
    ("gpt-4o", "gpt-4o-2024-08-06"),
    ("gpt-4o-2024-08-06", "gpt-4o"),
    ("gpt-4", "gpt-4-0613"),
    ("gpt-4-turbo", "gpt-4-turbo-2024-04-09"),
    ("o1", "o1-2024-12-17"),
    ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
    ("claude-3-5-sonnet@20240620", "claude-3-5-sonnet-20240620"),
    ("anthropic.claude-3-5-sonnet-20241022-v2:0", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
    ("gemini-1.5-pro", "gemini-1.5-pro-002"),
    ("gemini-2.0-flash", "models/gemini-2.0-flash-001"),
    ("gemini-2.5-flash-preview", "gemini-2.5-flash-preview-04-17"),
    ("mistral-small-latest", "mistral-small-2506"),
    ("google/gemma-3-27b-it", "gemma-3-27b-it"),
    ("gemma-3-27b-it", "google/gemma-3-27b-it"),
    ("google/gemma-3-27b-it", "openrouter/google/gemma-3-27b-it"),
    ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/llama-3.3-70b-instruct"),
    ("deepseek/deepseek-r1:free", "deepseek/deepseek-r1"),
    ("deepseek-r1:free", "deepseek/deepseek-r1-0528:free"),
    ("llama3", "llama3:latest"),
    ("tiny-llama", "/models/tiny-llama.gguf"),
    ("tiny-llama", "C:\\models\\tiny-llama.gguf"),
    ("/models/llama-3-8b", "llama-3-8b"),
    ("accounts/fireworks/models/llama-v3p1-8b-instruct", "accounts/fireworks/models/llama-v3p1-8b-instruct"),
    ("anything", None),
]

OTHERS = [
    ("gpt-9", "tiny-llama"),
    ("gpt-4", "gpt-4o"),
    ("gpt-4o", "gpt-4o-mini"),
    ("gpt-4o-mini", "gpt-4o"),
    ("gpt-4", "gpt-4.1"),
    ("gpt-4", "gpt-4-32k"),
    ("gpt-4", "gpt-4-turbo"),
    ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
    ("gemini-1.5-pro-002", "gemini-1.5-pro-001"),
    ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
    ("o3", "o3-mini"),
    ("claude-3", "claude-3-5-sonnet"),
    ("llama-3", "llama-3-8b"),
    ("qwen2.5:7b", "qwen2.5:72b"),
    ("glm-4", "glm-4-9b"),
    ("meta-llama/Llama-3.3-70B-Instruct", "unsloth/Llama-3.3-70B-Instruct"),
    ("llama", "a-llama"),
    ("x", ""),
]


@pytest.mark.parametrize(("asked", "answered"), FITS)
def test_another_spelling_of_the_model_asked_for_fits(asked: str, answered: str | None) -> None:
    assert fits(asked, answered)


@pytest.mark.parametrize(("asked", "answered"), OTHERS)
def test_another_model_does_not_fit(asked: str, answered: str) -> None:
    assert not fits(asked, answered)


def test_names_that_the_roster_allows_fit_by_the_same_rules_and_a_star_is_any() -> None:
    # A deployment of one's own naming answers with the model's name.
    assert not fits("my-deployment", "gpt-4o-2024-08-06")
    assert fits("my-deployment", "gpt-4o-2024-08-06", ("gpt-4o",))
    assert not fits("my-deployment", "gpt-4o-mini", ("gpt-4o",))
    assert fits("my-deployment", "whatever", ("gpt-4o", "*"))


@given(st.text(max_size=60), st.text(max_size=60))
def test_it_does_not_matter_which_of_two_names_was_asked(one: str, other: str) -> None:
    assert fits(one, one)
    assert fits(one, other) == fits(other, one)


def test_a_name_as_long_as_a_book_is_no_model_and_takes_no_time() -> None:
    assert not fits("m", "m" + ":a" * 500_000)
    assert fits("m", "m:" + "a" * (LONGEST_NAME - 2))
