"""Mine: the files of a snapshot to its kept sections, over all the processes that are given.

Here belongs the run over files: spans to the pool, results to `joining`, sections out in the order of pages, counts
beside them. The same sections come out, in the same order, whatever the container, the decoder and the processes.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.dumps.spans import spans
from valbench_dagster.mining.file_header import read_header
from valbench_dagster.mining.joining import FileJoin
from valbench_dagster.mining.pool import Guard, run_guarded
from valbench_dagster.mining.span_miner import MinedSpan, Rules, SpanTask, mine_span
from valbench_dagster.records import DumpDamage, MinedFile, Section
from valbench_dagster.stages.sections import Tally

OnDamage = Literal["fail", "keep"]

MOST_UNORDERED = 16 << 20
"""Most bytes, in all files as they lie, in which pages may stand in any order, as excerpts and exports by hand have
them. What is larger is a dump: page ids ascend, and nothing grows with the number of pages."""

LAST_SPAN_BYTES = 1 << 20
"""The same of the last tasks of a file, so that no process has long to wait for another."""


@dataclass(frozen=True, slots=True)
class MineProgress:
    """How far a run is; bytes are those of the files as they lie."""

    bytes_done: int
    bytes_total: int
    pages: int
    sections: int
    seconds: float


class _Aside:
    """Mines the few pages that no span holds whole, one task at a time, in a worker that is kept for the next.

    The pool takes a task more before it gives a result: an empty one, whose result the next call passes over.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._wanted: deque[SpanTask] = deque()
        self._results: Generator[MinedSpan, None, None] | None = None

    def mine(self, task: SpanTask) -> MinedSpan:
        self._wanted += task, replace(task, pages=b"")
        if self._results is None:
            self._results = run_guarded(mine_span, self._tasks(), processes=1, guard=self._guard)
        else:
            next(self._results)
        return next(self._results)

    def start(self, task: SpanTask) -> None:
        """Start the worker now, while this process can still fork: with threads, it would import all anew."""
        if self._results is None:
            self.mine(replace(task, pages=b""))

    def close(self) -> None:
        if self._results is not None:
            self._results.close()

    def _tasks(self) -> Iterator[SpanTask]:
        while True:
            yield self._wanted.popleft()


@dataclass(slots=True)
class Mining:
    """One run: `sections` once, then the counts, which are whole when it has ended."""

    files: Sequence[Path]
    rules: Rules
    processes: int
    guard: Guard = field(default_factory=Guard)
    span_bytes: int = 4 << 20
    """Bytes of a file, as it lies, that one task takes (see `spans`); makes no difference to what comes out."""
    most_unordered: int = MOST_UNORDERED
    on_damage: OnDamage = "fail"
    """`fail`: raise at the first damage. `keep`: keep what is sound, note the rest in `damages`."""
    progress: Callable[[MineProgress], None] | None = None
    meanwhile: Callable[[], None] | None = None
    """Called once when all workers are at work: what this process will have to do anyway."""
    mined_files: list[MinedFile] = field(default_factory=list)
    damages: list[DumpDamage] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """Time of the workers, by the clock, by what it went to; under `files` the time from the first task to the last."""
    tally: Tally = field(init=False)

    def __post_init__(self) -> None:
        self.tally = Tally(self.rules.snapshot)

    def sections(self) -> Iterator[Section]:
        """Give the kept sections in the order of page ids, in constant memory but for the drops that name a page.

        Small files (`most_unordered`) are read to their end first, and sorted. Raises `DumpError` where a file is no
        export, and, unless damage is kept, where one is damaged; what was given before is sound.
        """
        total = sum(path.stat().st_size for path in self.files)
        if total > self.most_unordered:
            yield from self._in_order_of_files(total, None)
        else:
            yield from sorted(self._in_order_of_files(total, set()), key=lambda section: section.page_id)

    def _in_order_of_files(self, total: int, seen: set[int] | None) -> Iterator[Section]:
        began = perf_counter()
        aside = _Aside(self.guard)
        tasks = _Tasks(self, aside, seen)
        done, last_page_id = 0, -1
        with (
            closing(aside),
            closing(
                run_guarded(mine_span, tasks, processes=self.processes, guard=self.guard, meanwhile=self.meanwhile)
            ) as results,
        ):
            for mined in results:
                task, join = tasks.given.popleft()
                if task.span.number == 0:
                    join.last_page_id = last_page_id
                for part in join.add(task, mined):
                    self._count(part)
                    self._judge(join)
                    yield from part.sections
                self._judge(join)
                done += task.span.stop - task.span.start
                if task.span.last:
                    self.mined_files.append(join.finish())
                    self._judge(join)
                    self.damages += join.damages
                    last_page_id = join.last_page_id
                if self.progress is not None:
                    pages, kept = self.tally.pages.total(), self.tally.sections_kept
                    self.progress(MineProgress(done, total, pages, kept, perf_counter() - began))
        self.seconds["files"] = perf_counter() - began

    def _count(self, mined: MinedSpan) -> None:
        self.tally.pages.update(mined.reasons)
        self.tally.sections_kept += sum(not section.cut for section in mined.sections)
        self.tally.drops += mined.drops
        for name, spent in mined.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def _judge(self, join: FileJoin) -> None:
        if self.on_damage == "fail" and join.damages:
            damage = join.damages[0]
            kind = damage.kind.replace("_", " ")
            last = "no page is whole" if damage.after_page_id is None else f"page {damage.after_page_id}"
            raise DumpError(
                f"{damage.name}: {kind} at or after byte {damage.byte_offset}: {damage.detail}; "
                f"the last whole page before it: {last}; fetch the file again, or keep what is sound of it "
                "(valbench mine --damaged keep; in a run, the option `damaged: keep` of the asset `sections`)"
            )


class _Tasks:
    """The spans of all files, made as they are asked for; `given` holds those without a result yet, in order."""

    def __init__(self, mining: Mining, aside: _Aside, seen: set[int] | None) -> None:
        self._mining = mining
        self._aside = aside
        self._seen = seen
        self.given: deque[tuple[SpanTask, FileJoin]] = deque()

    def __iter__(self) -> Iterator[SpanTask]:
        mining = self._mining
        for part, path in enumerate(mining.files):
            cut = spans(path, mining.span_bytes, LAST_SPAN_BYTES)
            header = read_header(cut)
            join = FileJoin(
                path, part, header, mining.rules.snapshot, self._aside.mine, last_page_id=-1, seen=self._seen
            )
            for span in cut:
                seen = None if self._seen is None else frozenset[int]()
                task = SpanTask(span, header, mining.rules, seen=seen, with_ids=join.with_ids)
                if span.number == 1:  # from here on pages may lie over two spans; a worker has the first already
                    self._aside.start(task)
                self.given.append((task, join))
                yield task


def default_processes() -> int:
    """Count the processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no such call on macOS
        return os.cpu_count() or 1
