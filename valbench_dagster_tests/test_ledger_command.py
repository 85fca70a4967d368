"""`valbench ledger`: what it tells of a ledger, and that looking and mistyping change nothing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.cli import main
from valbench_dagster.project_files import project_file
from valbench_dagster_tests.ledger_laws import append, batch_event, record
from valbench_dagster_tests.llm_fakes import request, stored


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The environment is what the command is told by: setting it is using it, not patching it.
    monkeypatch.setenv("VALBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VALBENCH_ROSTER", str(project_file("roster.toml")))
    monkeypatch.delenv("VALBENCH_LEDGER_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def url(home: Path) -> str:
    """A ledger with replies, failures and an open batch."""
    url = f"sqlite:///{home / 'ledger.sqlite'}"
    step = "responses/enwiki-20261101/llama"
    with SqlLedger(url) as ledger:
        append(ledger, *(stored(request(f"q{n}"), b"x", step=step, cost=0.25, latency=n / 10) for n in range(1, 11)))
        append(ledger, stored(request("bad"), None, "HTTP 400: too long", kind="rejected", step=step))
        append(ledger, stored(request("worse"), None, f"HTTP 400: far {'too ' * 50}long", kind="rejected", step=step))
        record(
            ledger,
            batch_event("key-1", "planned", fingerprints=("f1", "f2", "f3"), detail="responses/enwiki-20261101/big"),
            batch_event("key-1", "uploaded", remote_id="file-1"),
            batch_event("key-1", "created", remote_id="batch-77"),
        )
    return url


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["ledger", *words], catch_exceptions=False)


@pytest.mark.parametrize("words", [(), ("show",)])
def test_a_ledger_is_shown_with_size_cost_failures_and_open_batches(url: str, words: tuple[str, ...]) -> None:
    lines = run(*words).output.splitlines()
    served = request("q").served
    assert lines[0].startswith(f"ledger  {url}: 0.")
    # By hand: ten replies at 0.25; latencies 0.1 to 1.0 s, the 5th of them 0.5, the 10th 1.0.
    assert lines[1] == "calls   12, of them 10 replies; cost 2.50; from 2026-11-21 12:00 to 2026-11-21 12:00 UTC"
    endpoint = next(line for line in lines if line.startswith(served.endpoint))
    assert endpoint.split() == [served.endpoint, served.model, "10", "2", "0", "2.50", "0.50", "1.00"]
    step = next(line for line in lines if line.startswith("responses/enwiki-20261101/llama"))
    assert step.split()[2:] == ["10", "120", "0", "60", "0", "2.50"]
    at = lines.index(f"rejected: 2 x HTTP 400 from {served.model} at {served.endpoint}, newest")
    assert lines[at + 1].startswith("  2026-11-21 12:00 HTTP 400: far too too")
    assert lines[at + 1].endswith("...")
    assert lines[-1] == (
        "  key-1: 3 requests, under way, lab calls it batch-77; "
        "planned 2026-11-21 12:00 for responses/enwiki-20261101/big"
    )


def test_everything_is_told_as_json_too(url: str) -> None:
    told = json.loads(run("show", "--json").output)
    assert (told["calls"], told["replies"], len(told["failures"])) == (12, 10, 1)
    assert told["failures"][0]["newest_message"].endswith("long")
    assert told["endpoints"][0]["median_s"] == 0.5
    assert told["costs"][0]["input_tokens"] == 120
    (batch,) = told["open_batches"]
    assert (batch["key"], batch["requests"], batch["batch_id"]) == ("key-1", 3, "batch-77")
    assert "fingerprints" not in batch


def test_calls_move_to_another_ledger_with_their_open_batches(url: str, home: Path, tmp_path: Path) -> None:
    exported = run("export", "calls.parquet")
    assert exported.output == (
        "wrote 12 calls to calls.parquet, and 3 events of open batches to calls.batch_events.parquet; import them "
        "elsewhere by: valbench ledger import calls.parquet\n"
    )
    (home / "ledger.sqlite").rename(tmp_path / "away.sqlite")
    imported = run("import", "calls.parquet").output
    assert imported == ("stored 12 of 12 calls, and 3 of 3 events of open batches; the others were there already\n")
    assert run("import", "calls.parquet").output.startswith("stored 0 of 12 calls, and 0 of 3 events")
    assert "key-1: 3 requests, under way" in run().output


def test_a_part_of_the_calls_can_be_written(url: str) -> None:
    assert run("export", "some.parquet", "--since", "2026-11-22").output.startswith("wrote 0 calls")
    assert run("export", "more.parquet", "--step", "responses/enwiki-20261101").output.startswith("wrote 12 calls to")
    assert run("export", "none.parquet", "--endpoint", "nobody").output.startswith("wrote 0 calls to none.parquet;")


def test_a_batch_can_be_given_up(url: str) -> None:
    wrong = run("abandon", "key-2")
    assert (wrong.exit_code, wrong.output) == (1, "Error: there is no open batch key-2; open are: batch-77\n")
    assert "batch batch-77 is abandoned: its 3 requests are asked again" in run("abandon", "key-1").output
    assert "open batches" not in run().output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "there is no ledger yet: the first run that asks a model makes it"),
        (("export", "calls.parquet"), "there is no ledger yet"),
        (("import", "nowhere.parquet"), "there is no file nowhere.parquet to import"),
        (("abandon", "key-1"), "there is no ledger yet"),
    ],
)
def test_a_look_makes_no_ledger(home: Path, words: tuple[str, ...], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert said in result.output
    assert not home.exists()


def test_a_file_is_neither_written_over_nor_believed(url: str, tmp_path: Path) -> None:
    Path("notes.parquet").write_text("mine")
    for words in (("export", "notes.parquet"), ("import", "notes.parquet")):
        result = run(*words)
        assert result.exit_code == 1
        assert "notes.parquet" in result.output
        assert "Traceback" not in result.output
    assert Path("notes.parquet").read_text() == "mine"


def test_a_database_that_is_away_is_one_sentence_without_its_password(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 9 of loopback takes no connection.
    monkeypatch.setenv("VALBENCH_LEDGER_URL", "postgresql://me:secret@127.0.0.1:9/ledger")
    result = run()
    assert result.exit_code == 1
    assert "the ledger postgresql+psycopg://me:***@127.0.0.1:9/ledger cannot be opened" in result.output
    assert "secret" not in result.output
    assert "Traceback" not in result.output
