"""The command line: it tells what a person can mend in a sentence, and never makes a mess of a mistyped word."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from valbench_dagster.cli import main
from valbench_dagster.project_files import package_file, project_file
from valbench_dagster.records import DumpFile
from valbench_dagster.steps.project import open_project


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The environment is what the command is told by: setting it is using it, not patching it.
    monkeypatch.setenv("VALBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VALBENCH_ROSTER", str(project_file("roster.toml")))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def test_the_doctor_says_where_everything_lies(home: Path) -> None:
    result = run("doctor")
    assert result.exit_code == 0
    assert f"home       {home}" in result.output
    assert "6 models, 2 judges, no problem" in result.output
    assert "(not built yet)" in result.output
    assert not home.exists(), "looking writes nothing"


def test_a_snapshot_is_added_and_listed(home: Path) -> None:
    sample = next(package_file("sample").glob("*.xml"))
    result = run("snapshot", "add", "sample-20260101", str(sample))
    assert result.exit_code == 0, result.output
    assert "next: valbench evaluate -s sample-20260101" in result.output
    assert run("snapshot", "list").output == "sample-20260101\tno pairs\n"
    assert (home / "dagster" / "dagster.yaml").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("snapshot", "add", "Sample", "nowhere.xml"), "is no snapshot key"),
        (("snapshot", "add", "sample-20260101", "nowhere.xml"), "nowhere.xml: there is no such file"),
        (("evaluate", "-s", "sample-20260101", "-m", "alined"), "the roster has no model 'alined'; it has: opposed,"),
        (("evaluate", "-s", "sample-20260101", "-m", "aligned"), "Run: valbench snapshot add sample-20260101"),
        (("leaderboard",), "there is no warehouse"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence(home: Path, words: tuple[str, ...], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (home / "dagster").exists(), "a mistyped key becomes no partition"


def test_a_faulty_roster_stops_every_command_with_its_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roster = home.parent / "mine.toml"
    roster.write_text(project_file("roster.toml").read_text(encoding="utf-8").replace("aligned", "Aligned"), "utf-8")
    monkeypatch.setenv("VALBENCH_ROSTER", str(roster))
    for words in (("doctor",), ("demo",), ("evaluate", "-s", "sample-20260101", "-m", "opposed")):
        result = run(*words)
        assert result.exit_code == 1
        assert f"{roster}:" in result.output
        assert "run: valbench doctor" in result.output


def test_the_demo_refuses_to_call_real_models(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = project_file("roster.toml").read_text(encoding="utf-8")
    roster = home.parent / "mine.toml"
    roster.write_text(
        text.replace('base_url = "stand-ins:"', 'base_url = "http://127.0.0.1:9/v1"').replace(
            'provider = "stand-ins"', 'provider = "somebody"'
        ),
        encoding="utf-8",
    )
    monkeypatch.setenv("VALBENCH_ROSTER", str(roster))
    result = run("demo")
    assert result.exit_code == 1
    assert "the demo asks stand-ins only" in result.output
    assert not open_project().facts.partitions(DumpFile)


def test_init_places_the_files_to_edit_and_keeps_those_that_are_there(home: Path) -> None:
    Path("workspace.yaml").write_text("mine", encoding="utf-8")
    result = run("init")
    assert result.output.split() == ["placed", "roster.toml", "kept", "workspace.yaml", "placed", "dagster.yaml"]
    assert Path("workspace.yaml").read_text(encoding="utf-8") == "mine"
    assert Path("roster.toml").read_bytes() == project_file("roster.toml").read_bytes()


def test_prepare_makes_the_sample_a_partition_and_names_the_home_for_the_dagster_command(home: Path) -> None:
    result = run("prepare")
    assert result.exit_code == 0, result.output
    assert Path(".env").read_text(encoding="utf-8") == f"DAGSTER_HOME={home / 'dagster'}\n"
    Path(".env").write_text("OTHER=1\nDAGSTER_HOME=/elsewhere\n", encoding="utf-8")
    assert ".env named /elsewhere and now names" in run("prepare").output
    assert Path(".env").read_text(encoding="utf-8").splitlines() == ["OTHER=1", f"DAGSTER_HOME={home / 'dagster'}"]
