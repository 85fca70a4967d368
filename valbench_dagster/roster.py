"""The roster: which models are asked, who annotates, writes and judges, and where they are served.

Here belongs what may stand in `roster.toml`, as frozen models that refuse unknown keys, and what an entry comes to when
it is called. Reading the file is `roster_file.py`; what a prompt says and how a server is called stand elsewhere.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from valbench_dagster.llm.calls import ApiKind, Prices, ServedModel, Structured
from valbench_dagster.llm.endpoint import STAND_INS
from valbench_dagster.prompting import Prompt, custom_system_prompt, load_prompt

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
    subset: float = Field(default=1.0, gt=0, le=1)
    """Share of the split's articles that is asked; smaller ones lie inside larger ones of the same seed."""
    subset_seed: int = 0
    max_cost: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
    max_calls: int | None = Field(default=None, gt=0)
    """The most a run spends, in money, tokens and calls; a run may be launched with others."""


class Endpoint(_Entry):
    """An OpenAI-compatible server.

    `provider` names it in fingerprints: endpoints of one provider serve the same models, so that a server which moves,
    or has a second address, keeps its ledger.
    """

    base_url: str = Field(min_length=1)
    provider: Name
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    api: ApiKind = "chat"
    concurrency: int = Field(default=64, ge=1, le=4096)
    requests_per_minute: int = Field(default=0, ge=0)
    tokens_per_minute: int = Field(default=0, ge=0)
    """0: no bound but the server's own."""
    processes: int = Field(default=1, ge=1, le=64)
    """How many processes a step calls from; they share `concurrency` and rates."""
    runs: int = Field(default=8, ge=1)
    """How many runs may use the endpoint at once: the size of its pool in Dagster."""
    timeout_s: float = Field(default=600.0, gt=0)
    connect_timeout_s: float = Field(default=30.0, gt=0)
    first_byte_timeout_s: float | None = Field(default=None, gt=0)
    attempts: int = Field(default=6, ge=1)
    down_after_s: float = Field(default=300.0, gt=0)
    """Seconds without any reply after which a run stops and says so."""
    price_in: float = Field(default=0.0, ge=0)
    price_out: float = Field(default=0.0, ge=0)
    price_cached_in: float | None = Field(default=None, ge=0)
    """Per million tokens; a model's own prices come first."""
    structured: Structured = "auto"
    batch: bool = False
    """Whether calls go through the provider's Batch API: for less money, within a day."""
    batch_discount: float = Field(default=0.5, ge=0, le=1)
    batch_poll_s: float = Field(default=30.0, gt=0)
    batch_requests: int = Field(default=50_000, ge=1, le=50_000)
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    extra_body: Mapping[str, Any] = {}
    ca_file: str | None = None
    proxy: str | None = None


class Sampling(_Entry):
    """Settings of the request body; one that is left out is not sent (reasoning models refuse temperature)."""

    endpoint: Name
    model: str = Field(min_length=1)
    revision: int = Field(default=1, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1)
    reasoning_effort: str | None = None
    seed: int | None = None
    """Each sample of a prompt, and each re-ask, is sent the next seed."""
    web_search: bool = False
    """Whether the model may search the web (API kind `responses` alone)."""
    template: str | None = Field(default=None, min_length=1)
    """What makes one text of system prompt and question (API kind `completions` alone)."""
    structured: Structured | None = None
    answers_as: tuple[str, ...] = ()
    """Names besides `model` under which its replies may come; `*` allows any."""
    price_in: float | None = Field(default=None, ge=0)
    price_out: float | None = Field(default=None, ge=0)
    price_cached_in: float | None = Field(default=None, ge=0)
    extra_body: Mapping[str, Any] = {}

    def settings(self) -> dict[str, Any]:
        """Give the fields of the request body that this entry sets."""
        fields = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "max_output_tokens", "seed")
        named = {name: getattr(self, name) for name in fields if getattr(self, name) is not None}
        return {**self.extra_body, **named}


class WorkerEntry(Sampling):
    """A model that annotates, writes or judges."""


class JudgeEntry(_Entry):
    """A worker with a judge prompt; another judge is another asset, `verdicts/<judge>`."""

    worker: Name
    prompt: str
    prompt_version: int | None = Field(default=None, ge=1)
    orders: tuple[Literal["as_asked", "swapped"], ...] = Field(default=("as_asked",), min_length=1)


class ModelEntry(Sampling):
    """A respondent: one partition of the UI."""

    id: Name
    family: str | None = None
    system_prompt: str = "paper"
    samples: int = Field(default=1, ge=1, le=1000)
    """Replies to each prompt; metrics average within a pair."""


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
        settings = {**endpoint.extra_body, **entry.settings()}
        if entry.reasoning_effort is not None:
            effort = entry.reasoning_effort
            settings |= (
                {"reasoning": {"effort": effort}} if endpoint.api == "responses" else {"reasoning_effort": effort}
            )
        if entry.web_search:
            settings["tools"] = [*settings.get("tools", ()), {"type": "web_search"}]
        return ServedModel(
            endpoint=entry.endpoint,
            provider=endpoint.provider,
            api=endpoint.api,
            model=entry.model,
            revision=entry.revision,
            settings=settings,
            template=entry.template,
            structured=entry.structured or endpoint.structured,
            answers_as=entry.answers_as,
            prices=self._prices(endpoint, entry),
        )

    @staticmethod
    def _prices(endpoint: Endpoint, entry: Sampling) -> Prices:
        """Give the entry's prices, else the endpoint's, as they are after the discount of a batch."""
        own = (entry.price_in, entry.price_out, entry.price_cached_in)
        shared = (endpoint.price_in, endpoint.price_out, endpoint.price_cached_in)
        tokens_in, tokens_out, cached_in = (
            mine if mine is not None else theirs for mine, theirs in zip(own, shared, strict=True)
        )
        factor = 1.0 - endpoint.batch_discount if endpoint.batch else 1.0
        return Prices(
            (tokens_in or 0.0) * factor,
            (tokens_out or 0.0) * factor,
            None if cached_in is None else cached_in * factor,
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
