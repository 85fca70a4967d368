"""Processes that die in the middle of asking by batches, and providers that are not well: nothing lost or paid twice.

A process dies where a test says, and the next run has nothing but the ledger and the provider, which counts what it
works off.
"""

import asyncio
import logging
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.llm.batches.port import BatchLimits
from valbench_dagster.llm.stops import EndpointRefused
from valbench_dagster_tests.batch_fakes import Killed, Lab, asked
from valbench_dagster_tests.batch_provider import BatchProvider, Fate, Fault, billed_twice

# --- crashes ---------------------------------------------------------------------------------------------------------

DEATHS = [
    *((kind, after) for kind in ("planned", "uploaded", "created", "ended", "collected") for after in (False, True)),
    *((f"call {number}", after) for number in (0, 3, 9) for after in (False, True)),
]


@pytest.mark.parametrize(("place", "after"), DEATHS, ids=lambda value: str(value))
@pytest.mark.parametrize("same_run", [True, False], ids=["rerun", "another run"])
def test_a_process_that_dies_while_storing_loses_and_repays_nothing(place: str, after: bool, same_run: bool) -> None:
    lab, questions = Lab(), asked(10)
    lab.ledger.dies_at, lab.ledger.dies_after = place, after
    with pytest.raises(Killed):
        lab.run(questions)
    lab.runs -= same_run
    lab.run(questions)
    assert lab.answered(questions) == ["reply"] * 10
    assert not billed_twice(lab.provider)
    assert not lab.ledger.twice()
    assert len(lab.provider.jobs) == 1
    assert not lab.ledger.batch_events("lab")


@pytest.mark.parametrize("request_kind", ["upload", "create", "retrieve", "content", "delete"])
def test_a_process_that_dies_while_it_waits_for_an_answer_loses_and_repays_nothing(request_kind: str) -> None:
    lab, questions = Lab(), asked(10)
    lab.transport.dies_in = request_kind
    with pytest.raises(Killed):
        lab.run(questions)
    lab.transport.dies_in = None
    lab.run(questions)
    assert lab.answered(questions) == ["reply"] * 10
    assert not billed_twice(lab.provider)
    assert len(lab.provider.jobs) == 1
    # What was uploaded and never stored stays until it expires there; the run cannot know of it.
    assert len(lab.provider.files) == (request_kind == "upload") + (request_kind == "delete") * 2 - (
        request_kind == "delete"
    )


def test_a_file_without_a_batch_is_uploaded_again_and_the_old_one_removed() -> None:
    lab, questions = Lab(), asked(3)
    lab.ledger.dies_at, lab.ledger.dies_after = "uploaded", True
    with pytest.raises(Killed):
        lab.run(questions)
    lab.run(questions)
    assert lab.provider.asked["upload"] == 2
    assert lab.clean()


def test_a_batch_is_not_collected_before_all_its_questions_are_pulled() -> None:
    # Two batches of five; with one open at once and chunks of two, the rerun stops pulling after the sixth question.
    lab, questions = Lab(), asked(10)
    lab.ledger.dies_at = "ended"
    with pytest.raises(Killed):
        lab.run(questions, limits=BatchLimits(requests_a_file=5))
    lab.run(questions, limits=BatchLimits(requests_a_file=5, open_at_once=1), chunk=2)
    assert lab.batches() == [5, 5]
    assert lab.answered(questions) == ["reply"] * 10
    assert lab.clean()


@settings(max_examples=60)
@given(
    deaths=st.lists(
        st.tuples(
            st.sampled_from(
                ["planned", "uploaded", "created", "ended", "collected", *(f"call {n}" for n in range(12))]
            ),
            st.booleans(),
        ),
        max_size=6,
    ),
    fates=st.lists(
        st.builds(Fate, st.sampled_from(["completed", "expired", "cancelled"]), st.none() | st.integers(0, 6)),
        max_size=6,
    ),
)
def test_however_often_it_dies_each_question_is_answered_and_none_is_paid_twice(
    deaths: list[tuple[str, bool]], fates: list[Fate]
) -> None:
    def fate(number: int) -> Fate:
        # A completed batch has a line for every request.
        given = fates[number] if number < len(fates) else Fate()
        return replace(given, answered=None) if given.ends == "completed" else given

    lab, questions = Lab(BatchProvider(fate=fate)), asked(12)
    for place, after in deaths:
        lab.ledger.dies_at, lab.ledger.dies_after = place, after
        try:
            lab.run(questions, limits=BatchLimits(requests_a_file=5), rounds=20)
        except Killed:
            continue
    lab.ledger.dies_at = None  # it never came to the last place
    lab.run(questions, limits=BatchLimits(requests_a_file=5), rounds=20)
    assert lab.answered(questions) == ["reply"] * 12
    assert not billed_twice(lab.provider)
    assert not lab.ledger.twice()


