"""What an endpoint's entry may change without a call: its address and limits; what asks everything anew: a revision.

Through the real steps, over real HTTP, with servers that count what they are asked for.
"""

from dataclasses import dataclass, field
from pathlib import Path

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from valbench_dagster.project_files import project_file
from valbench_dagster.settings import read_settings
from valbench_dagster.stand_ins.server import make_app
from valbench_dagster.steps.evaluation import publish_responses
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster_tests.chain import SNAPSHOT, make_dataset, unwatched
from valbench_dagster_tests.served_apps import serving


@dataclass
class Counting:
    """The stand-ins behind a server that counts calls by model."""

    asked: list[str] = field(default_factory=list)
    app: ASGIApp = field(default_factory=make_app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = (await receive()).get("body", b"")
        self.asked.append(orjson.loads(body)["model"])

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


def project_with(tmp_path: Path, **replaced: tuple[str, str]) -> Project:
    """Open the project of `tmp_path` with the shipped roster, in which texts are replaced."""
    text = project_file("roster.toml").read_text(encoding="utf-8")
    for old, new in replaced.values():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "roster.toml").write_text(text, encoding="utf-8")
    home, roster = str(tmp_path / "home"), str(tmp_path / "roster.toml")
    return open_project(read_settings({"VALBENCH_HOME": home, "VALBENCH_ROSTER": roster}))


def at(url: str) -> tuple[str, str]:
    return 'base_url = "stand-ins:"', f'base_url = "{url}"'


def test_moving_an_endpoint_or_changing_its_limits_asks_nothing(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    with serving(first) as old, serving(second) as new:
        project = project_with(tmp_path, address=at(old))
        pairs = make_dataset(project)["pairs"].pointer.rows
        publish_responses(project, SNAPSHOT, "aligned", "first", unwatched)
        assert first.asked.count("stand-in-aligned") == 2 * pairs

        limits = ("concurrency = 64", "concurrency = 3\ntimeout_s = 7\nprice_in = 2.5\nattempts = 2")
        moved = project_with(tmp_path, address=at(new), limits=limits)
        assert not publish_responses(moved, SNAPSHOT, "aligned", "second", unwatched).fresh
        # Facts that are gone are made again from the ledger alone.
        (moved.settings.home / "facts").rename(tmp_path / "gone")
        again = project_with(tmp_path, address=at(new), limits=limits)
        make_dataset(again, SNAPSHOT)
        report = publish_responses(again, SNAPSHOT, "aligned", "third", unwatched)
        assert report.fresh
        assert report.counts == {"answered": 2 * pairs}
    assert second.asked == []


def test_a_second_endpoint_of_the_same_provider_shares_the_ledger(tmp_path: Path) -> None:
    server = Counting()
    with serving(server) as url:
        project = project_with(tmp_path, address=at(url))
        make_dataset(project)
        publish_responses(project, SNAPSHOT, "aligned", "first", unwatched)
        asked = len(server.asked)
        second = f'[endpoint.other]\nbase_url = "{url}"\nprovider = "stand-ins"\n\n[[model]]\nid = "aligned"'
        moved = ('[[model]]\nid = "aligned"', second)
        model = (
            'family = "stand-in"\nendpoint = "stand-ins"\nmodel = "stand-in-aligned"',
            'family = "stand-in"\nendpoint = "other"\nmodel = "stand-in-aligned"',
        )
        both = project_with(tmp_path, address=at(url), moved=moved, model=model)
        assert both.roster.respondent("aligned").endpoint == "other"
        publish_responses(both, SNAPSHOT, "aligned", "second", unwatched)
        assert len(server.asked) == asked


def test_raising_a_revision_asks_that_model_everything_again_and_nobody_else_anything(tmp_path: Path) -> None:
    server = Counting()
    with serving(server) as url:
        project = project_with(tmp_path, address=at(url))
        pairs = make_dataset(project)["pairs"].pointer.rows
        for model in ("aligned", "refuser"):
            publish_responses(project, SNAPSHOT, model, "first", unwatched)
        server.asked.clear()
        revised = (
            'model = "stand-in-aligned"\nsystem_prompt = "paper"',
            'model = "stand-in-aligned"\nrevision = 2\nsystem_prompt = "paper"',
        )
        raised = project_with(tmp_path, address=at(url), revised=revised)
        for model in ("aligned", "refuser"):
            publish_responses(raised, SNAPSHOT, model, "second", unwatched)
        assert server.asked == ["stand-in-aligned"] * (2 * pairs)
        # And the replies to the first revision are still there.
        server.asked.clear()
        publish_responses(project, SNAPSHOT, "aligned", "third", unwatched)
        assert server.asked == []
