"""Facts come back as they were published, whole or not at all."""

import dataclasses
import os
import signal
import subprocess
import sys
import tracemalloc
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster import records
from valbench_dagster.adapters.facts import Facts, FactsError, column_docs, frame_of
from valbench_dagster.adapters.warehouse.connection import connect
from valbench_dagster.records import CheckFailure, Pair, Record, SectionDrop

RECORDS: list[type[Any]] = [
    value for value in vars(records).values() if isinstance(value, type) and dataclasses.is_dataclass(value)
]
ROOT = Path(records.__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Old:
    """A record as an earlier program knew it."""

    TABLE: ClassVar[str] = "changing"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("name",)

    name: Annotated[str, "Its name"]


@dataclass(frozen=True, slots=True)
class New:
    """The same record with a column more."""

    TABLE: ClassVar[str] = "changing"
    VERSION: ClassVar[int] = 2
    KEY: ClassVar[tuple[str, ...]] = ("name",)

    name: Annotated[str, "Its name"]
    weight: Annotated[float | None, "Its weight"]


@dataclass(frozen=True, slots=True)
class Unversioned:
    """The same record with a column more, by somebody who forgot the version."""

    TABLE: ClassVar[str] = "changing"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("name",)

    name: Annotated[str, "Its name"]
    weight: Annotated[float | None, "Its weight"]


@dataclass(frozen=True, slots=True)
class Unstorable:
    """A record with a column of a type that facts do not know."""

    TABLE: ClassVar[str] = "unstorable"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("when",)

    when: Annotated[complex, "Some time"]


def failure(number: int, check: str = "none") -> CheckFailure:
    """Make the row with a number; rows ascend by it."""
    return CheckFailure("sample-20260101", "pairs", check, f"{number:08d}", "why")


def rows_of(record: type[Any]) -> st.SearchStrategy[list[Any]]:
    """Draw rows of a record that ascend by its key, nulls first."""
    hints = typing.get_type_hints(record, include_extras=True)
    kinds = {field.name: typing.get_args(hints[field.name])[0] for field in dataclasses.fields(record)}
    integers = st.integers(-(2**63), 2**63 - 1)
    numbers = st.floats(allow_nan=False)  # not equal to itself, so it would never come back
    for_kind = {int: integers, int | None: st.none() | integers, float: numbers, float | None: st.none() | numbers}
    row = st.builds(record, **{name: for_kind.get(kind, st.from_type(kind)) for name, kind in kinds.items()})

    def key(row: Any) -> list[tuple[bool, Any]]:
        return [(value is not None, value) for value in (getattr(row, name) for name in record.KEY)]

    return st.lists(row, max_size=8, unique_by=lambda row: tuple(key(row))).map(lambda rows: sorted(rows, key=key))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_record_comes_back_as_it_was_published(record: type[Any], tmp_path: Path) -> None:
    @settings(max_examples=15, deadline=None)
    @given(rows_of(record))
    def check(rows: list[Any]) -> None:
        facts = Facts(str(tmp_path))
        pointer = facts.publish(record, "sample-20260101/aligned", iter(rows), input_fingerprint="f")
        assert list(facts.rows(record, "sample-20260101/aligned")) == rows
        frame = facts.frame(record, "sample-20260101/aligned")
        assert frame.equals(frame_of(record, rows), null_equal=True)
        assert frame.schema == frame_of(record, []).schema
        assert frame.columns == [field.name for field in dataclasses.fields(record)]
        assert pointer.rows == frame.height == sum(file.rows for file in pointer.files)
        assert facts.current(record, "sample-20260101/aligned") == pointer

    check()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_column_has_a_type_a_description_and_a_nullability(record: type[Any]) -> None:
    docs = column_docs(record)
    assert list(docs) == [field.name for field in dataclasses.fields(record)]
    assert all(column.type and column.doc for column in docs.values())


def test_column_docs_read_the_annotations() -> None:
    # By hand from records.SectionDrop and records.Pair.
    assert column_docs(SectionDrop)["page_id"] == (
        "integer",
        "The page, on rows about one dropped or cut section; else null",
        True,
    )
    assert column_docs(Pair)["heading_path"].type == "list of text"
    assert not column_docs(Pair)["heading_path"].nullable


def test_a_column_of_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"Unstorable.when is .*complex"):
        column_docs(Unstorable)


