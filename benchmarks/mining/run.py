"""How long mining takes against decompressing alone, and how much memory. The bars of this benchmark:

- `valbench mine` as a whole process takes at most 1.35 times as long as `lbzip2 -d -n 2` on the same file to nowhere
  where it may use lbzip2 itself, and at most 1.45 times with Python packages alone; medians of rounds in which all
  take turns; a multistream file and a single stream;
- it is at least 25 times as fast as mwxml with mwparserfromhell on every page (on a tenth of the file);
- all its processes together stay under 600 MB, and as much for a file twice as long.

    python -m pip install -r benchmarks/requirements.txt      # and lbzip2 from the distribution
    VALBENCH_TEST_DUMPS=... python -m benchmarks.mining.run [--megabytes 600] [--rounds 5] [--work DIR]

Prints every round, what the seconds went to, and fails where a bar is missed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.mining.grow import NAMES, grow

MOST_TIMES_LBZIP2 = {"lbzip2": 1.35, "indexed_bzip2": 1.45}
"""By what decodes."""
LEAST_TIMES_STRAIGHTFORWARD = 25
MOST_MEGABYTES = 600
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Run:
    """One command: wall time, CPU time of it and its children, highest memory of all its processes together."""

    seconds: float
    cpu: float
    megabytes: float
    output: str


def _tree(root: int) -> list[int]:
    """List a process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, at = [root], 0
    while at < len(found):
        found += children.get(found[at], [])
        at += 1
    return found


def _resident(root: int) -> int:
    total = 0
    for process in _tree(root):
        try:
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total


def timed(command: list[str], *, watch_memory: bool = False) -> Run:
    """Run a command to its end; raises where it fails. Memory is the sum of resident sets, seen 10 times a second."""
    before = os.times()
    began = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    highest, ended = 0, threading.Event()

    def look() -> None:
        nonlocal highest
        while not ended.wait(0.1):
            highest = max(highest, _resident(process.pid))

    watcher = threading.Thread(target=look) if watch_memory else None
    if watcher:
        watcher.start()
    output, _ = process.communicate()
    seconds = perf_counter() - began
    ended.set()
    if watcher:
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}:\n{output}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(seconds, cpu, highest / 1e6, output)


def mine(path: Path, out: Path, *, decoder: str = "auto", watch_memory: bool = False) -> Run:
    """Run `valbench mine` on a file, with two processes."""
    shutil.rmtree(out, ignore_errors=True)
    valbench = Path(sys.executable).with_name("valbench")
    command = [str(valbench), "mine", str(path), "--out", str(out), "--processes", str(PROCESSES), "--decoder", decoder]
    return timed(command, watch_memory=watch_memory)


def against_lbzip2(path: Path, rounds: int, out: Path) -> dict[str, float]:
    """Take turns with lbzip2 on one file; prints every round, gives the ratio of the medians by what decodes."""
    limits: list[float] = []
    ours: dict[str, list[Run]] = {decoder: [] for decoder in MOST_TIMES_LBZIP2}
    for number in range(rounds):
        limit = timed(["sh", "-c", f"lbzip2 -d -c -n {PROCESSES} {path} > /dev/null"])
        limits.append(limit.seconds)
        said = f"  round {number + 1}: lbzip2 {limit.seconds:6.2f} s (CPU {limit.cpu:6.2f})"
        for decoder, runs in ours.items():
            runs.append(mine(path, out, decoder=decoder))
            times = runs[-1].seconds / limit.seconds
            said += f"; mine, {decoder} {runs[-1].seconds:6.2f} s (CPU {runs[-1].cpu:6.2f}): {times:.3f}"
        print(said, flush=True)
    ratios = {}
    for decoder, runs in ours.items():
        seconds = median(run.seconds for run in runs)
        ratios[decoder] = seconds / median(limits)
        least = min(run.seconds for run in runs) / min(limits)
        print(
            f"  medians: lbzip2 {median(limits):.2f} s, mine, {decoder} {seconds:.2f} s: {ratios[decoder]:.3f} "
            f"(quickest of each: {least:.3f})"
        )
        print("  " + runs[-1].output.strip().splitlines()[-1])
    return ratios


def main() -> None:
    """Run it all and hold it against the bars."""
    parser = argparse.ArgumentParser(description="Mining against decompressing, and against the straightforward way.")
    parser.add_argument("--megabytes", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="folder for the grown files; kept, and used again")
    parser.add_argument("--without-straightforward", action="store_true")
    chosen = parser.parse_args()
    excerpts = os.environ.get("VALBENCH_TEST_DUMPS")
    if not excerpts:
        raise SystemExit("set VALBENCH_TEST_DUMPS to the folder of excerpts (en/ and other/)")
    if shutil.which("lbzip2") is None:
        raise SystemExit("lbzip2 is not installed: it is what mining is held against")
    with tempfile.TemporaryDirectory() as scratch:
        work = chosen.work or Path(scratch)
        files = {
            name: _grown(Path(excerpts), work / name, chosen.megabytes * factor)
            for name, factor in (("once", 1), ("twice", 2), ("tenth", 0.1))
        }
        missed = []
        for kind in ("multistream", "single"):
            path = files["once"][kind]
            print(f"{kind}: {path.stat().st_size / 1e6:.0f} MB, {chosen.megabytes} MB of XML", flush=True)
            for decoder, times in against_lbzip2(path, chosen.rounds, work / "mined").items():
                most = MOST_TIMES_LBZIP2[decoder]
                if times > most:
                    missed.append(f"{kind}, {decoder}: {times:.3f} times lbzip2, at most {most} are wanted")
            for decoder, name in product(MOST_TIMES_LBZIP2, ("once", "twice")):
                peak = mine(files[name][kind], work / "mined", decoder=decoder, watch_memory=True).megabytes
                print(f"  peak memory, {decoder}, file {name}: {peak:.0f} MB")
                if peak > MOST_MEGABYTES:
                    missed.append(f"{kind}, {decoder}, {name}: {peak:.0f} MB, at most {MOST_MEGABYTES} are wanted")
        if not chosen.without_straightforward:
            tenth = files["tenth"]["multistream"]
            slow = timed([sys.executable, "-m", "benchmarks.mining.straightforward", str(tenth)])
            fast = median(mine(files["once"]["multistream"], work / "mined").seconds for _ in range(3))
            times = slow.seconds * 10 / fast
            print(
                f"straightforward: {slow.seconds:.1f} s for a tenth, {slow.output.strip()}: {times:.1f} times as long"
            )
            if times < LEAST_TIMES_STRAIGHTFORWARD:
                missed.append(f"{times:.1f} times the straightforward way; at least {LEAST_TIMES_STRAIGHTFORWARD}")
    if missed:
        raise SystemExit("missed:\n  " + "\n  ".join(missed))


def _grown(excerpts: Path, folder: Path, megabytes: float) -> dict[str, Path]:
    done = folder / "grown"
    if not done.exists() or done.read_text() != str(megabytes):
        grow(excerpts, folder, round(megabytes))
        done.write_text(str(megabytes))
    return {kind: folder / name for kind, name in NAMES.items()}


if __name__ == "__main__":
    main()
