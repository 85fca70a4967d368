"""How close the engine of model calls is to the wire, what a call costs, and how much memory it takes. The bars:

- with the ledger on, 256 in flight, at least 0.95 of the rate of a raw aiohttp client in the same round;
- under 1.0 ms of CPU a stored call (user and system, whole process, from the first question to the last), of which the
  ledger's writer thread at most 0.15;
- with 512 in flight, at least 1.8 times the rate of the installed SDK's synchronous client in 512 threads;
- two processes on one ledger, 256 in flight each: at least 1.8 times one;
- 230,000 calls at no latency: the engine's process under 500 MB at its highest, the whole Dagster run under 1 GB.

    python -m benchmarks.inference.run [--rounds 5] [--only raw,engine,wide,threads,two,memory,dagster] [--work DIR]

The server is a process of its own on loopback; it answers after half a second with 1.5 KB, and says what CPU it took
itself. Within a round every client takes its turn on the same machine, so that what else the machine does falls on
all of them. Prints each turn and a table of medians with their spread; fails where a bar is missed. A turn's lines
name the load of the machine: on a busy one rates are lower bounds, and CPU a call is the figure to look at.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.inference.engine import Cost
from benchmarks.mining.run import timed

LATENCY_S = 0.5
PLACES = 256
WIDE = 512
CALLS = 40 * PLACES
"""Forty times as many as are in flight: 20 s at best."""

MANY = 230_000
IDEAL = PLACES / LATENCY_S
TURNS = ("raw", "engine", "wide", "threads", "two", "memory", "dagster")
"""`wide` is the engine with as many in flight as `threads` has threads; the last two are not part of a round."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure: what it is, what is wanted of it, and whether that is the least or the most."""

    what: str
    wanted: float
    least: bool

    def met(self, value: float) -> bool:
        """Whether a value will do."""
        return value >= self.wanted if self.least else value <= self.wanted


BARS = {
    "of raw": Bar("rate, of a raw client's in the same round", 0.95, least=True),
    "cpu": Bar("CPU ms a stored call", 1.0, least=False),
    "ledger": Bar("of these the ledger's writer thread", 0.15, least=False),
    "of threads": Bar("rate at 512 in flight, of the SDK's 512 threads", 1.8, least=True),
    "two": Bar("rate of two processes on one ledger, of one's", 1.8, least=True),
    "engine MB": Bar(f"peak MB of the engine, {MANY:,} calls", 500, least=False),
    "dagster MB": Bar(f"peak MB of the Dagster run, {MANY:,} calls", 1000, least=False),
}


@dataclass(slots=True)
class Server:
    """The running server, and the CPU it had used when last asked."""

    base_url: str
    used: float = 0.0

    def get(self, path: str) -> dict[str, float]:
        """Ask it something that is no completion."""
        url = self.base_url.removesuffix("/v1") + path
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own server, http
            found: dict[str, float] = json.loads(answer.read())
        return found

    def cpu(self) -> float:
        """Give the CPU seconds it took since the last look."""
        before, self.used = self.used, self.get("/stats")["cpu_s"]
        return self.used - before


