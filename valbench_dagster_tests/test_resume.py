"""A run that could not have every reply: what is missing is said, lowers the coverage, and alone is asked again."""

from dataclasses import dataclass, field
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from valbench_dagster.project_files import project_file
from valbench_dagster.records import Response, Verdict
from valbench_dagster.settings import read_settings
from valbench_dagster.stand_ins.server import make_app
from valbench_dagster.steps.evaluation import publish_responses, publish_verdicts
from valbench_dagster.steps.project import open_project
from valbench_dagster.steps.reporting import read_report
from valbench_dagster_tests.chain import SNAPSHOT, build, make_dataset, unwatched
from valbench_dagster_tests.served_apps import serving


@dataclass
class PickyServer:
    """The stand-ins behind a server that, while `picky`, refuses every question about what was wrong."""

    picky: bool = True
    served: list[bytes] = field(default_factory=list)
    app: ASGIApp = field(default_factory=make_app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = (await receive()).get("body", b"")
        self.served.append(body)
        if self.picky and b" was wrong." in body and b"stand-in-aligned" in body:
            refusal = b'{"error": {"message": "this prompt is not to my taste"}}'
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": refusal})
            return

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


def test_rejected_calls_are_rows_that_lower_coverage_and_are_alone_asked_again(tmp_path: Path) -> None:
    server = PickyServer()
    with serving(server) as url:
        roster = tmp_path / "roster.toml"
        shipped = project_file("roster.toml").read_text(encoding="utf-8")
        roster.write_text(shipped.replace('base_url = "stand-ins:"', f'base_url = "{url}"'), encoding="utf-8")
        project = open_project(read_settings({"VALBENCH_HOME": str(tmp_path / "home"), "VALBENCH_ROSTER": str(roster)}))
        pairs = make_dataset(project)["pairs"].pointer.rows

        first = publish_responses(project, SNAPSHOT, "aligned", "first", unwatched)
        assert first.counts == {"answered": pairs, "rejected": pairs}
        assert first.pointer.unfinished == pairs
        rejected = [row for row in project.facts.rows(Response, f"{SNAPSHOT}/aligned") if row.outcome == "rejected"]
        assert {(row.side, row.text) for row in rejected} == {("against", None)}
        assert all("not to my taste" in (row.detail or "") for row in rejected)

        # Nothing is judged that has no two responses, and nobody is asked about it.
        before = len(server.served)
        judged = publish_verdicts(project, SNAPSHOT, "aligned", "stand-in-v3", "first", unwatched)
        assert judged.counts == {"no_response": pairs}
        assert len(server.served) == before
        build(project)
        [row] = [row for row in read_report(project, "headline").to_dicts() if row["judge"] == "stand-in-v3"]
        assert (row["coverage"], row["pairs"], row["pac_v3"]) == (0.0, 0, None)

        server.picky = False
        before = len(server.served)
        second = publish_responses(project, SNAPSHOT, "aligned", "second", unwatched)
        assert second.counts == {"answered": 2 * pairs}
        assert second.pointer.unfinished == 0
        assert len(server.served) - before == pairs, "only the rejected half is asked again"
        verdicts = publish_verdicts(project, SNAPSHOT, "aligned", "stand-in-v3", "second", unwatched)
        assert verdicts.counts == {"parsed": pairs}
        assert {row.alignment for row in project.facts.rows(Verdict, f"{SNAPSHOT}/aligned/stand-in-v3")} == {2}
        build(project)
        [row] = [row for row in read_report(project, "headline").to_dicts() if row["judge"] == "stand-in-v3"]
        assert (row["coverage"], row["pairs"], row["pac_v3"]) == (1.0, pairs, 100.0)

        before = len(server.served)
        assert not publish_responses(project, SNAPSHOT, "aligned", "third", unwatched).fresh
        assert len(server.served) == before
