"""Planning: what a run would ask, what of it is in the ledger already, and what the rest will probably cost.

No call is made, no key is needed and nothing is written; a ledger that is not there yet is not created (one of an older
layout is made fit, as by any program that opens it). Questions are those of the steps themselves. Where a step's input
is not published yet, its questions are made of the replies that the ledger holds, and the rest is foreseen and marked
so (`foreseeing.py`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.llm.budget import Caps
from valbench_dagster.llm.estimate import Calibration, Estimate, Load, Pace, calibrate, estimate
from valbench_dagster.records import CandidatePair, Issue, Pair, Response, Section
from valbench_dagster.roster import Endpoint, RosterError
from valbench_dagster.stages.responses import SidedPair
from valbench_dagster.stages.subsets import Subset
from valbench_dagster.steps import foreseeing
from valbench_dagster.steps.asking_step import AskingStep, roster_caps
from valbench_dagster.steps.counting import Counted, NoLedger, PlannedLedger, count_step, settled
from valbench_dagster.steps.dataset import candidates_step, issues_step
from valbench_dagster.steps.evaluation import chosen_pairs, responses_step, verdicts_step
from valbench_dagster.steps.planned import CapFit, Plan, PlannedStep
from valbench_dagster.steps.project import Project

DATASET = "dataset"
"""The run that makes issues and pairs; every other is of one model and named after it."""


class PlanError(ValueError):
    """What cannot be planned, and what to do first."""


def plan(
    project: Project,
    snapshot: str,
    models: Sequence[str],
    *,
    judges: Sequence[str] = (),
    subset: Subset | None = None,
    caps: Caps | None = None,
    dataset: bool = False,
) -> Plan:
    """Plan the evaluation of models on a snapshot by judges (none: the roster's), on a subset (null: the roster's).

    With `dataset`, and wherever the snapshot has no pairs yet, its dataset is planned too. `caps` (null: the roster's)
    are held against it. Raises `PlanError` where there is nothing to plan from, `RosterError` for a model or judge that
    the roster does not have.
    """
    roster = project.roster
    for judge in judges:
        if judge not in roster.judge:
            raise RosterError(f"the roster has no judge {judge!r}; it has: {', '.join(sorted(roster.judge))}")
    for model in models:
        roster.respondent(model)
    asked = subset or Subset(roster.defaults.subset, roster.defaults.subset_seed)
    with _ledger(project) as ledger:
        planner = _Planner(project, snapshot, ledger, asked)
        pairs = planner.pairs(make=dataset)
        for model in dict.fromkeys(models):
            planner.evaluate(model, tuple(dict.fromkeys(judges)) or roster.defaults.judges, pairs)
    return Plan(
        snapshot=snapshot,
        asked=pairs.told,
        steps=tuple(planner.steps),
        total=sum((step.estimate for step in planner.steps), Estimate()),
        caps=tuple(_fits(planner.steps, caps or roster_caps(roster))),
        notes=tuple(dict.fromkeys(planner.notes)),
        to_run=tuple(_to_run(project, snapshot, models, judges, subset, caps, dataset=dataset)),
    )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The pairs to be asked about: the published ones (null), or those so far and how many `more` there will be."""

    told: str
    so_far: list[Pair] | None
    more: float = 0.0


class _Planner:
    """Plans step after step, each from what those before it will leave."""

    def __init__(self, project: Project, snapshot: str, ledger: PlannedLedger, subset: Subset) -> None:
        self._project = project
        self._snapshot = snapshot
        self._ledger = ledger
        self._subset = subset
        self._seen: set[str] = set()
        self.steps: list[PlannedStep] = []
        self.notes: list[str] = []

    def pairs(self, *, make: bool) -> _Pairs:
        """Plan the dataset where it is wanted or missing, and give the pairs there will be."""
        project, snapshot, workers = self._project, self._snapshot, self._project.roster.defaults
        published = project.facts.current(Pair, snapshot) is not None
        if published and not make:
            return self._published()
        if project.facts.current(Section, snapshot) is None:
            raise PlanError(
                f"there are no sections of {snapshot} yet, and a plan starts from them: materialise the assets `dump` "
                "and `sections` for it first (they ask no model), then plan again"
            )
        issues = issues_step(project, snapshot)
        annotated = self._count(issues)
        self._add(DATASET, issues, workers.annotator, annotated)
        candidates: AskingStep[Any, CandidatePair]
        if annotated.published:
            candidates = candidates_step(project, snapshot)
        else:
            candidates = foreseeing.candidates_of(
                project, snapshot, lambda: settled(project, issues, self._ledger, annotated)
            )
        written = self._count(candidates)
        more = Load()
        if annotated.to_make.calls:
            kept = foreseeing.share(project, snapshot, CandidatePair, Issue)
            self.notes.append(f"candidate_pairs: {kept.basis}")
            one = foreseeing.mean(written.all) or foreseeing.typical_candidate(annotated.all)
            more = one.times(round(annotated.to_make.calls * kept.value))
        self._add(DATASET, candidates, workers.writer, written, more)
        if published and written.published:
            return self._published()
        accepted = foreseeing.share(project, snapshot, Pair, CandidatePair)
        self.notes.append(f"pairs: {accepted.basis}")
        share = accepted.value * foreseeing.SPLIT_SHARES[workers.split] * self._subset.fraction
        return _Pairs(
            told=f"subset {self._subset.label} of the split {workers.split}; its pairs are yet to be made",
            so_far=foreseeing.pairs_of(settled(project, candidates, self._ledger, written), workers.split),
            more=(written.to_make.calls + more.calls) * share,
        )

    def _published(self) -> _Pairs:
        try:
            return _Pairs(chosen_pairs(self._project, self._snapshot, self._subset).told, None)
        except ValueError as error:
            raise PlanError(str(error)) from error

    def evaluate(self, model: str, judges: Sequence[str], pairs: _Pairs) -> None:
        """Plan the run of one model: its responses, and the verdicts of each judge."""
        project, samples = self._project, self._project.roster.respondent(model).samples
        if pairs.so_far is None:
            responses = responses_step(project, self._snapshot, model, self._subset)
        else:
            responses = foreseeing.responses_of(project, self._snapshot, model, pairs.so_far, self._subset)
        answered = self._count(responses)
        one = foreseeing.mean(answered.all) or foreseeing.typical_response(responses.served, responses.prompt)
        more = one.times(2 * samples * round(pairs.more))
        calibration = self._add(model, responses, model, answered, more)
        for judge in judges:
            self._judge(model, judge, responses, answered, more.calls, calibration)

    def _judge(
        self,
        model: str,
        judge: str,
        responses: AskingStep[SidedPair, Response],
        answered: Counted,
        more: int,
        calibration: Calibration,
    ) -> None:
        """Plan the verdicts of a judge on the responses that are there, and on those that are to come, `more` too."""
        project, ledger, entry = self._project, self._ledger, self._project.roster.judge[judge]
        if answered.published:
            verdicts = verdicts_step(project, self._snapshot, model, judge)
            self._add(model, verdicts, judge, self._count(verdicts))
            return
        verdicts = foreseeing.verdicts_of(
            project, f"{responses.partition}/{judge}", judge, lambda: settled(project, responses, ledger, answered)
        )
        read = self._count(verdicts)
        coming = (answered.questions + more) // 2 * len(entry.orders) - read.questions - read.nothing
        one = foreseeing.mean(read.all)
        if one is None:
            pair = next((sided.pair for sided in responses.items()), None)
            one = foreseeing.typical_verdict(verdicts.served, verdicts.prompt, pair, calibration.text_tokens)
        self._add(model, verdicts, judge, read, one.times(coming))

    def _count(self, step: AskingStep[Any, Any]) -> Counted:
        return count_step(self._project, step, self._ledger, self._seen)

    def _add(
        self, run: str, step: AskingStep[Any, Any], asker: str, counted: Counted, more: Load | None = None
    ) -> Calibration:
        """Put a step into the plan, with the load of calls that are foreseen; give what its calls are like."""
        served, fact, load = step.served, step.record.TABLE, counted.to_make + (more or Load())
        named = asker if fact in ("responses", "verdicts") else None
        structured = step.prompt.schema is not None
        calibration = calibrate(self._ledger, served, structured=structured, fact=fact, asker=named)
        self.steps.append(
            PlannedStep(
                run=run,
                fact=fact,
                asker=asker,
                endpoint=served.endpoint,
                model=served.model,
                questions=counted.questions + (more.calls if more else 0),
                known=counted.known,
                shared=counted.shared,
                failed=counted.failed,
                foreseen=more.calls if more else 0,
                published=counted.published,
                estimate=estimate(
                    load, calibration, served.prices, _pace(self._project.roster.endpoint[served.endpoint])
                ),
                basis=calibration.basis if load.calls else None,
            )
        )
        return calibration


def _pace(endpoint: Endpoint) -> Pace:
    return Pace(
        endpoint.concurrency, endpoint.requests_per_minute or None, endpoint.tokens_per_minute or None, endpoint.batch
    )


def _fits(steps: Sequence[PlannedStep], caps: Caps) -> Iterator[CapFit]:
    """Hold each cap against the run that needs most of it: a cap is for a run, not for all of them."""
    runs: dict[str, Estimate] = {}
    for step in steps:
        runs[step.run] = runs.get(step.run, Estimate()) + step.estimate
    needs: dict[str, tuple[float | None, dict[str, tuple[float, float]]]] = {
        "max_cost": (caps.cost, {run: (needed.cost, needed.cost_high) for run, needed in runs.items()}),
        "max_tokens": (caps.tokens, {run: (needed.tokens, needed.tokens) for run, needed in runs.items()}),
        "max_calls": (caps.calls, {run: (needed.calls, needed.calls) for run, needed in runs.items()}),
    }
    for cap, (allowed, by_run) in needs.items():
        if allowed is not None and by_run:
            run, (needed, at_most) = max(by_run.items(), key=lambda each: each[1])
            yield CapFit(cap, allowed, run, needed, at_most)


def _to_run(
    project: Project,
    snapshot: str,
    models: Sequence[str],
    judges: Sequence[str],
    subset: Subset | None,
    caps: Caps | None,
    *,
    dataset: bool,
) -> Iterator[str]:
    """Say what to run for a plan, in order; `evaluate` makes the pairs where there are none, and asks the defaults."""
    if not models or (dataset and project.facts.current(Pair, snapshot) is not None):
        yield f"the job refresh_dataset for {snapshot}, in the UI"
    if not models:
        return
    words = ["valbench evaluate", f"--snapshot {snapshot}", *(f"--model {model}" for model in dict.fromkeys(models))]
    if subset is not None:
        words += [f"--subset {subset.fraction!r}", f"--seed {subset.seed}"]
    if caps is not None:
        given = (("cost", caps.cost), ("tokens", caps.tokens), ("calls", caps.calls))
        words += [f"--max-{name} {value}" for name, value in given if value is not None]
    yield " ".join(words)
    for judge in dict.fromkeys(judges):
        if judge not in project.roster.defaults.judges:
            yield f"the asset verdicts/{judge} for {snapshot} and these models, in the UI: it is no default judge"


@contextmanager
def _ledger(project: Project) -> Iterator[PlannedLedger]:
    """Open the ledger, where there is one."""
    url = project.settings.ledger_url
    if url.startswith("sqlite") and not Path(url.partition("///")[2].partition("?")[0]).is_file():
        yield NoLedger()
        return
    with SqlLedger(url) as ledger:
        yield ledger
