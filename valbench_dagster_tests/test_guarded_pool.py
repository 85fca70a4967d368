"""The pool of workers that can be killed: order, bounds, what each way of dying becomes, and that nobody is left.

Where a child process is a parent of its own, all of its descendants hold the pipe that its output goes to: it is at its
end when the last of them is gone.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from valbench_dagster.mining.pool import (
    GRACE_S,
    Guard,
    TooManyLostError,
    WorkerDiedError,
    WorkError,
    run_guarded,
)
from valbench_dagster.mining.watch import Lost, Watch, entered_ns, new_slot, read
from valbench_dagster_tests import guarded_work
from valbench_dagster_tests.guarded_work import Report, Span, parse

SHORT = Guard(deadline_s=0.3)
SMALL = Guard(deadline_s=60, memory_bytes=64 << 20)
BUSY_S = 10.0
"""Seconds that a busy machine may take for what takes a moment."""
ROOT = Path(__file__).resolve().parent.parent


def reports(spans: Iterable[Span], processes: int = 2, guard: Guard = SHORT) -> list[Report]:
    return list(run_guarded(parse, spans, processes=processes, guard=guard))


def failure(spans: Iterable[Span], guard: Guard = SHORT) -> tuple[list[int], Exception]:
    """The numbers of the results that came before the failure, and the failure."""
    numbers: list[int] = []
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the caller says what it must be
        numbers.extend(report.number for report in run_guarded(parse, spans, processes=2, guard=guard))
    assert isinstance(caught.value, Exception)
    return numbers, caught.value


@pytest.fixture(autouse=True)
def _nobody_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


# --- order, laziness, the workers' lives -----------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_results_come_in_the_order_of_tasks_whatever_the_number_of_processes(processes: int) -> None:
    spans = [Span(number, ("some work", "fine"), outside="some work") for number in range(40)]
    found = reports(spans, processes)
    assert [report.number for report in found] == list(range(40))
    assert {report.sections for report in found} == {("parsed", "parsed")}


def test_workers_stay_alive_from_task_to_task_and_none_is_this_process() -> None:
    pids = {report.pid for report in reports([Span(number) for number in range(30)], processes=2)}
    assert len(pids) <= 2
    assert os.getpid() not in pids
    assert len({report.pid for report in reports([Span(0), Span(1)], processes=1)}) == 1


def test_no_tasks_give_no_results_and_start_nobody() -> None:
    assert reports([]) == []


def test_tasks_are_read_only_within_the_window_ahead_of_the_oldest_unfinished(tmp_path: Path) -> None:
    # Two processes at three tasks each: a window of 6. The first task ends only once the sixth is being done: were the
    # window smaller this would never end. A result that is with the caller is no longer in the window, but not yet
    # counted as taken here: hence the one more.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    leads: list[int] = []
    taken = 0

    def spans() -> Iterator[Span]:
        for number in range(40):
            leads.append(number + 1 - taken)
            doing = {0: "wait for pipe", 5: "open pipe"}.get(number, "fine")
            yield Span(number, outside=doing, path=pipe)

    results = run_guarded(parse, spans(), processes=2, guard=SHORT)
    assert leads == []
    for report in results:
        assert report.number == taken
        taken += 1
    assert len(leads) == taken == 40
    assert 6 <= max(leads) <= 7


def test_results_and_tasks_larger_than_any_pipe_arrive_whole() -> None:
    texts = [bytes([number]) * (6 << 20) for number in range(4)]
    assert list(run_guarded(guarded_work.size_of, texts, processes=2)) == texts


def test_what_is_to_be_done_meanwhile_is_done_once_when_all_workers_have_a_task_and_before_any_result() -> None:
    order: list[str] = []

    def texts() -> Iterator[bytes]:
        for number in range(4):
            order.append(f"task {number}")
            yield bytes([number])

    for text in run_guarded(guarded_work.size_of, texts(), processes=2, meanwhile=lambda: order.append("meanwhile")):
        order.append(f"result {text[0]}")
    assert order[:3] == ["task 0", "task 1", "meanwhile"]
    assert order.count("meanwhile") == 1
    assert [each for each in order if each.startswith("result")] == [f"result {number}" for number in range(4)]


def test_every_worker_is_made_ready_once() -> None:
    counts = run_guarded(guarded_work.times_ready, range(12), processes=3, initial=guarded_work.make_ready)
    assert list(counts) == [1] * 12


# --- sections that are lost ------------------------------------------------------------------------------------------

LATE = "took longer than 0.3 s and was ended"
FATAL = {
    "loop": LATE,
    "loop in C": LATE,
    "segmentation fault": "the process died: signal 11 (SIGSEGV)",
    "killed": "the process died: signal 9 (SIGKILL)",
    "exit": "the process died: exit code 3",
}


@pytest.mark.parametrize("doing", FATAL)
def test_a_section_that_is_fatal_is_lost_once_with_its_reason_and_others_are_not(doing: str) -> None:
    spans = [Span(number, ("fine", doing if number == 2 else "fine", "fine")) for number in range(6)]
    began = time.monotonic()
    found = reports(spans)
    assert time.monotonic() - began < SHORT.deadline_s + BUSY_S
    assert [report.number for report in found] == list(range(6))
    assert [report.lost for report in found] == [(), (), (Lost(2, 1, FATAL[doing]),), (), (), ()]
    assert found[2].sections == ("parsed", FATAL[doing], "parsed")


def test_a_section_whose_alarm_does_not_go_off_is_ended_by_the_parent() -> None:
    began = time.monotonic()
    (found,) = reports([Span(0, ("loop without alarm",))])
    assert SHORT.deadline_s + GRACE_S <= time.monotonic() - began < SHORT.deadline_s + GRACE_S + BUSY_S
    assert found.lost == (Lost(0, 0, LATE),)


def test_a_section_ends_at_its_deadline_while_the_caller_is_busy_with_a_result() -> None:
    with closing(run_guarded(parse, [Span(0), Span(1, ("loop",))], processes=2, guard=SHORT)) as results:
        next(results)
        assert wait([child.sentinel for child in multiprocessing.active_children()], timeout=BUSY_S)
        assert next(results).lost == (Lost(1, 0, LATE),)


def test_two_bad_sections_of_one_task_are_lost_in_turn() -> None:
    found = reports([Span(7, ("fine", "exit", "loop", "fine")), Span(8, ("fine",))])
    assert found[0].lost == (Lost(7, 1, "the process died: exit code 3"), Lost(7, 2, LATE))
    assert found[0].sections == ("parsed", "the process died: exit code 3", LATE, "parsed")
    assert found[1].lost == ()


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to its address space")


@ON_LINUX
def test_a_section_that_eats_memory_is_lost_and_its_worker_replaced() -> None:
    found = reports([Span(0, ("fine", "eat", "fine")), Span(1), Span(2)], processes=1, guard=SMALL)
    full = "ran out of memory: more than 64 MiB above what it started with"
    assert [report.lost for report in found] == [(Lost(0, 1, full),), (), ()]
    assert found[0].sections == ("parsed", full, "parsed")


@ON_LINUX
def test_a_memory_error_that_the_work_catches_is_no_loss() -> None:
    (found,) = reports([Span(0, ("eat and catch", "fine"))], guard=SMALL)
    assert (found.sections, found.lost) == (("parsed", "parsed"), ())


def test_a_task_that_loses_more_than_the_guard_allows_fails_after_the_results_before_it() -> None:
    most = Guard(deadline_s=5, most_lost=2)
    numbers, error = failure([Span(0), Span(1, ("exit",) * 3), Span(2)], most)
    assert numbers == [0]
    assert isinstance(error, TooManyLostError)
    assert "Span(number=1" in str(error)
    assert "lost 3 sections, expected at most 2" in str(error)
    assert "page 1, section 0: the process died: exit code 3" in str(error)
    assert [len(report.lost) for report in reports([Span(1, ("exit",) * 2)], guard=most)] == [2]


# --- deaths outside of any section, and what the work raises ---------------------------------------------------------


def test_a_worker_that_dies_outside_of_any_section_is_replaced_and_its_task_given_once_more(tmp_path: Path) -> None:
    spans = [Span(0), Span(1, ("fine",), outside="exit once", path=tmp_path / "died"), Span(2)]
    assert [(report.number, report.lost) for report in reports(spans)] == [(0, ()), (1, ()), (2, ())]


def test_a_second_death_outside_of_any_section_fails_naming_the_task_and_both_ends() -> None:
    numbers, error = failure([Span(0), Span(1, outside="segmentation fault"), Span(2)])
    assert numbers == [0]
    assert isinstance(error, WorkerDiedError)
    assert "Span(number=1" in str(error)
    assert "signal 11 (SIGSEGV) and signal 11 (SIGSEGV)" in str(error)


def test_what_the_work_raises_comes_out_as_itself_after_the_results_before_it(tmp_path: Path) -> None:
    # The first task waits for the second, which then raises: it does so about when the first ends, or before.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    spans = [Span(0, outside="wait for pipe", path=pipe), Span(1, ("open pipe", "raise"), path=pipe), Span(2)]
    numbers, error = failure(spans)
    assert numbers == [0]
    assert type(error) is LookupError
    assert error.args == ("no such page",)
    (note,) = error.__notes__
    assert "on the task Span(number=1" in note
    assert 'guarded_work.py", line' in note


@pytest.mark.parametrize(
    ("doing", "text"),
    [
        ("raise two parts", "TwoPartsError: it failed because it could"),
        ("raise with function", "ValueError: holds a function"),
    ],
)
def test_an_error_that_cannot_travel_comes_as_its_text_with_the_traceback(doing: str, text: str) -> None:
    numbers, error = failure([Span(0), Span(1, (doing,))])
    assert numbers == [0]
    assert type(error) is WorkError
    assert text in str(error)
    assert 'guarded_work.py", line' in str(error)


def test_an_error_of_the_tasks_themselves_comes_after_the_results_before_it() -> None:
    def spans() -> Iterator[Span]:
        yield Span(0, ("some work",))
        yield Span(1, ("some work",))
        raise EOFError("the dump is cut short")

    numbers, error = failure(spans())
    assert numbers == [0, 1]
    assert isinstance(error, EOFError)


def test_what_cannot_be_pickled_fails_in_its_turn() -> None:
    results = run_guarded(guarded_work.unsendable, range(3), processes=2)
    assert next(results) == 0
    with pytest.raises(Exception, match="pickle") as caught:
        next(results)
    assert "sending the result of 1" in caught.value.__notes__[0]
    tasks: list[object] = [0, lambda: None]
    given = run_guarded(guarded_work.unsendable, tasks, processes=2)  # type: ignore[arg-type]  # as a caller might
    assert next(given) == 0
    with pytest.raises(Exception, match="pickle"):
        next(given)


def test_a_worker_that_cannot_be_made_ready_fails_the_run() -> None:
    with pytest.raises(OSError, match="no scratch folder"):
        list(run_guarded(guarded_work.times_ready, range(3), processes=2, initial=guarded_work.not_ready))


def test_a_guard_or_a_number_of_processes_that_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"deadline_s is 0, .*memory_bytes is -1, .*most_lost is -1"):
        Guard(deadline_s=0, memory_bytes=-1, most_lost=-1)
    with pytest.raises(ValueError, match="processes is 0, expected at least 1"):
        run_guarded(parse, [], processes=0)


# --- ends ------------------------------------------------------------------------------------------------------------


def test_closing_early_ends_all_workers_also_one_that_hangs() -> None:
    spans = [Span(0), Span(1, ("loop in C",)), Span(2, outside="loop")]
    began = time.monotonic()
    with closing(run_guarded(parse, spans, processes=3, guard=Guard(deadline_s=600))) as results:
        assert next(results).number == 0
        assert multiprocessing.active_children() != []
    assert multiprocessing.active_children() == []
    assert time.monotonic() - began < BUSY_S


@contextmanager
def program(*arguments: str, as_module: bool = True) -> Iterator[subprocess.Popen[str]]:
    """The pool in a process of its own, with a process group of its own, of which nothing survives a failing test."""
    what = ["-m", guarded_work.__name__] if as_module else [str(Path(guarded_work.__file__))]
    child = subprocess.Popen(
        [sys.executable, "-W", "error", *what, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        raise
    finally:
        child.communicate()


METHODS = ["spawn", *(["fork", "forkserver"] if sys.platform == "linux" else [])]


@pytest.mark.parametrize(
    ("start", "as_module"),
    [*((method, True) for method in METHODS), ("spawn", False), ("auto", False)],
)
def test_every_way_of_starting_workers_gives_the_same_without_a_warning(start: str, as_module: bool) -> None:
    with program(start, "0.3", "fine", "loop in C", "segmentation fault", "fine", as_module=as_module) as child:
        said, complained = child.communicate(timeout=60)
    assert complained == ""
    assert child.returncode == 0
    assert said.splitlines() == [
        '[0, "parsed", "parsed"]',
        f'[1, "parsed", "{LATE}"]',
        '[2, "parsed", "the process died: signal 11 (SIGSEGV)"]',
        '[3, "parsed", "parsed"]',
        "0 children left",
    ]


@ON_LINUX
def test_a_process_with_another_thread_is_not_forked() -> None:
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        with closing(run_guarded(parse, [Span(0), Span(1)], processes=1)) as results:
            next(results)
            assert [type(child) for child in multiprocessing.active_children()] == [ForkServerProcess]
    finally:
        over.set()
        other.join()


@pytest.mark.parametrize("start", METHODS)
def test_when_the_parent_is_killed_no_worker_lives_on(start: str) -> None:
    # A loop in Python ends with the parent; one in C that lets no other thread run, at its section's deadline.
    with program(start, "1", "outside: announced loop", "announced loop in C") as child:
        assert child.stdout is not None
        assert [child.stdout.readline(), child.stdout.readline()] == ["hanging\n", "hanging\n"]
        child.kill()
        _, complained = child.communicate(timeout=BUSY_S)
    assert complained == ""
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("start", METHODS)
def test_an_interrupt_from_the_keyboard_ends_all_and_only_the_parent_speaks(start: str) -> None:
    with program(start, "600", "announced loop", "announced loop in C") as child:
        assert child.stdout is not None
        assert [child.stdout.readline(), child.stdout.readline()] == ["hanging\n", "hanging\n"]
        os.killpg(child.pid, signal.SIGINT)
        said, complained = child.communicate(timeout=BUSY_S)
    assert said == ""
    assert complained.count("KeyboardInterrupt") == complained.count("Traceback") == 1
    assert child.returncode == -signal.SIGINT


# --- the watch by itself ---------------------------------------------------------------------------------------------


def test_a_slot_names_a_section_only_while_it_is_entered() -> None:
    slot = new_slot()
    watch = Watch(slot, deadline_s=600)
    assert (entered_ns(slot), read(slot)) == (None, None)
    before = time.monotonic_ns()
    with watch.section(12, 3):
        entered, on = entered_ns(slot), read(slot)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert entered is not None
    assert before <= entered <= time.monotonic_ns()
    assert on is not None
    assert (on.page_id, on.heading_index, on.ran_out) == (12, 3, False)
    assert (entered_ns(slot), read(slot)) == (None, None)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_section_inside_another_is_refused_naming_both() -> None:
    watch = Watch()
    with (
        pytest.raises(RuntimeError, match="section 2 of page 9 inside section 1 of page 8"),
        watch.section(8, 1),
        watch.section(9, 2),
    ):
        pass
    with watch.section(9, 2):
        pass


def test_a_watch_that_nobody_keeps_sets_no_alarm() -> None:
    timer = signal.getitimer(signal.ITIMER_REAL)
    with Watch().section(1, 1):
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= timer[0]
