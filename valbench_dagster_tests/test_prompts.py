"""The prompts of the package: released files never change, every prompt renders, schemas ask for the named fields."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from valbench_dagster.project_files import package_file
from valbench_dagster.prompting import fence, load_prompt, materials, render

PROMPTS = package_file("prompts")
FILES = sorted(path.relative_to(PROMPTS) for path in PROMPTS.glob("*/v*"))
LOCK = tomllib.loads((PROMPTS / "LOCK.toml").read_text(encoding="utf-8"))

# Values of each prompt, and the fields of its reply in their order (paper, A.1.2, A.1.3, A.6; released code).
VALUES = {
    "annotate_issue": ["title", "heading", "text"],
    "write_pair": ["title", "heading", "text", "rationale"],
    "judge_v3": ["issue", "question_1", "response_1", "question_2", "response_2"],
    "judge_released": ["issue", "question_1", "response_1", "question_2", "response_2"],
}
FIELDS = {
    "annotate_issue": [
        "divergent_issue_rationale",
        "is_divergent_issue",
        "divergent_issue_scale_rationale",
        "divergent_issue_scale",
    ],
    "write_pair": [
        "specific_divergent_issue",
        "for_description",
        "for_question",
        "against_description",
        "against_question",
    ],
    "judge_v3": [
        "central_issue",
        "person_1_positions",
        "person_1_has_no_information",
        "person_1_refusal",
        "person_2_positions",
        "person_2_has_no_information",
        "person_2_refusal",
        "key_points_of_alignment",
        "key_points_of_opposition",
        "alignment_score",
        "value_preference",
    ],
    "judge_released": [
        "person_1_core_position",
        "person_1_has_no_information",
        "person_1_refusal",
        "person_2_core_position",
        "person_2_has_no_information",
        "person_2_refusal",
        "key_points_of_alignment",
        "key_points_of_opposition",
        "alignment_score",
    ],
}
ENUMS = {"divergent_issue_scale": [0, 1, 2, 3, 4, 5], "alignment_score": [-2, -1, 0, 1, 2]}
BOOLEANS = re.compile(r"is_divergent_issue|person_._refusal|person_._has_no_information|value_preference")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_released_prompt_file_is_as_released(file: Path) -> None:
    prompt, name = file.parts
    digest = hashlib.sha256((PROMPTS / file).read_bytes()).hexdigest()
    locked = LOCK.get(prompt, {}).get(name)
    assert locked is not None, (
        f'{file} is not released: add to prompts/LOCK.toml under [{prompt}]: "{name}" = "{digest}"'
    )
    assert digest == locked, (
        f"{file} differs from its released text, which ledgers and verdicts name: restore it with "
        f"`git checkout -- valbench_dagster/prompts/{file}`, and give the new wording the next version number, "
        f"a section in prompts/{prompt}/CHANGES.md and lines in prompts/LOCK.toml"
    )


def test_no_released_file_is_missing() -> None:
    locked = {Path(prompt, name) for prompt, names in LOCK.items() for name in names}
    assert locked - set(FILES) == set()


def test_every_version_has_its_section_of_changes() -> None:
    for file in FILES:
        changes = (PROMPTS / file.parent / "CHANGES.md").read_text(encoding="utf-8")
        assert f"## {file.name.split('.')[0]}\n" in changes, f"{file} has no section in its CHANGES.md"


@pytest.mark.parametrize("name", VALUES)
def test_a_workers_prompt_fences_every_value(name: str) -> None:
    values = {value: fence(f"text of {value}", 100) for value in VALUES[name]}
    system, user = render(load_prompt(name), values)
    assert (system.role, user.role) == ("system", "user")
    assert materials(user.content) == {value: f"text of {value}" for value in VALUES[name]}
    assert "never an instruction to you" in system.content


@pytest.mark.parametrize("name", FIELDS)
def test_a_schema_asks_for_exactly_the_named_fields_in_order(name: str) -> None:
    schema = load_prompt(name, 1).schema
    assert schema is not None
    assert set(schema) == {"type", "properties", "required", "additionalProperties"}
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == schema["required"] == FIELDS[name]


@pytest.mark.parametrize("name", FIELDS)
def test_scores_are_enums_flags_booleans_and_texts_unbounded(name: str) -> None:
    schema = load_prompt(name, 1).schema
    assert schema is not None
    for field, kind in schema["properties"].items():
        if field in ENUMS:
            assert kind == {"type": "integer", "enum": ENUMS[field]}
        elif BOOLEANS.fullmatch(field):
            assert kind == {"type": "boolean"}
        else:
            assert kind == {"type": "string"}


@pytest.mark.parametrize("name", FIELDS)
def test_a_system_turn_explains_every_field_in_the_schemas_order(name: str) -> None:
    system = load_prompt(name, 1).system
    assert system is not None
    listed = re.findall(r"^- `(\w+)`", system.partition("# Reply")[2], re.MULTILINE)
    assert listed == FIELDS[name]


@pytest.mark.parametrize("name", ["respondent_paper", "respondent_neutral", "respondent_none"])
def test_a_respondent_is_sent_the_question_and_nothing_beside_it(name: str) -> None:
    prompt = load_prompt(name)
    *system, user = render(prompt, {"question": "Explain why <b>it</b> was right."})
    assert user.content == "Explain why <b>it</b> was right."
    assert [message.role for message in system] == ([] if name == "respondent_none" else ["system"])
    assert prompt.schema is None


def test_only_the_papers_system_prompt_asks_for_responsibility_and_honesty() -> None:
    paper, neutral = load_prompt("respondent_paper", 1).system, load_prompt("respondent_neutral", 1).system
    assert paper is not None
    assert neutral is not None
    for demand in ("socially aware", "responsible", "honest"):
        assert demand in paper
        assert demand not in neutral
    for prompt in (paper, neutral):
        assert "one or two paragraphs" in prompt


def test_the_judges_differ_in_what_zero_means() -> None:
    v3, released = load_prompt("judge_v3", 1).system, load_prompt("judge_released", 1).system
    assert v3 is not None
    assert released is not None
    assert "- 0: invalid." in v3
    assert "- 0: mixed or neutral." in released
    assert "value_preference" not in released
