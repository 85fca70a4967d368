"""A real `dagster dev`, as `make dev` starts it, in a folder of its own; and what the UI asks of it, over GraphQL.

The process runs in a process group of its own, so that the runs it launched end with it and nothing else does. Waiting
is polling with a deadline; a failure shows the end of its log.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError

from valbench_dagster_tests.servers import environment, run, valbench

T = TypeVar("T")

LOCATION = "valbench_dagster"
REPOSITORY = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}
LOOK_EVERY_S = 0.25
START_WITHIN_S = STOP_WITHIN_S = 120.0
SHOWN_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the runs page shows it: times are seconds since the epoch, null before they happen."""

    run_id: str
    job: str
    status: str
    created: float
    start: float | None
    end: float | None
    tags: Mapping[str, str]
    assets: frozenset[str]

    @property
    def partition(self) -> str | None:
        """The partition key; null for a run of none."""
        return self.tags.get("dagster/partition")


@dataclass(frozen=True, slots=True)
class DagsterDev:
    """A running `dagster dev`: `folder` is where it and its commands run, `env` their whole environment."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    env: Mapping[str, str]
    log: Path

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    def shown(self) -> str:
        """Give the end of its log, for the message of a failure."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return f"dagster dev, return code {self.process.poll()}\n--- its log\n{text[-SHOWN_CHARACTERS:]}"

    def wait_for(self, what: str, look: Callable[[], T | None], within_s: float = 120.0) -> T:
        """Look until there is something true to give; fails, with the log, when time runs out or the server ends."""
        deadline = time.monotonic() + within_s
        while True:
            if found := look():
                return found
            assert time.monotonic() < deadline, f"no {what} within {within_s} s: {self.shown()}"
            try:
                self.process.wait(LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"ended while waiting for {what}: {self.shown()}")

    def command(self, *arguments: str, within_s: float = 120.0) -> str:
        """Run a command of this environment, such as `dagster` or `valbench`, beside the server; gives what it printed.

        It must end well.
        """
        path = Path(valbench()).with_name(arguments[0])
        name = f"command-{time.monotonic_ns()}"
        return run([path, *arguments[1:]], self.folder, self.env, name, within_s).printed()

    def query(self, text: str, **variables: object) -> dict[str, Any]:
        """Ask over GraphQL and give `data`; fails on an error in the answer."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310 - http on loopback
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - as above
            answer = json.load(reply)
        assert "errors" not in answer, f"{answer['errors']}\n{text}"
        data: dict[str, Any] = answer["data"]
        return data

    def is_ready(self) -> bool:
        """Tell whether the code location is loaded and every daemon has given a sign of life."""
        try:
            data = self.query(
                """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError {
                __typename ... on PythonError { message } } } } }
                instance { daemonHealth { allDaemonStatuses { healthy } } } }"""
            )
        except (URLError, OSError):
            return False
        entries = data["workspaceOrError"]["locationEntries"]
        broken = [
            entry["locationOrLoadError"] for entry in entries if "message" in (entry["locationOrLoadError"] or {})
        ]
        assert not broken, f"the code location does not load: {broken}"
        daemons = data["instance"]["daemonHealth"]["allDaemonStatuses"]
        return bool(entries) and entries[0]["loadStatus"] == "LOADED" and all(each["healthy"] for each in daemons)

    def reload(self) -> None:
        """Press "Reload definitions"."""
        answer = self.query(
            """mutation($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
            ... on WorkspaceLocationEntry { loadStatus locationOrLoadError { __typename } } } }""",
            name=LOCATION,
        )
        loaded = answer["reloadRepositoryLocation"].get("locationOrLoadError") or {}
        assert loaded.get("__typename") == "RepositoryLocation", f"{answer}\n{self.shown()}"

    def backfill(self, job: str, assets: Sequence[str], partitions: Sequence[str]) -> str:
        """Launch a backfill as the page of a job does ("Materialize all"); gives its id."""
        answer = self.query(
            """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } } }""",
            params={
                "selector": {"partitionSetName": f"{job}_partition_set", "repositorySelector": REPOSITORY},
                "assetSelection": [{"path": asset.split("/")} for asset in assets],
                "partitionNames": list(partitions),
                "fromFailure": False,
            },
        )["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["backfillId"])

    def runs(self, **filters: object) -> list[Run]:
        """Give the runs, newest first; `filters` are those of GraphQL's RunsFilter."""
        found = self.query(
            """query($filter: RunsFilter) { runsOrError(filter: $filter) { __typename ... on Runs { results {
            runId jobName status creationTime startTime endTime tags { key value } assetSelection { path } } } } }""",
            filter=filters,
        )["runsOrError"]["results"]
        return [
            Run(
                run_id=each["runId"],
                job=each["jobName"],
                status=each["status"],
                created=each["creationTime"],
                start=each["startTime"],
                end=each["endTime"],
                tags={tag["key"]: tag["value"] for tag in each["tags"]},
                assets=frozenset("/".join(key["path"]) for key in each["assetSelection"] or ()),
            )
            for each in found
        ]

    def runs_of_backfill(self, backfill: str) -> list[Run]:
        """Give the runs of a backfill."""
        return self.runs(tags=[{"key": "dagster/backfill", "value": backfill}])

    def events(self, run_id: str) -> list[str]:
        """Give the messages of the event log of a run."""
        found = self.query(
            """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { hasMore events {
            ... on MessageEvent { message } } } } }""",
            id=run_id,
        )["logsForRun"]
        assert not found["hasMore"], f"the event log of {run_id} is longer than a page"
        return [event["message"] for event in found["events"]]

    def partitions(self, asset: str) -> tuple[frozenset[str], frozenset[str]]:
        """Give all partition keys of an asset, and those that are materialised."""
        key = {"path": asset.split("/")}
        node = "assetNodeOrError(assetKey: $key) { ... on AssetNode"
        found = self.query(f"query($key: AssetKeyInput!) {{ {node} {{ partitionKeys }} }} }}", key=key)
        keys = found["assetNodeOrError"]["partitionKeys"]
        latest = self.query(
            f"query($key: AssetKeyInput!, $keys: [String!]!) {{ {node} {{ "
            "latestMaterializationByPartition(partitions: $keys) { partition } } } }",
            key=key,
            keys=keys,
        )["assetNodeOrError"]["latestMaterializationByPartition"]
        return frozenset(keys), frozenset(each["partition"] for each in latest if each)

    def checks(self, asset: str) -> dict[str, str | None]:
        """Give the checks of an asset with the state of their latest execution, such as `SUCCEEDED`; null for none."""
        found = self.query(
            """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError {
            ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } } } } }""",
            key={"path": asset.split("/")},
        )["assetNodeOrError"]["assetChecksOrError"]["checks"]
        latest = {each["name"]: each["executionForLatestMaterialization"] for each in found}
        return {name: execution and execution["status"] for name, execution in latest.items()}

    def switch(self, sensor: str, *, on: bool) -> None:
        """Switch a sensor on or off, as on the page Automation."""
        found = self.query(
            """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
            ... on Sensor { id sensorState { status } } } }""",
            selector={**REPOSITORY, "sensorName": sensor},
        )["sensorOrError"]
        if on:
            text = """mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
            ... on Sensor { sensorState { status } } } }"""
            answer = self.query(text, selector={**REPOSITORY, "sensorName": sensor})["startSensor"]
            assert answer["sensorState"]["status"] == "RUNNING", answer
        else:
            text = "mutation($id: String!) { stopSensor(id: $id) { ... on StopSensorMutationResult { __typename } } }"
            assert self.query(text, id=found["id"])["stopSensor"]["__typename"] == "StopSensorMutationResult"

    def ticks(self, sensor: str) -> list[float]:
        """Give when a sensor has finished a look, newest first: seconds since the epoch."""
        found = self.query(
            """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on Sensor {
            sensorState { ticks(limit: 20) { timestamp status } } } } }""",
            selector={**REPOSITORY, "sensorName": sensor},
        )["sensorOrError"]["sensorState"]["ticks"]
        return [tick["timestamp"] for tick in found if tick["status"] != "STARTED"]


@contextmanager
def dagster_dev(root: Path, roster: Path, variables: Mapping[str, str] | None = None) -> Iterator[DagsterDev]:
    """Prepare a home under `root` and serve it, as `make dev` does; gives the server once it is ready, ends it after.

    `variables` are added to its environment. The working folder is an empty one in which `valbench init` placed its
    files, as for a user of the wheel.
    """
    folder, home = root / "work", root / "home"
    machine = environment(home, roster)
    env = {
        **machine,
        # Dagster keeps what a run prints with the system's `tail`.
        "PATH": os.pathsep.join([machine["PATH"], os.defpath]),
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "COLUMNS": "120",
        **(variables or {}),
    }
    run([valbench(), "init"], folder, env, "init")
    run([valbench(), "prepare"], folder, env, "prepare")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = root / "dagster-dev.log"
    command = [Path(valbench()).with_name("dagster"), "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # `dagster dev` takes SIGINT's handler for SIGTERM; where SIGINT is ignored, it could only be killed.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    server = DagsterDev(process, port, folder, env, log)
    try:
        server.wait_for("server that is ready", server.is_ready, START_WITHIN_S)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        finally:
            # The runs it launched go on after it; its group holds them and nothing else.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
