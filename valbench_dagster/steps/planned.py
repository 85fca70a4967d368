"""Planned: what a plan says, as frozen records. How it is found out is `planning.py`, how it is shown a report's."""

from dataclasses import dataclass

from valbench_dagster.llm.estimate import Estimate


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a run: its questions, and what those to be made will probably take.

    `run` is `dataset`, or the model that is evaluated; `fact` the table that the step makes, `asker` the roster's name
    of the worker, respondent or judge that is asked, `model` its name at the endpoint. Of `questions`, `known` have a
    reply, `shared` get one by an earlier step of the plan, and the rest is `estimate.calls`: of these `failed` were
    asked before and have no reply, and `foreseen` could not be made up, since their input is not there yet.
    `published` is true where the step's facts are complete: it asks nothing. `basis` says what the estimate rests on,
    null where nothing is to be asked.
    """

    run: str
    fact: str
    asker: str
    endpoint: str
    model: str
    questions: int
    known: int
    shared: int
    failed: int
    foreseen: int
    published: bool
    estimate: Estimate
    basis: str | None


@dataclass(frozen=True, slots=True)
class CapFit:
    """Whether the run that needs most of it fits under a cap; `at_most` is the upper end of what it may need."""

    cap: str
    allowed: float
    run: str
    needed: float
    at_most: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be asked about a snapshot, in the order of the steps.

    `asked` says which pairs. `total` is of all runs, one after the other. `notes` say what was assumed, `to_run` what
    to do for it, in order.
    """

    snapshot: str
    asked: str
    steps: tuple[PlannedStep, ...]
    total: Estimate
    caps: tuple[CapFit, ...]
    notes: tuple[str, ...]
    to_run: tuple[str, ...]