def test_publishing_equal_rows_again_gives_the_same_bytes_and_pointer(tmp_path: Path) -> None:
    def publish(folder: str) -> dict[str, bytes]:
        facts = Facts(str(tmp_path / folder))
        facts.publish(CheckFailure, "all", (failure(n) for n in range(20_000)), input_fingerprint="f", unfinished=3)
        return {path.name: path.read_bytes() for path in (tmp_path / folder).rglob("*") if path.is_file()}

    first, second, again = publish("a"), publish("b"), publish("a")
    assert len(first) == 2
    assert first == second == again


def test_rows_are_streamed_and_unfinished_is_counted_after_the_last(tmp_path: Path) -> None:
    counted = 0

    def rows() -> Iterator[CheckFailure]:
        nonlocal counted
        for number in range(3):
            counted += 1
            yield failure(number)

    pointer = Facts(str(tmp_path)).publish(
        CheckFailure, "all", rows(), input_fingerprint="f", unfinished=lambda: counted
    )
    assert pointer.unfinished == 3


def test_memory_does_not_grow_with_the_partition(tmp_path: Path) -> None:
    # 10,000 rows of 10,000 characters are 100 MB of text; a row group ends at 32 MB, 1,024 rows are read at a time.
    facts = Facts(str(tmp_path))
    rows = (replace(failure(number), detail=f"{number}".rjust(10_000)) for number in range(10_000))
    tracemalloc.start()
    try:
        facts.publish(CheckFailure, "all", rows, input_fingerprint="f")
        assert sum(1 for _ in facts.rows(CheckFailure, "all")) == 10_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 70_000_000


def test_long_texts_end_a_row_group_early(tmp_path: Path) -> None:
    # Five texts of ten million characters: the limit of 32 million ends a group after the fourth.
    facts = Facts(str(tmp_path))
    rows = [replace(failure(number), detail="x" * 10_000_000) for number in range(5)]
    facts.publish(CheckFailure, "all", rows, input_fingerprint="f")
    with connect(None) as connection:
        groups = "SELECT num_rows, num_row_groups FROM parquet_file_metadata($path)"
        [(stored, group_count)] = connection.execute(groups, {"path": facts.paths(CheckFailure, ["all"])[1]}).fetchall()
    assert (stored, group_count) == (5, 2)