@dataclass(slots=True)
class Figures:
    """Everything measured, by name, a number a round."""

    by_name: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Take one more."""
        self.by_name.setdefault(name, []).append(value)


@contextmanager
def serving() -> Iterator[Server]:
    """Run the server for as long as the context lasts."""
    command = [sys.executable, "-m", "benchmarks.inference.server", "--latency", str(LATENCY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(process.stdout.readline().split()[1])
        finally:
            process.terminate()


def turn(server: Server, name: str, commands: Sequence[Sequence[str]]) -> list[Cost]:
    """Let clients ask at the same moment, each a process; prints what it cost, gives it."""
    server.cpu()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for command in commands
        ]
        for client in clients:
            assert client.stdout is not None
            if client.stdout.readline().strip() != "READY":
                raise SystemExit(f"{name}: a client did not start")
        costs = [Cost(**json.loads(text)) for text in _answers(clients)]
    calls, seconds = sum(cost.calls for cost in costs), _seconds(costs)
    print(
        f"  {name:8} {calls / seconds:7.1f} calls/s, CPU ms a call: {1e3 * sum(c.cpu_s for c in costs) / calls:.3f} "
        f"(ledger thread {1e3 * sum(c.ledger_cpu_s for c in costs) / calls:.3f}, with start-up "
        f"{1e3 * sum(c.whole_cpu_s for c in costs) / calls:.3f}, server {1e3 * server.cpu() / calls:.3f}), "
        f"peak {max(c.peak_mb for c in costs):.0f} MB, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    if failed := sum(cost.failed for cost in costs):
        raise SystemExit(f"{name}: {failed} of {calls} calls did not bring a reply")
    return costs


def _answers(clients: Sequence["subprocess.Popen[str]"]) -> Iterator[str]:
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    for client in clients:
        assert client.stdout is not None
        yield client.stdout.readline()
        if client.wait():
            raise SystemExit(f"a client failed with {client.returncode}: {client.args!r}")


def _seconds(costs: Sequence[Cost]) -> float:
    return max(cost.ended for cost in costs) - min(cost.began for cost in costs)


def _rate(costs: Sequence[Cost]) -> float:
    return sum(cost.calls for cost in costs) / _seconds(costs)


def one_round(server: Server, work: Path, turns: Sequence[str], figures: Figures) -> None:
    """Let each client have its turn at a latency of half a second."""
    client, engine = "benchmarks.inference.clients", "benchmarks.inference.engine"
    url, rates = server.base_url, dict[str, float]()

    def fresh() -> str:
        shutil.rmtree(work / "ledger", ignore_errors=True)
        (work / "ledger").mkdir()
        return str(work / "ledger" / "ledger.sqlite")

    def asking(ledger: str, first: int = 0, places: int = PLACES) -> list[str]:
        return [engine, url, ledger, "--calls", str(CALLS), "--first", str(first), "--concurrency", str(places)]

    commands: dict[str, Callable[[], list[list[str]]]] = {
        "raw": lambda: [[client, "raw", url, "--calls", str(CALLS), "--concurrency", str(PLACES)]],
        "engine": lambda: [asking(fresh())],
        "wide": lambda: [asking(fresh(), places=WIDE)],
        "threads": lambda: [[client, "threads", url, "--calls", str(CALLS), "--concurrency", str(WIDE)]],
        "two": lambda: [asking(ledger, first) for ledger in [fresh()] for first in (0, CALLS)],
    }
    for name, make in commands.items():
        if name not in turns:
            continue
        costs = turn(server, name, make())
        rates[name] = _rate(costs)
        if name == "engine":
            figures.add("cpu", 1e3 * costs[0].cpu_s / costs[0].calls)
            figures.add("ledger", 1e3 * costs[0].ledger_cpu_s / costs[0].calls)
            figures.add("of ideal", rates[name] / IDEAL)
    for name, over, under in (
        ("of raw", "engine", "raw"),
        ("of threads", "wide", "threads"),
        ("two", "two", "engine"),
    ):
        if over in rates and under in rates:
            figures.add(name, rates[over] / rates[under])


def many(server: Server, work: Path, figures: Figures) -> None:
    """Ask 230,000 questions at no latency, with the engine alone."""
    ledger = work / "many.sqlite"
    command = ["benchmarks.inference.engine", server.base_url, str(ledger), "--calls", str(MANY)]
    [cost] = turn(server, "memory", [command])
    figures.add("engine MB", cost.peak_mb)
    figures.add("calls a second, no latency", _rate([cost]))
    ledger.unlink()


def dagster_run(server: Server, work: Path, figures: Figures) -> None:
    """Materialise 230,000 responses at no latency."""
    home = work / "home"
    module = [sys.executable, "-m", "benchmarks.inference.dagster_run"]
    timed([*module, "grow", str(home), server.base_url, "--pairs", str(MANY // 2)])
    server.cpu()
    run = timed([*module, "run", str(home)], watch_memory=True)
    said = json.loads(run.output.splitlines()[-1])
    if said["outcomes"] != {"answered": MANY}:
        raise SystemExit(f"dagster: expected {MANY} responses, all answered, found {said['outcomes']}")
    figures.add("dagster MB", run.megabytes)
    figures.add("calls a second, Dagster", MANY / said["seconds"])
    print(
        f"  dagster  {MANY / said['seconds']:7.1f} calls/s, CPU ms a call: {1e3 * run.cpu / MANY:.3f} "
        f"(server {1e3 * server.cpu() / MANY:.3f}), peak {run.megabytes:.0f} MB, {run.seconds:.0f} s in all",
        flush=True,
    )
    shutil.rmtree(home)


def table(figures: Figures) -> list[str]:
    """Print every figure with its bar, and give those that are missed."""
    missed = []
    print(f"\n{'figure':52} {'wanted':>10} {'median':>9} {'lowest':>9} {'highest':>9}")
    for name, values in figures.by_name.items():
        bar, middle = BARS.get(name), median(values)
        wanted = "" if bar is None else f"{'>=' if bar.least else '<='} {bar.wanted:g}"
        verdict = "" if bar is None else "  met" if bar.met(middle) else "  MISSED"
        what = name if bar is None else bar.what
        print(f"{what:52} {wanted:>10} {middle:9.3f} {min(values):9.3f} {max(values):9.3f}{verdict}")
        if bar is not None and not bar.met(middle):
            missed.append(f"{what}: {middle:.3f}, wanted {wanted}")
    return missed


def main() -> None:
    """Measure it all and hold it against the bars."""
    parser = argparse.ArgumentParser(description="The engine of model calls against a raw client and the usual way.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(TURNS), help=f"which turns, of {','.join(TURNS)}")
    parser.add_argument("--work", type=Path, help="folder for ledgers and homes")
    chosen = parser.parse_args()
    turns = chosen.only.split(",")
    if unknown := set(turns) - set(TURNS):
        parser.error(f"unknown turns {', '.join(sorted(unknown))}; there are {', '.join(TURNS)}")
    figures = Figures()
    with tempfile.TemporaryDirectory(dir=chosen.work) as scratch, serving() as server:
        for number in range(chosen.rounds if set(turns) & set(TURNS[:-2]) else 0):
            print(f"round {number + 1} of {chosen.rounds}, {CALLS:,} calls, {LATENCY_S} s, {PLACES} in flight")
            one_round(server, Path(scratch), turns, figures)
        server.get("/set?latency=0")
        if "memory" in turns:
            many(server, Path(scratch), figures)
        if "dagster" in turns:
            dagster_run(server, Path(scratch), figures)
    if missed := table(figures):
        raise SystemExit("missed:\n  " + "\n  ".join(missed))


if __name__ == "__main__":
    main()
