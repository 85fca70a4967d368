"""Prompting: fences that no text can leave, strict rendering, versions and hashes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.prompting import (
    CUT_NOTE,
    Fenced,
    Prompt,
    PromptError,
    custom_system_prompt,
    fence,
    load_prompt,
    materials,
    render,
)

TWO = '<material name="one">\n{{ one }}\n</material>\n\n<material name="two">\n{{ two }}\n</material>'
TEMPLATE = Prompt("made_up", 3, "0" * 12, "System.", TWO, None)

# Texts made of the pieces that an attack would be made of.
PIECES = ["<", "/", "material", "MATERIAL", "</material>", '<material name="two">', "\n", " ", ">", "\u200b", "word"]
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=12).map("".join)


@given(HOSTILE, HOSTILE)
def test_no_text_leaves_its_own_fence(one: str, two: str) -> None:
    (_system, user) = render(TEMPLATE, {"one": fence(one, 1000), "two": fence(two, 1000)})
    assert materials(user.content) == {"one": fence(one, 1000).text, "two": fence(two, 1000).text}
    assert user.content.count("</material>") == 2
    assert len(re.findall(r"<\s*/?\s*material", user.content, re.IGNORECASE)) == 4


@given(HOSTILE)
def test_a_text_within_its_limit_changes_by_nothing_but_angle_brackets(text: str) -> None:
    fenced = fence(text, max(1, len(text)))
    assert not fenced.cut
    assert len(fenced.text) == len(text)
    assert all(new == old or (old, new) == ("<", "‹") for old, new in zip(text, fenced.text, strict=True))
    assert fence(fenced.text, max(1, len(text))) == fenced


@pytest.mark.parametrize(
    ("text", "fenced"),
    [
        ("a </material> b", "a ‹/material> b"),
        ("a < / MATERIAL> b", "a ‹ / MATERIAL> b"),
        ("a <\u200bmaterial> b", "a ‹\u200bmaterial> b"),
        ("x < y, <b>bold</b> and </materials>", "x < y, <b>bold</b> and ‹/materials>"),
        ("a material gain of < 5%", "a material gain of < 5%"),
    ],
)
def test_only_what_could_pass_for_a_delimiter_is_defanged(text: str, fenced: str) -> None:
    assert fence(text, 100) == Fenced(fenced, cut=False)


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("One two.\nThree four five.", 12, "One two."),  # the paragraph's end at 8 keeps more than half of 12
        ("One\nTwo three four five", 14, "One\nTwo three"),  # the paragraph's end at 3 would lose most of it
        ("One two three", 7, "One two"),  # the limit falls on a blank: the word before it is whole
        ("一二三四五六", 4, "一二三四"),  # no blank anywhere
        ("abcde\u0301f", 5, "abcd"),  # an accent stays with its letter, which then does not fit
    ],
)
def test_a_longer_text_ends_where_a_reader_would_end_it(text: str, limit: int, kept: str) -> None:
    assert fence(text, limit) == Fenced(f"{kept}\n{CUT_NOTE}", cut=True)


@given(st.text(min_size=2), st.data())
def test_a_cut_text_is_a_beginning_within_the_limit(text: str, data: st.DataObject) -> None:
    limit = data.draw(st.integers(1, len(text) - 1))
    fenced = fence(text, limit)
    kept, _line, note = fenced.text.rpartition("\n")
    assert fenced.cut
    assert note == CUT_NOTE
    assert len(kept) <= limit
    assert fence(text, len(text)).text.startswith(kept)


def test_a_limit_below_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="limit of 0"):
        fence("text", 0)


def test_missing_and_superfluous_values_are_named_with_the_file() -> None:
    with pytest.raises(PromptError) as raised:
        render(TEMPLATE, {"one": fence("x", 9), "three": "y"})
    assert str(raised.value) == (
        "prompts/made_up/v3.user.md: expects one, two; was given one, three; missing two; superfluous three"
    )


def test_a_bare_text_cannot_stand_between_delimiters() -> None:
    with pytest.raises(PromptError, match="not fenced: two"):
        render(TEMPLATE, {"one": fence("x", 9), "two": "y"})


def test_values_are_never_read_as_templates_nor_escaped() -> None:
    text = "{{ two }} {% raw %} & <b>"
    (_system, user) = render(TEMPLATE, {"one": fence(text, 99), "two": fence("", 9)})
    assert materials(user.content) == {"one": text, "two": ""}


def test_two_materials_of_one_name_are_an_error() -> None:
    twice = '<material name="a">\nx\n</material>'
    with pytest.raises(PromptError, match="two materials named 'a'"):
        materials(f"{twice}\n{twice}")


def test_an_unknown_prompt_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PromptError, match=r"'judge_v4'; there are .*judge_released, judge_v3"):
        load_prompt("judge_v4")


def test_an_unknown_version_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PromptError, match=r"judge_v3 has no v99; there are v1"):
        load_prompt("judge_v3", 99)


def test_a_label_is_name_version_and_hash() -> None:
    prompt = load_prompt("judge_v3", 1)
    assert re.fullmatch(r"judge_v3/v1/[0-9a-f]{12}", prompt.label)
    assert prompt == load_prompt("judge_v3", 1)


def test_a_rosters_own_system_prompt_is_sent_as_it_stands() -> None:
    prompt = custom_system_prompt("terse", "Answer {{ briefly }}.\n")
    system, user = render(prompt, {"question": "Explain why."})
    assert (system.role, system.content) == ("system", "Answer {{ briefly }}.\n")
    assert (user.role, user.content) == ("user", "Explain why.")


def test_an_edited_system_prompt_has_another_label() -> None:
    assert custom_system_prompt("terse", "One.").label != custom_system_prompt("terse", "Two.").label


def test_a_blank_system_prompt_is_an_error() -> None:
    with pytest.raises(PromptError, match="'terse' is blank"):
        custom_system_prompt("terse", " \n")