@pytest.mark.parametrize("numbers", [(1, 3, 2), (1, 2, 2)], ids=["descending", "equal"])
def test_rows_out_of_order_are_refused_naming_both(numbers: tuple[int, ...], tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    before = facts.publish(CheckFailure, "all", [failure(0)], input_fingerprint="old")
    with pytest.raises(FactsError) as error:
        facts.publish(CheckFailure, "all", map(failure, numbers), input_fingerprint="new")
    assert "check_failures must strictly ascend by row_id, detail" in str(error.value)
    assert f"row 1 has ('{numbers[1]:08d}', 'why'), row 2 has ('{numbers[2]:08d}', 'why')" in str(error.value)
    assert facts.current(CheckFailure, "all") == before
    assert list(facts.rows(CheckFailure, "all")) == [failure(0)]
    assert not list(tmp_path.rglob("_tmp-*"))


def test_order_is_checked_across_row_groups(tmp_path: Path) -> None:
    numbers = [*range(16_384), 5]
    with pytest.raises(FactsError, match=r"row 16383 has .* row 16384 has"):
        Facts(str(tmp_path)).publish(CheckFailure, "all", map(failure, numbers), input_fingerprint="f")


def test_nulls_of_a_key_come_first(tmp_path: Path) -> None:
    def drop(page_id: int | None) -> SectionDrop:
        return SectionDrop("s", "page", "kept", 1, page_id, None, None, None, None, None)

    facts = Facts(str(tmp_path))
    facts.publish(SectionDrop, "s", [drop(None), drop(-5), drop(7)], input_fingerprint="f")
    with pytest.raises(FactsError, match="strictly ascend"):
        facts.publish(SectionDrop, "s", [drop(-5), drop(None)], input_fingerprint="f")
    with pytest.raises(FactsError, match="strictly ascend"):
        facts.publish(SectionDrop, "s", [drop(None), drop(None)], input_fingerprint="f")


@pytest.mark.parametrize(
    ("row", "column", "found"),
    [
        (SectionDrop("s", "page", "kept", None, None, None, None, None, None, None), "counted must be integer", "None"),  # type: ignore[arg-type]  # wrong on purpose
        (SectionDrop("s", "page", "kept", 1.5, None, None, None, None, None, None), "counted must be integer", "1.5"),  # type: ignore[arg-type]  # wrong on purpose
        (SectionDrop("s", "page", "kept", True, None, None, None, None, None, None), "counted must be integer", "True"),
        (
            SectionDrop("s", "page", "kept", 2**70, None, None, None, None, None, None),
            "counted must be integer",
            "1180",
        ),
        (SectionDrop("s", "page", "kept", 1, None, None, b"t", None, None, None), "title must be text or null", "b't'"),  # type: ignore[arg-type]  # wrong on purpose
        (
            SectionDrop("s", "page", "kept", 1, None, None, "\ud800", None, None, None),
            "title must be text",
            r"'\\ud800'",
        ),
    ],
    ids=["null", "fraction", "truth", "too large", "bytes", "lone surrogate"],
)
def test_a_value_of_another_type_is_refused_naming_row_and_column(
    row: SectionDrop, column: str, found: str, tmp_path: Path
) -> None:
    first = SectionDrop("s", "page", "empty", 1, None, None, None, None, None, None)
    with pytest.raises(FactsError, match=rf"row 1 of section_drops: column {column}.* found {found}"):
        Facts(str(tmp_path)).publish(SectionDrop, "s", [first, row], input_fingerprint="f")


@pytest.mark.parametrize("path", ["abc", ["a"], ("a", None), None], ids=["text", "list", "null inside", "null"])
def test_a_list_column_takes_only_tuples_of_text(path: Any, tmp_path: Path) -> None:
    pair = Pair("s", "p", "i", "x", "w", 1, 2, "t", path, "u", "test", None, 1, "r", "i", "f", "f", "a", "a", "w")
    with pytest.raises(FactsError, match="row 0 of pairs: column heading_path must be list of text, found"):
        Facts(str(tmp_path)).publish(Pair, "s", [pair], input_fingerprint="f")


CHILD = """
import sys
from valbench_dagster.adapters.facts import Facts
from valbench_dagster.records import CheckFailure

url, where = sys.argv[1:]

def wait():
    print("here", flush=True)
    sys.stdin.read()
    return 0

def rows():
    for number in range(20_000):  # more than one row group
        yield CheckFailure("sample-20260101", "pairs", "new", f"{number:08d}", "why")
    if where == "rows":
        wait()

Facts(url).publish(CheckFailure, "all", rows(), input_fingerprint="new", unfinished=wait if where == "pointer" else 0)
"""


@pytest.mark.parametrize("where", ["rows", "pointer"])
def test_a_publisher_killed_midway_leaves_the_old_facts(where: str, tmp_path: Path) -> None:
    # Killed once while rows are still being written, once with the file in place and the pointer not.
    facts = Facts(str(tmp_path))
    before = facts.publish(CheckFailure, "all", [failure(1)], input_fingerprint="old")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), where], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        child.send_signal(signal.SIGKILL)
    assert facts.current(CheckFailure, "all") == before
    assert list(facts.rows(CheckFailure, "all")) == [failure(1)]
    left = [path.name for path in (tmp_path / "check_failures" / "all").iterdir()]
    assert len(left) == 3

    assert facts.sweep(older_than_s=3600) == []
    assert len(facts.sweep(older_than_s=0)) == 1
    assert list(facts.rows(CheckFailure, "all")) == [failure(1)]


def test_publishers_of_different_partitions_do_not_disturb_each_other(tmp_path: Path) -> None:
    def publish(name: str) -> None:
        rows = (failure(number, name) for number in range(3000))
        Facts(str(tmp_path)).publish(CheckFailure, f"sample-20260101/{name}", rows, input_fingerprint=name)

    names = [f"model-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, names))
    facts = Facts(str(tmp_path))
    assert facts.partitions(CheckFailure) == [f"sample-20260101/{name}" for name in names]
    for name in names:
        assert {row.check_name for row in facts.rows(CheckFailure, f"sample-20260101/{name}")} == {name}


def test_of_publishers_of_one_partition_one_stands_whole(tmp_path: Path) -> None:
    def publish(name: str) -> None:
        Facts(str(tmp_path)).publish(
            CheckFailure, "all", [failure(n, name) for n in range(500)], input_fingerprint=name
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, "abcdefgh"))
    facts = Facts(str(tmp_path))
    [name] = {row.check_name for row in facts.rows(CheckFailure, "all")}
    pointer = facts.current(CheckFailure, "all")
    assert pointer is not None
    assert pointer.input_fingerprint == name


