"""Runs that cannot go well end at once, with one sentence, and leave nothing behind but the failure.

The command is given rosters that name a wrong key, model, address or variable, in front of a server that counts. The
whole run is tested, from the command line down; what each fault is called is tested beside the transport.
"""

import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result
from starlette.types import Receive, Scope, Send

from valbench_dagster.adapters.facts import FactsError
from valbench_dagster.cli import main
from valbench_dagster.records import Response
from valbench_dagster.steps.project import open_project
from valbench_dagster_tests.chain import SNAPSHOT, make_dataset
from valbench_dagster_tests.homes import Home
from valbench_dagster_tests.served_apps import serving

KEY = "sk-a-secret-of-32-characters-0123"
AT_ONCE_S = 30.0
"""Far less than the five minutes that an endpoint may be down; most of it is Dagster's own."""

ROSTER = """
[defaults]
split = "all"
annotator = "w"
writer = "w"
judges = ["j"]

[endpoint.stand-ins]
base_url = "stand-ins:"
provider = "stand-ins"

[endpoint.lab]
base_url = "{url}"
provider = "lab"
key_env = "LAB_KEY"

[worker.w]
endpoint = "stand-ins"
model = "stand-in-{worker}"

[judge.j]
worker = "w"
prompt = "judge_v3"

[[model]]
id = "asked"
endpoint = "lab"
model = "{model}"
"""


@dataclass
class Strict:
    """The stand-ins behind a server that wants the key, and answers any name as `served` where that is set."""

    served: str | None = None
    key: str = KEY
    posts: int = 0
    headers: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = (await receive()).get("body", b"")
        self.posts += 1
        given = dict(scope["headers"]).get(b"authorization", b"").decode()
        if given != f"Bearer {self.key}":
            # Some servers show the key that they were given.
            await _answer(send, 401, {"error": {"message": f"Incorrect API key provided: {given}", "code": "no_key"}})
            return
        model = orjson.loads(body)["model"]
        if self.served is None and model != "stand-in-aligned":
            await _answer(send, 404, {"error": {"message": f"The model `{model}` does not exist"}})
            return
        message = {"role": "assistant", "content": "It was right."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await _answer(send, 200, {"model": self.served or model, "choices": [choice]})


async def _answer(send: Send, status: int, body: object) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})


@dataclass
class Place:
    """A home with a dataset, and the roster in it to be replaced."""

    folder: Path

    def roster(self, url: str, model: str = "stand-in-aligned", worker: str = "judge") -> None:
        text = ROSTER.format(url=url, model=model, worker=worker)
        (self.folder / "roster.toml").write_text(text, encoding="utf-8")

    def evaluate(self) -> tuple[Result, float]:
        before = time.monotonic()
        result = CliRunner().invoke(main, ["evaluate", "-s", SNAPSHOT, "-m", "asked"], catch_exceptions=False)
        return result, time.monotonic() - before

    def everything_written(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    # The environment is what the command is told by: setting it is using it, not patching it.
    monkeypatch.setenv("VALBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VALBENCH_ROSTER", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("LAB_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    make_dataset(open_project())  # by the shipped roster: there is none here yet
    return Place(tmp_path)


def assert_one_sentence_and_no_facts(place: Place, result: Result, seconds: float, *said: str) -> None:
    assert result.exit_code == 1, result.output
    for words in said:
        assert words in result.output
    assert "Traceback" not in result.output
    assert seconds < AT_ONCE_S
    assert KEY not in result.output
    assert KEY.encode() not in place.everything_written()
    with pytest.raises((FactsError, LookupError)):
        next(iter(open_project().facts.rows(Response, f"{SNAPSHOT}/asked")))


def test_a_wrong_key_stops_the_run_at_the_first_reply(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Strict(key="another")
    with serving(server) as url:
        place.roster(url)
        result, seconds = place.evaluate()
    assert_one_sentence_and_no_facts(place, result, seconds, "endpoint lab refused", "401", "key_env of [endpoint.lab]")
    assert server.posts < 128, "few more than were in flight when the first was refused"
    assert {(kind, model) for _, kind, model in Home(place.folder / "home").asked() if model == "stand-in-aligned"} == {
        ("failed", "stand-in-aligned")
    }


def test_an_unknown_model_stops_the_run_with_its_name(place: Place) -> None:
    with serving(Strict()) as url:
        place.roster(url, model="stand-in-alined")
        result, seconds = place.evaluate()
    assert_one_sentence_and_no_facts(place, result, seconds, "endpoint lab refused", "404", "'stand-in-alined'")


def test_a_server_that_answers_any_name_is_found_out_by_its_reply(place: Place) -> None:
    with serving(Strict(served="tiny-llama")) as url:
        place.roster(url, model="gpt-9")
        result, seconds = place.evaluate()
    assert_one_sentence_and_no_facts(place, result, seconds, "`tiny-llama`", "`gpt-9`", "answers_as")


def test_an_address_where_nothing_listens_stops_the_run(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place.roster(f"http://127.0.0.1:{port}/v1")
    result, seconds = place.evaluate()
    assert_one_sentence_and_no_facts(place, result, seconds, "endpoint lab", "check base_url of [endpoint.lab]")


def test_a_key_that_is_not_in_the_environment_is_named_and_nobody_is_called(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_KEY")
    server = Strict()
    with serving(server) as url:
        place.roster(url)
        result, seconds = place.evaluate()
    assert_one_sentence_and_no_facts(place, result, seconds, "LAB_KEY, which is not set: export it")
    assert server.posts == 0


def test_the_same_roster_with_the_right_key_runs(place: Place) -> None:
    """What the tests above hold against: nothing else in this roster stops a run."""
    with serving(Strict()) as url:
        place.roster(url)
        CliRunner().invoke(main, ["evaluate", "-s", SNAPSHOT, "-m", "asked"], catch_exceptions=False)
    rows = list(open_project().facts.rows(Response, f"{SNAPSHOT}/asked"))
    assert rows
    assert {row.outcome for row in rows} == {"answered"}
