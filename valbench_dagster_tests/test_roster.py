"""The roster: what it accepts, and that it says everything that is wrong with it at once."""

from pathlib import Path

import pytest

from valbench_dagster.llm.calls import Message, Request
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


@pytest.mark.parametrize(
    ("api", "entry", "said"),
    [
        ("chat", 'template = "{system} {question}"', "belongs to the API kind completions"),
        ("completions", "temperature = 0.5", "belongs to the API kind completions, and must stand there"),
        ("completions", 'template = "{system} {queston}"', "'{queston}' is no placeholder"),
        ("completions", 'template = "{question}"', "expected {system} once, found it 0 times"),
        ("chat", "web_search = true", "is offered by the API kind responses alone"),
        ("responses", "max_tokens = 10", "is not what the API kind responses calls it: max_output_tokens"),
        ("chat", "max_output_tokens = 10", "is not what the API kind chat calls it: max_tokens"),
        ("responses", "seed = 7", "is not offered by the API kind responses"),
    ],
)
def test_a_setting_that_an_api_kind_does_not_have_is_a_problem_with_its_place(
    tmp_path: Path, api: str, entry: str, said: str
) -> None:
    text = project_file("roster.toml").read_text(encoding="utf-8")
    text += f'\n[endpoint.lab]\nbase_url = "http://lab/v1"\nprovider = "lab"\napi = "{api}"\n'
    text += f'\n[[model]]\nid = "new"\nendpoint = "lab"\nmodel = "m"\n{entry}\n'
    (tmp_path / "roster.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RosterError) as caught:
        load_roster(tmp_path / "roster.toml")
    key = entry.partition(" ")[0].replace("temperature", "template")
    assert f"model[7].{key}: {said}" in str(caught.value)


def test_a_template_without_the_system_turn_will_do_where_the_prompt_has_none(tmp_path: Path) -> None:
    text = project_file("roster.toml").read_text(encoding="utf-8")
    text += '\n[endpoint.lab]\nbase_url = "http://lab/v1"\nprovider = "lab"\napi = "completions"\n'
    text += (
        '\n[[model]]\nid = "base"\nendpoint = "lab"\nmodel = "m"\nsystem_prompt = "none"\ntemplate = "Q: {question}"\n'
    )
    (tmp_path / "roster.toml").write_text(text, encoding="utf-8")
    roster = load_roster(tmp_path / "roster.toml")
    assert roster.served(roster.respondent("base")).template == "Q: {question}"


def test_prices_and_names_of_a_model_are_no_part_of_its_fingerprint_and_its_own_prices_come_first(
    tmp_path: Path,
) -> None:
    text = project_file("roster.toml").read_text(encoding="utf-8")
    text += '\n[endpoint.lab]\nbase_url = "http://lab/v1"\nprovider = "lab"\nprice_in = 3.0\nprice_out = 10.0\n'
    text += "batch = true\nbatch_discount = 0.5\n"
    text += '\n[[model]]\nid = "cheap"\nendpoint = "lab"\nmodel = "m"\nprice_in = 1.0\nanswers_as = ["m-2"]\n'
    text += '\n[[model]]\nid = "plain"\nendpoint = "lab"\nmodel = "m"\n'
    (tmp_path / "roster.toml").write_text(text, encoding="utf-8")
    roster = load_roster(tmp_path / "roster.toml")
    cheap, plain = (roster.served(roster.respondent(name)) for name in ("cheap", "plain"))
    # A batch costs half: 1.00 and 10.00 a million become 0.50 and 5.00.
    assert (cheap.prices.tokens_in, cheap.prices.tokens_out) == (0.5, 5.0)
    assert (plain.prices.tokens_in, plain.prices.tokens_out) == (1.5, 5.0)
    messages = (Message("user", "hello"),)
    assert Request(cheap, messages).fingerprint == Request(plain, messages).fingerprint