def test_partitions_nest_and_are_listed_sorted(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    for partition in ("b", "a/x/y", "a", "a/x"):
        facts.publish(CheckFailure, partition, [failure(1, partition)], input_fingerprint="f")
    assert facts.partitions(CheckFailure) == ["a", "a/x", "a/x/y", "b"]
    assert [row.check_name for row in facts.rows(CheckFailure, "a/x")] == ["a/x"]
    assert facts.partitions(Pair) == []


@pytest.mark.parametrize(
    "partition", ["", "..", "a/../b", "/a", "a/", "a//b", ".a", "_CURRENT.json", "a\\b", "a\n", "a b", "ä", "a:b"]
)
def test_a_partition_that_is_not_a_plain_name_is_refused(partition: str, tmp_path: Path) -> None:
    facts = Facts(str(tmp_path / "facts"))
    uses: list[Callable[[], Any]] = [
        lambda: facts.publish(CheckFailure, partition, [], input_fingerprint="f"),
        lambda: facts.current(CheckFailure, partition),
        lambda: facts.rows(CheckFailure, partition),
        lambda: facts.paths(CheckFailure, [partition]),
    ]
    for use in uses:
        with pytest.raises(FactsError, match="is no partition: expected letters"):
            use()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "_EMPTY" not in path.name]


