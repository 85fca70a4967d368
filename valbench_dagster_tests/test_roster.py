"""The roster: what it accepts, and that it says everything that is wrong with it at once."""

from pathlib import Path

import pytest

from valbench_dagster.project_files import project_file
from valbench_dagster.roster import Roster, RosterError
from valbench_dagster.roster_file import load_roster

GOOD = """
[defaults]
annotator = "small"
writer = "small"
judges = ["strict"]

[endpoint.lab]
base_url = "http://127.0.0.1:8000/v1"
provider = "lab"
extra_body = { top_k = 5, seed = 1 }

[worker.small]
endpoint = "lab"
model = "org/small"
max_tokens = 100

[judge.strict]
worker = "small"
prompt = "judge_v3"

[[model]]
id = "big"
endpoint = "lab"
model = "org/big"
temperature = 0.1
seed = 7
"""


def load(tmp_path: Path, text: str) -> Roster:
    path = tmp_path / "roster.toml"
    path.write_text(text, encoding="utf-8")
    return load_roster(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(RosterError) as error:
        load(tmp_path, text)
    return str(error.value).splitlines()[1:-1]


def test_the_shipped_roster_is_sound_and_holds_only_stand_ins() -> None:
    roster = load_roster(project_file("roster.toml"))
    assert roster.model_ids() == ["opposed", "aligned", "refuser", "half-refuser", "uninformed", "mixture"]
    assert all(roster.is_stand_in(entry.endpoint) for entry in [*roster.model, *roster.worker.values()])


def test_a_setting_that_is_left_out_is_not_sent(tmp_path: Path) -> None:
    roster = load(tmp_path, GOOD)
    assert roster.served(roster.worker["small"]).settings == {"top_k": 5, "seed": 1, "max_tokens": 100}


def test_an_entry_s_setting_wins_over_its_endpoint_s_extra_body(tmp_path: Path) -> None:
    roster = load(tmp_path, GOOD)
    assert roster.served(roster.respondent("big")).settings == {"top_k": 5, "seed": 7, "temperature": 0.1}


def test_pairs_of_the_test_split_are_asked_unless_the_roster_says_otherwise(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).defaults.split == "test"


def test_all_problems_are_reported_at_once_with_file_line_and_key(tmp_path: Path) -> None:
    text = GOOD.replace('judges = ["strict"]', 'judges = ["lenient"]').replace(
        'id = "big"\nendpoint = "lab"', 'id = "big"\nendpoint = "attic"'
    )
    path = tmp_path / "roster.toml"
    # Lines are counted in GOOD, which begins with an empty one: judges on 5, the model's endpoint on 23.
    assert problems(tmp_path, text) == [
        f"{path}:5: defaults.judges: there is no [judge.lenient]; there are: strict",
        f"{path}:23: model[1].endpoint: there is no [endpoint.attic]; there are: lab",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'provider = "lab"',
            'provider = "lab"\nconcurency = 3',
            "endpoint.lab.concurency: no such key here; is it misspelt?",
        ),
        ('provider = "lab"', "", "endpoint.lab.provider: is missing"),
        ('id = "big"', 'id = "org/Big"', "model[1].id: string should match"),
        ("temperature = 0.1", 'temperature = "warm"', "model[1].temperature: input should be a valid number"),
        ('prompt = "judge_v3"', 'prompt = "judge_v9"', "judge.strict.prompt: "),
        ('prompt = "judge_v3"', 'prompt = "write_pair"', "judge.strict.prompt: 'write_pair' is no judge prompt"),
        ('id = "big"', 'id = "big"\nsystem_prompt = "rude"', "model[1].system_prompt: "),
        ('writer = "small"', 'writer = "large"', "defaults.writer: there is no [worker.large]; there are: small"),
    ],
)
def test_each_kind_of_mistake_has_its_sentence(tmp_path: Path, old: str, new: str, expected: str) -> None:
    [line] = problems(tmp_path, GOOD.replace(old, new))
    assert expected in line


def test_a_model_that_stands_twice_is_refused(tmp_path: Path) -> None:
    entry = GOOD[GOOD.index("[[model]]") :]
    [line] = problems(tmp_path, GOOD + entry)
    assert line.endswith("model[2].id: 'big' stands twice")


def test_a_file_that_is_no_toml_is_named_with_the_parser_s_words(tmp_path: Path) -> None:
    with pytest.raises(RosterError, match=r"roster\.toml: .*line 2"):
        load(tmp_path, "[defaults]\nsplit = \n")


def test_a_system_prompt_of_the_roster_s_own_replaces_the_shipped_one(tmp_path: Path) -> None:
    roster = load(tmp_path, GOOD + 'system_prompt = "terse"\n[system_prompt.terse]\ntext = "Be brief."\n')
    prompt = roster.respondent_prompt(roster.respondent("big"))
    assert (prompt.name, prompt.system) == ("terse", "Be brief.")


def test_an_unknown_model_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(RosterError, match="it has: big"):
        load(tmp_path, GOOD).respondent("bigger")
