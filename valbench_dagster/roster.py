"""The roster: which models are asked, who annotates, writes and judges, and where they are served.

Reads `roster.toml` into frozen models, refuses unknown keys, and reports every problem at once with file, line and
key. What a prompt says and how a server is called stand elsewhere.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from valbench_dagster.llm.calls import ServedModel
from valbench_dagster.llm.endpoint import STAND_INS
from valbench_dagster.prompting import Prompt, PromptError, custom_system_prompt, load_prompt

Split = Literal["test", "validation", "train", "all"]
# Names become partition keys, asset keys and folder names: a comma, a bar or a slash in one breaks the UI (Dagster
# issues 32183, 19845) or the path.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]


class RosterError(Exception):
    """Everything that is wrong with a roster, one problem a line, each with its place and what to do."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Defaults(_Entry):
    """What is asked when a run does not say otherwise."""

    split: Split = "test"
    annotator: Name
    writer: Name
    judges: tuple[Name, ...] = Field(min_length=1)


class Endpoint(_Entry):
    """An OpenAI-compatible server. `provider` names it in fingerprints: a server that moves keeps its ledger."""

    base_url: str = Field(min_length=1)
    provider: Name
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    api: Literal["chat"] = "chat"
    concurrency: int = Field(default=64, ge=1, le=4096)
    runs: int = Field(default=8, ge=1)
    """How many runs may use the endpoint at once: the size of its pool in Dagster."""
    timeout_s: float = Field(default=600.0, gt=0)
    price_in: float = Field(default=0.0, ge=0)
    price_out: float = Field(default=0.0, ge=0)
    headers: Mapping[str, str] = {}
    extra_body: Mapping[str, Any] = {}
    ca_file: str | None = None
    proxy: str | None = None


class _Sampling(_Entry):
    """Settings of the request body; one that is left out is not sent (reasoning models refuse temperature)."""

    endpoint: Name
    model: str = Field(min_length=1)
    revision: int = Field(default=1, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    reasoning_effort: str | None = None
    seed: int | None = None
    extra_body: Mapping[str, Any] = {}

    def settings(self) -> dict[str, Any]:
        """Give the fields of the request body that this entry sets."""
        fields = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "reasoning_effort", "seed")
        named = {name: getattr(self, name) for name in fields if getattr(self, name) is not None}
        return {**self.extra_body, **named}


class WorkerEntry(_Sampling):
    """A model that annotates, writes or judges."""


class JudgeEntry(_Entry):
    """A worker with a judge prompt; another judge is another asset, `verdicts/<judge>`."""

    worker: Name
    prompt: str
    prompt_version: int | None = Field(default=None, ge=1)
    orders: tuple[Literal["as_asked", "swapped"], ...] = Field(default=("as_asked",), min_length=1)


class ModelEntry(_Sampling):
    """A respondent: one partition of the UI."""

    id: Name
    family: str | None = None
    system_prompt: str = "paper"


class SystemPromptEntry(_Entry):
    """A system prompt of the roster's own."""

    text: str = Field(min_length=1)


class Roster(_Entry):
    """The whole file."""

    defaults: Defaults
    endpoint: Mapping[Name, Endpoint]
    worker: Mapping[Name, WorkerEntry]
    judge: Mapping[Name, JudgeEntry]
    model: tuple[ModelEntry, ...] = ()
    system_prompt: Mapping[Name, SystemPromptEntry] = {}

    def model_ids(self) -> list[str]:
        """Give the ids of all respondents, in the file's order: the keys of the model partition."""
        return [entry.id for entry in self.model]

    def respondent(self, model_id: str) -> ModelEntry:
        """Find a respondent; raises `RosterError` naming those there are."""
        for entry in self.model:
            if entry.id == model_id:
                return entry
        raise RosterError(f"the roster has no model {model_id!r}; it has: {', '.join(self.model_ids())}")

    def served(self, entry: WorkerEntry | ModelEntry) -> ServedModel:
        """Give what a call to this entry's model is made of: the endpoint's extra body under the entry's settings."""
        endpoint = self.endpoint[entry.endpoint]
        return ServedModel(
            endpoint=entry.endpoint,
            provider=endpoint.provider,
            api=endpoint.api,
            model=entry.model,
            revision=entry.revision,
            settings={**endpoint.extra_body, **entry.settings()},
        )

    def respondent_prompt(self, entry: ModelEntry) -> Prompt:
        """Load the respondent prompt an entry names: the roster's own before the package's."""
        own = self.system_prompt.get(entry.system_prompt)
        name = f"respondent_{entry.system_prompt}"
        return custom_system_prompt(entry.system_prompt, own.text) if own else load_prompt(name)

    def is_stand_in(self, endpoint_name: str) -> bool:
        """Tell whether an endpoint serves stand-ins: by address in this process, by provider over the wire."""
        endpoint = self.endpoint[endpoint_name]
        return endpoint.base_url == STAND_INS or endpoint.provider == "stand-ins"


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
    asked: list[tuple[tuple[str | int, ...], _Sampling]] = [
        *((("worker", name), worker) for name, worker in roster.worker.items()),
        *((("model", index), model) for index, model in enumerate(roster.model)),
    ]
    for place, entry in asked:
        if entry.endpoint not in roster.endpoint:
            yield (*place, "endpoint"), unknown("endpoint", entry.endpoint, roster.endpoint)
    seen: set[str] = set()
    for index, model in enumerate(roster.model):
        if model.id in seen:
            yield ("model", index, "id"), f"{model.id!r} stands twice"
        seen.add(model.id)
        if model.system_prompt not in roster.system_prompt:
            yield from _prompt_problem(("model", index, "system_prompt"), f"respondent_{model.system_prompt}", None)


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