def test_a_run_that_is_stopped_says_that_its_batches_go_on(caplog: pytest.LogCaptureFixture) -> None:
    lab, questions = Lab(BatchProvider(fate=lambda _: Fate(looks=50))), asked(3)

    async def stopped() -> None:
        asking = asyncio.create_task(lab.asking(questions, run="run-1"))
        while "created" not in lab.ledger.kinds():
            await asyncio.sleep(0)
        asking.cancel()
        await asking

    with caplog.at_level(logging.WARNING), pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped())
    assert "1 batches with 3 requests are at endpoint lab: they go on there; run again to collect" in caplog.text
    lab.run(questions)
    assert lab.batches() == [3]
    assert lab.answered(questions) == ["reply"] * 3


# --- a provider that is not well -------------------------------------------------------------------------------------


def test_a_batch_that_was_made_though_its_answer_was_an_error_is_not_made_again() -> None:
    lab, questions = Lab(), asked(4)
    lab.provider.goes_wrong("create", Fault(500, done=True))
    lab.run(questions)
    assert lab.batches() == [4]
    assert lab.provider.asked["create"] == 1
    assert not billed_twice(lab.provider)


def test_a_batch_that_was_not_made_is_asked_for_again() -> None:
    lab, questions = Lab(), asked(4)
    lab.provider.goes_wrong("create", Fault(503), Fault(429), Fault(500))
    lab.run(questions)
    assert lab.batches() == [4]
    assert lab.provider.asked["create"] == 4


@pytest.mark.parametrize("request_kind", ["upload", "retrieve", "content", "list"])
def test_passing_faults_of_the_api_are_waited_out(request_kind: str) -> None:
    lab, questions = Lab(), asked(4)
    lab.provider.goes_wrong(request_kind, *([Fault(503), Fault(429), Fault(500)] * 3))
    lab.provider.goes_wrong("create", Fault(500))
    lab.run(questions)
    assert lab.answered(questions) == ["reply"] * 4
    assert lab.batches() == [4]


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("request_kind", ["upload", "create", "retrieve"])
def test_a_refusal_of_the_api_stops_the_run_at_once(request_kind: str, status: int) -> None:
    lab, questions = Lab(), asked(4)
    lab.provider.goes_wrong(request_kind, Fault(status, "no", "not with this key"))
    with pytest.raises(
        EndpointRefused, match=rf"endpoint lab did not .*HTTP {status}: no: not with this key.*run again"
    ):
        lab.run(questions)
    assert lab.provider.asked[request_kind] == 1
    lab.run(questions)
    assert lab.answered(questions) == ["reply"] * 4
    assert not billed_twice(lab.provider)


def test_a_provider_that_is_away_for_an_hour_ends_the_run_and_the_batch_is_collected_later() -> None:
    lab, questions = Lab(), asked(4)
    lab.provider.goes_wrong("retrieve", *([Fault(503)] * 1000))
    with pytest.raises(EndpointRefused, match=r"did not show batch batch_001 for \d+ minutes .*go on there"):
        lab.run(questions)
    assert 1800 < lab.clock.time < 2 * 3600
    lab.provider.faults.clear()
    lab.run(questions)
    assert lab.batches() == [4]


def test_a_file_that_cannot_be_deleted_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    lab, questions = Lab(), asked(2)
    lab.provider.goes_wrong("delete", Fault(500))
    with caplog.at_level(logging.WARNING):
        lab.run(questions)
    assert "did not delete file file-001" in caplog.text
    assert lab.answered(questions) == ["reply"] * 2
