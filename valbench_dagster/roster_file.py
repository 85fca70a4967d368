"""The roster's file: read, checked, and every problem told at once with file, line and key.

What may stand in a roster is `roster.py`.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from valbench_dagster.llm.apis.completions import template_problem
from valbench_dagster.llm.calls import ApiKind
from valbench_dagster.prompting import PromptError, load_prompt
from valbench_dagster.roster import ModelEntry, Roster, RosterError, Sampling


def load_roster(path: Path) -> Roster:
    """Read and check a roster; raises `RosterError` with every problem in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RosterError(f"there is no roster at {path}: set VALBENCH_ROSTER or run `valbench init`") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RosterError(f"{path}: {error}") from error
    where = _Lines(text)
    try:
        roster = Roster.model_validate(data)
    except ValidationError as error:
        problems = [(item["loc"], _sentence(dict(item))) for item in error.errors()]
    else:
        problems = list(_cross_references(roster))
        if not problems:
            return roster
    lines = sorted((where.line(place), _key(place), message) for place, message in problems)
    listing = "\n".join(f"{path}:{line}: {key}: {message}" for line, key, message in lines)
    count = f"{len(lines)} problem{'s' * (len(lines) > 1)}"
    raise RosterError(f"{count} in the roster:\n{listing}\nMend the file, then run: valbench doctor")


def _sentence(error: dict[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "no such key here; is it misspelt?"
    if error["type"] == "missing":
        return "is missing"
    found = "" if isinstance(error["input"], dict) else f" (found {error['input']!r})"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}{found}"


def _cross_references(roster: Roster) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Find names that name nothing, and models that stand twice."""

    def unknown(kind: str, name: str, known: Mapping[str, Any]) -> str:
        return f"there is no [{kind}.{name}]; there are: {', '.join(sorted(known)) or 'none'}"

    for role in ("annotator", "writer"):
        if (name := getattr(roster.defaults, role)) not in roster.worker:
            yield ("defaults", role), unknown("worker", name, roster.worker)
    for name in roster.defaults.judges:
        if name not in roster.judge:
            yield ("defaults", "judges"), unknown("judge", name, roster.judge)
    for name, judge in roster.judge.items():
        if judge.worker not in roster.worker:
            yield ("judge", name, "worker"), unknown("worker", judge.worker, roster.worker)
        if len(set(judge.orders)) < len(judge.orders):
            yield ("judge", name, "orders"), "names an order twice"
        if not re.fullmatch(r"judge_[a-z0-9_]+", judge.prompt):
            yield ("judge", name, "prompt"), f"{judge.prompt!r} is no judge prompt (judge_v3, judge_released)"
        else:
            yield from _prompt_problem(("judge", name, "prompt"), judge.prompt, judge.prompt_version)
    asked: list[tuple[tuple[str | int, ...], Sampling]] = [
        *((("worker", name), worker) for name, worker in roster.worker.items()),
        *((("model", index), model) for index, model in enumerate(roster.model)),
    ]
    for place, entry in asked:
        if entry.endpoint not in roster.endpoint:
            yield (*place, "endpoint"), unknown("endpoint", entry.endpoint, roster.endpoint)
        else:
            for key, message in _against_api(roster.endpoint[entry.endpoint].api, entry, _has_system(roster, entry)):
                yield (*place, key), message
    seen: set[str] = set()
    for index, model in enumerate(roster.model):
        if model.id in seen:
            yield ("model", index, "id"), f"{model.id!r} stands twice"
        seen.add(model.id)
        if model.system_prompt not in roster.system_prompt:
            yield from _prompt_problem(("model", index, "system_prompt"), f"respondent_{model.system_prompt}", None)


def _against_api(api: ApiKind, entry: Sampling, has_system: bool) -> Iterator[tuple[str, str]]:
    """Find settings that the API kind of the entry's endpoint does not have, or wants."""
    if (entry.template is not None) != (api == "completions"):
        yield "template", f"belongs to the API kind completions, and must stand there; the endpoint's is {api}"
    elif entry.template is not None and (problem := template_problem(entry.template, has_system=has_system)):
        yield "template", problem
    if entry.seed is not None and api == "responses":
        yield "seed", "is not offered by the API kind responses"
    if entry.web_search and api != "responses":
        yield "web_search", f"is offered by the API kind responses alone; the endpoint's is {api}"
    for key, kind in (("max_tokens", "responses"), ("max_completion_tokens", "responses"), ("max_output_tokens", "")):
        if getattr(entry, key) is not None and (api == "responses") == bool(kind):
            wanted = "max_output_tokens" if api == "responses" else "max_tokens or max_completion_tokens"
            yield key, f"is not what the API kind {api} calls it: {wanted}"


def _has_system(roster: Roster, entry: Sampling) -> bool:
    """Tell whether an entry is asked with a system message; a worker always is."""
    if not isinstance(entry, ModelEntry):
        return True
    try:
        return roster.respondent_prompt(entry).system is not None
    except PromptError:
        return True  # told as a problem of its own


def _prompt_problem(
    place: tuple[str | int, ...], name: str, version: int | None
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    try:
        load_prompt(name, version)
    except PromptError as error:
        yield place, str(error.args[0])


def _key(place: tuple[str | int, ...]) -> str:
    return ".".join(f"[{part + 1}]" if isinstance(part, int) else part for part in place).replace(".[", "[")


class _Lines:
    """Where a key stands in the file, for messages: `tomllib` does not say."""

    def __init__(self, text: str) -> None:
        self._at: dict[tuple[str | int, ...], int] = {}
        table: tuple[str | int, ...] = ()
        arrays: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if found := re.match(r"\s*\[\[([^\]]+)\]\]", line):
                name = found[1].strip()
                arrays[name] = arrays.get(name, -1) + 1
                table = (name, arrays[name])
            elif found := re.match(r"\s*\[([^\]]+)\]", line):
                table = tuple(part.strip().strip("\"'") for part in found[1].split("."))
            elif found := re.match(r"\s*[\"']?([^\"'=\s]+)[\"']?\s*=", line):
                self._at.setdefault((*table, found[1]), number)
                continue
            else:
                continue
            self._at.setdefault(table, number)

    def line(self, place: tuple[str | int, ...]) -> int:
        """Give the line of a key, else that of the nearest table around it, else 1."""
        for length in range(len(place), 0, -1):
            if (number := self._at.get(place[:length])) is not None:
                return number
        return 1
