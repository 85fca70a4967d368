"""Export and import: a ledger that went through a file is the same ledger, and nothing is in it twice."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.adapters.ledger.sql_ledger import LedgerRefused, SqlLedger
from valbench_dagster.adapters.ledger.transfer import Chosen, Imported, StoredCall, events_beside
from valbench_dagster.adapters.parquet import read_rows, write_file
from valbench_dagster.llm.ledger import FinishedCall
from valbench_dagster_tests.ledger_laws import append, batch_event, record
from valbench_dagster_tests.llm_fakes import request, stored

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
NUMBERS = st.none() | st.integers(0, 2**62)
ANY_CALL = st.builds(
    FinishedCall,
    fingerprint=st.sampled_from([f"{number:032x}" for number in range(5)]),
    kind=st.sampled_from(["reply", "rejected", "failed"]),
    endpoint=TEXTS,
    provider=TEXTS,
    model=TEXTS,
    request=st.binary(max_size=50),
    reply=st.none() | st.binary(max_size=50),
    status=st.none() | st.integers(100, 599),
    message=st.none() | TEXTS,
    input_tokens=NUMBERS,
    output_tokens=NUMBERS,
    started_at=st.datetimes().map(lambda time: f"{time.isoformat(timespec='milliseconds')}+00:00"),
    latency=st.floats(0, 1e6),
    attempts=st.integers(1, 99),
    run=TEXTS,
    schema_mode=st.none() | st.sampled_from(["json_schema", "prompt"]),
    served_model=st.none() | TEXTS,
    cached_tokens=NUMBERS,
    reasoning_tokens=NUMBERS,
    cost=st.none() | st.floats(0, 1e9),
    batch=st.none() | TEXTS,
    step=st.none() | TEXTS,
).map(lambda call: replace(call, reply=(call.reply or b"{}") if call.kind == "reply" else None))


@contextmanager
def ledger_in(folder: Path, name: str) -> Iterator[SqlLedger]:
    with SqlLedger(f"sqlite:///{folder / name}.sqlite") as ledger:
        yield ledger


def contents(ledger: SqlLedger, folder: Path) -> list[StoredCall]:
    """Give every row of a ledger in order, by its own export; places in the ledger left out."""
    path = folder / "contents.parquet"
    ledger.export_calls(path)
    with path.open("rb") as file:
        rows = [replace(row, number=0) for row in read_rows(StoredCall, file, str(path))]
    path.unlink()
    events_beside(path).unlink(missing_ok=True)
    return rows


@settings(max_examples=6)
@given(st.lists(ANY_CALL, max_size=12), st.lists(ANY_CALL, max_size=4))
def test_what_went_through_a_file_is_the_same_ledger(calls: list[FinishedCall], others: list[FinishedCall]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name, "calls.parquet")
        with ledger_in(folder, "one") as one, ledger_in(folder, "two") as two, ledger_in(folder, "three") as three:
            append(one, *calls)
            assert one.export_calls(file).calls == len(calls)
            assert two.import_calls(file) == Imported(len(calls), len(calls), 0, 0)
            rows = contents(one, folder)
            assert contents(two, folder) == rows
            names = FinishedCall.__slots__
            assert [[getattr(row, name) for name in names] for row in rows] == [
                [getattr(call, name) for name in names] for call in calls
            ]
            fingerprints = [call.fingerprint for call in calls]
            assert two.replies(fingerprints) == one.replies(fingerprints)
            assert two.failures(fingerprints) == one.failures(fingerprints)
            # Behind what a ledger has already: its own replies stay the served ones. Twice: nothing more.
            append(three, *others)
            before = three.replies(fingerprints)
            assert three.import_calls(file) == Imported(len(calls), len(calls), 0, 0)
            assert three.import_calls(file) == Imported(len(calls), 0, 0, 0)
            assert three.count() == len(calls) + len(others)
            assert three.replies(fingerprints) == {**one.replies(fingerprints), **before}


def test_a_ledger_takes_its_own_export_without_a_change(tmp_path: Path) -> None:
    with ledger_in(tmp_path, "one") as one:
        append(one, *(stored(request(f"q{number}"), b"x") for number in range(1200)))
        one.export_calls(tmp_path / "calls.parquet")
        assert one.import_calls(tmp_path / "calls.parquet") == Imported(1200, 0, 0, 0)
        assert one.count() == 1200


def test_only_what_is_chosen_is_written(tmp_path: Path) -> None:
    early, noon = "2026-11-01T00:00:00.000+00:00", "2026-11-02T12:00:00.000+00:00"
    with ledger_in(tmp_path, "one") as one:
        append(
            one,
            stored(request("a"), b"x", step="responses/en/m1", endpoint="e1", started_at=early),
            stored(request("b"), b"x", step="responses/en/m2", endpoint="e1", started_at=noon),
            stored(request("c"), b"x", step="responses_more/en", endpoint="e2"),
            stored(request("d"), b"x", step=None, endpoint="e2"),
        )
        record(one, batch_event("b1", "planned"))
        cases = [
            (Chosen(), 4),
            (Chosen(step="responses"), 2),
            (Chosen(step="responses/en/m1"), 1),
            (Chosen(step="responses/en/m"), 0),
            (Chosen(endpoint="e2"), 2),
            (Chosen(since="2026-11-02T00:00:00"), 3),
            (Chosen(since="2026-11-02T12:00:01", endpoint="e1"), 0),
        ]
        for number, (chosen, expected) in enumerate(cases):
            done = one.export_calls(tmp_path / f"{number}.parquet", chosen)
            assert (done.calls, done.events) == (expected, 1 if chosen == Chosen() else 0)


def test_open_batches_move_with_all_calls(tmp_path: Path) -> None:
    events = [
        batch_event("b1", "planned", fingerprints=("f1", "f2"), detail="responses/en/m1"),
        batch_event("b2", "planned", provider="another", fingerprints=("f3",)),
        batch_event("b1", "created", remote_id="batch-1"),
        batch_event("b3", "planned"),
        batch_event("b3", "collected"),
    ]
    file = tmp_path / "calls.parquet"
    with ledger_in(tmp_path, "one") as one, ledger_in(tmp_path, "two") as two:
        record(one, *events)
        done = one.export_calls(file)
        assert (done.events, done.events_path) == (3, tmp_path / "calls.batch_events.parquet")
        assert two.import_calls(file) == Imported(0, 0, 3, 3)
        assert two.batch_events() == one.batch_events() == events[:3]
        assert two.import_calls(file) == Imported(0, 0, 3, 0)
        # What was collected here is not open again because a file says that it was.
        record(two, batch_event("b1", "collected"))
        two.import_calls(file)
        assert [event.batch for event in two.batch_events()] == ["b2"]


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "calls.parquet"
    path.write_text("mine")
    with ledger_in(tmp_path, "one") as one, pytest.raises(FileExistsError, match="name another, or remove it"):
        one.export_calls(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"PAR1 not really PAR1", b"call,reply\n1,2\n" * 100])
def test_a_file_that_no_export_wrote_changes_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calls.parquet"
    path.write_bytes(content)
    with ledger_in(tmp_path, "one") as one:
        append(one, stored(request("a"), b"x"))
        with pytest.raises(LedgerRefused, match=r"calls\.parquet is no file that .* nothing was"):
            one.import_calls(path)
        with pytest.raises(LedgerRefused, match="there is no file"):
            one.import_calls(tmp_path / "nowhere.parquet")
        assert one.count() == 1


def test_events_that_no_export_wrote_keep_the_calls_beside_them_out_too(tmp_path: Path) -> None:
    path = tmp_path / "calls.parquet"
    with ledger_in(tmp_path, "one") as one, ledger_in(tmp_path, "two") as two:
        append(one, stored(request("a"), b"x"))
        one.export_calls(path)
        events_beside(path).write_text("nonsense")
        with pytest.raises(LedgerRefused, match=r"batch_events\.parquet is no file"):
            two.import_calls(path)
        assert two.count() == 0


def test_a_damaged_file_says_how_far_it_came_and_can_be_followed_by_a_sound_one(tmp_path: Path) -> None:
    sound, damaged = tmp_path / "sound.parquet", tmp_path / "damaged.parquet"
    with ledger_in(tmp_path, "one") as one, ledger_in(tmp_path, "two") as two:
        append(one, *(stored(request(f"q{number}"), number.to_bytes(4) * 5000) for number in range(1700)))
        one.export_calls(sound)
        with sound.open("rb") as file:
            rows = list(read_rows(StoredCall, file, str(sound)))
        # Bodies that do not compress to nothing, so that a byte in the middle is one of a page.
        write_file(StoredCall, [replace(row, request=row.call_id.encode() * 30) for row in rows], damaged)
        content = bytearray(damaged.read_bytes())
        content[len(content) * 4 // 5] ^= 0xFF
        damaged.write_bytes(content)
        with pytest.raises(LedgerRefused, match=r"damaged\.parquet is damaged behind its row (\d+) .*stored twice"):
            two.import_calls(damaged)
        there = two.count()
        assert two.import_calls(sound) == Imported(1700, 1700 - there, 0, 0)
        assert two.count() == 1700