def test_facts_that_are_not_there_are_an_error_with_what_to_do(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    assert facts.current(CheckFailure, "s") is None
    with pytest.raises(FactsError, match=r"there are no check_failures of s .* materialise check_failures of s"):
        facts.rows(CheckFailure, "s")
    with pytest.raises(FactsError, match="there are no check_failures of s"):
        facts.frame(CheckFailure, "s")


def test_a_table_without_facts_can_be_read(tmp_path: Path) -> None:
    for record in RECORDS:
        paths = Facts(str(tmp_path)).paths(record, ["never-published"])
        assert len(paths) == 1
        frame = pl.read_parquet(paths)
        assert frame.height == 0
        assert frame.columns == list(column_docs(record))


def test_paths_lists_the_files_of_the_partitions_asked_for(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    for name in "abc":
        facts.publish(CheckFailure, name, [failure(1, name)], input_fingerprint="f")
    frame = pl.read_parquet(facts.paths(CheckFailure, ["c", "a", "c"]))
    assert frame["check_name"].to_list() == ["a", "c"]


def test_older_facts_are_nothing_to_a_step_and_a_sentence_to_a_reader(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    facts.publish(Old, "s", [Old("a")], input_fingerprint="f")
    assert facts.current(New, "s") is None
    for use in (lambda: facts.rows(New, "s"), lambda: facts.paths(New, ["s"])):
        with pytest.raises(FactsError, match="schema version 1, expected 2: materialise changing of s again"):
            use()
    facts.publish(New, "s", [New("a", 1.0)], input_fingerprint="f")
    assert list(facts.rows(New, "s")) == [New("a", 1.0)]


def test_newer_facts_ask_for_a_newer_program(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    facts.publish(New, "s", [New("a", None)], input_fingerprint="f")
    for use in (lambda: facts.current(Old, "s"), lambda: facts.rows(Old, "s")):
        with pytest.raises(FactsError, match="schema version 2, this program knows 1: upgrade it"):
            use()


def test_columns_changed_without_a_new_version_are_noticed(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    facts.publish(Old, "s", [Old("a")], input_fingerprint="f")
    with pytest.raises(FactsError, match="raise VERSION"):
        list(facts.rows(Unversioned, "s"))


def test_a_damaged_pointer_is_named(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    facts.publish(Old, "s", [Old("a")], input_fingerprint="f")
    (tmp_path / "changing" / "s" / "_CURRENT.json").write_text('{"table": "changing"')
    with pytest.raises(FactsError, match=r"changing/s/_CURRENT.json is damaged: delete it"):
        facts.current(Old, "s")


def test_a_pointer_of_another_partition_is_not_believed(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    facts.publish(Old, "s", [Old("a")], input_fingerprint="f")
    (tmp_path / "changing" / "s").rename(tmp_path / "changing" / "t")
    with pytest.raises(FactsError, match="is of changing s, expected changing t"):
        facts.current(Old, "t")


def test_a_damaged_page_is_noticed_when_read(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    pointer = facts.publish(CheckFailure, "s", map(failure, range(100)), input_fingerprint="f")
    path = tmp_path / "check_failures" / "s" / pointer.files[0].name
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"CRC|corrupt|Corrupt|checksum"):
        list(facts.rows(CheckFailure, "s"))


def test_the_sweep_spares_what_is_current_young_or_was_current_a_moment_ago(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    first = facts.publish(CheckFailure, "s", [failure(1)], input_fingerprint="f")
    facts.publish(CheckFailure, "s", [failure(2)], input_fingerprint="f")
    folder = tmp_path / "check_failures" / "s"
    replaced = folder / first.files[0].name
    os.utime(replaced, (0, 0))
    # Written long ago, but current until the pointer was replaced just now: a reader may still want it.
    assert facts.sweep(older_than_s=3600) == []
    os.utime(folder / "_CURRENT.json", (0, 0))
    assert facts.sweep(older_than_s=3600) == [str(replaced)]
    assert list(facts.rows(CheckFailure, "s")) == [failure(2)]
    facts.paths(CheckFailure, ["s"])
    assert facts.sweep(older_than_s=0) == []


@pytest.mark.parametrize("url", ["disk", "memory://withdrawing/facts"])
def test_withdrawn_facts_are_gone_for_readers_at_once_and_their_files_with_the_sweep(url: str, tmp_path: Path) -> None:
    facts = Facts(str(tmp_path) if url == "disk" else url)
    facts.publish(CheckFailure, "s", [failure(1), failure(2)], input_fingerprint="f")
    facts.publish(CheckFailure, "t", [failure(3)], input_fingerprint="f")
    assert facts.size(CheckFailure, "s") > facts.size(CheckFailure, "t") > 0
    assert facts.withdraw(CheckFailure, "s")
    assert facts.current(CheckFailure, "s") is None
    assert facts.partitions(CheckFailure) == ["t"]
    assert not facts.withdraw(CheckFailure, "s"), "there is none any more"
    # Somebody may be reading the file: it goes by its age.
    assert facts.sweep(older_than_s=3600) == []
    assert facts.size(CheckFailure, "s") > 0
    assert len(facts.sweep(older_than_s=0)) == 1
    assert (facts.size(CheckFailure, "s"), facts.size(CheckFailure, "nowhere")) == (0, 0)
    assert list(facts.rows(CheckFailure, "t")) == [failure(3)]


def test_facts_whose_pointer_cannot_be_read_can_be_withdrawn(tmp_path: Path) -> None:
    facts = Facts(str(tmp_path))
    facts.publish(CheckFailure, "s", [failure(1)], input_fingerprint="f")
    (tmp_path / "check_failures" / "s" / "_CURRENT.json").write_text("{", encoding="utf-8")
    assert facts.withdraw(CheckFailure, "s")
    assert facts.current(CheckFailure, "s") is None


def test_an_object_store_holds_facts_like_a_disk() -> None:
    facts = Facts("memory://a-store/facts")
    facts.publish(CheckFailure, "s/m", map(failure, range(10)), input_fingerprint="f")
    pointer = facts.publish(CheckFailure, "s/m", map(failure, range(20_000)), input_fingerprint="f")
    assert facts.current(CheckFailure, "s/m") == pointer
    assert facts.partitions(CheckFailure) == ["s/m"]
    assert list(facts.rows(CheckFailure, "s/m")) == [failure(number) for number in range(20_000)]
    assert facts.frame(CheckFailure, "s/m").height == 20_000
    paths = facts.paths(CheckFailure, ["s/m"])
    assert len(paths) == 2
    assert all(path.startswith("memory://") for path in paths)
    assert len(facts.sweep(older_than_s=0)) == 1
    assert facts.frame(CheckFailure, "s/m").height == 20_000


def test_a_record_is_what_its_protocol_asks() -> None:
    declared: list[type[Record]] = list(RECORDS)
    tables = [record.TABLE for record in declared]
    assert len(set(tables)) == len(tables)
    for record in declared:
        assert set(record.KEY) <= set(column_docs(record))
