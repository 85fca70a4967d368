"""Calls: what is asked of a model, what it said, and what became of the question.

Here belong the vendor-free types that stages, dispatcher, ledger and adapters share, and the fingerprint of a
request. How a request is sent, retried or stored does not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from valbench_dagster.identity import identify

Outcome = Literal["reply", "unparsed", "rejected", "failed"]
"""`reply`: usable; `unparsed`: replied, never usably; `rejected`: refused by the API; `failed`: no reply was had."""


ApiKind = Literal["chat", "responses", "completions"]
"""What an endpoint is called by: OpenAI's chat completions, its Responses, or plain completions of a base model."""

SchemaMode = Literal["json_schema", "json_object", "prompt"]
"""How a reply is held to a schema: the server is given it and obeys; the server is told to write JSON, and the prompt
what; the prompt alone says so."""

Structured = Literal["auto", "json_schema", "json_object", "prompt"]
"""A `SchemaMode` that the roster pins, or `auto`: the strictest that the server turns out to obey."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost: of the prompt, of the reply (reasoning included), and of the prompt from a cache.

    `cached_in` null: cached tokens cost as much as others. Amounts are in whatever currency the roster's are.
    """

    tokens_in: float = 0.0
    tokens_out: float = 0.0
    cached_in: float | None = None

    def cost(self, input_tokens: int | None, output_tokens: int | None, cached_tokens: int | None = None) -> float:
        """Give what a call cost; tokens that a server does not count cost nothing that we could know of."""
        cached = min(cached_tokens or 0, input_tokens or 0)
        cached_price = self.tokens_in if self.cached_in is None else self.cached_in
        fresh = (input_tokens or 0) - cached
        return (fresh * self.tokens_in + cached * cached_price + (output_tokens or 0) * self.tokens_out) / 1_000_000


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as an endpoint serves it, with every setting that shapes its replies.

    `settings` are the fields of the request body besides model, messages and schema, as they are sent; `template` (of
    the API kind `completions` alone) makes one text of the messages. These, `provider`, `api`, `model`, `revision` and
    a pinned `structured` are part of the fingerprint. Operational, and no part of it: `endpoint`, the roster's name of
    the server; `answers_as`, names besides `model` that its replies may bear; `prices`.
    """

    endpoint: str
    provider: str
    api: str
    model: str
    revision: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    template: str | None = None
    structured: Structured = "auto"
    answers_as: tuple[str, ...] = ()
    prices: Prices = Prices()


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a request."""

    role: Literal["system", "user"]
    content: str


@dataclass(frozen=True)
class Request:
    """One request: equal requests have equal fingerprints and share one reply, whoever asks."""

    served: ServedModel
    messages: tuple[Message, ...]
    schema_name: str | None = None
    schema: Mapping[str, Any] | None = None
    sample: int = 0

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that could change the reply and nothing operational (DESIGN: identity)."""
        served = self.served
        decisive: dict[str, Any] = {
            "provider": served.provider,
            "api": served.api,
            "model": served.model,
            "revision": served.revision,
            "settings": dict(served.settings),
            "messages": [[message.role, message.content] for message in self.messages],
            "schema": None if self.schema is None else {"name": self.schema_name, "schema": dict(self.schema)},
            "sample": self.sample,
        }
        if served.template is not None:
            decisive["template"] = served.template
        # Left to itself the engine asks for a schema as strictly as the server can: that is one way of asking. Only a
        # looser one that the roster pins is another.
        if self.schema is not None and served.structured in ("json_object", "prompt"):
            decisive["structured"] = served.structured
        return identify("request", decisive)

    def asked_again(self, *, truncated: bool) -> "Request":
        """Give the request that asks the same once more: the next sample, with twice the limit if it was cut short."""
        served = self.served
        if truncated:
            doubled = {
                key: value * 2 if key in ("max_tokens", "max_completion_tokens", "max_output_tokens") else value
                for key, value in served.settings.items()
            }
            served = replace(served, settings=doubled)
        return replace(self, served=served, sample=self.sample + 1)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, read from the server's JSON.

    `text` is null or empty where it said nothing; `reasoning` is apart and never part of `text`; `refusal` is the
    API's own refusal field, `finish_reason` the server's word for why it stopped (`stop`, `length`,
    `content_filter`, ...). Tokens are null where the server does not count; `cached_tokens` are among the input's,
    `reasoning_tokens` among the output's. `citations` are the addresses that a web search found and the text names, in
    order, each once. `system_fingerprint` is the server's word for what it ran, null if it has none.
    """

    text: str | None
    reasoning: str | None
    finish_reason: str | None
    refusal: str | None
    served_model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    citations: tuple[str, ...] = ()
    system_fingerprint: str | None = None


def nothing_wrong(_reply: Reply) -> str | None:
    """Accept any reply: a respondent's reply is never asked again."""
    return None


@dataclass(frozen=True, slots=True)
class Question:
    """A request with the rule of when its reply will do.

    `fault` says what is wrong with a reply, null if nothing; a faulty one is asked again up to `reasks` times.
    """

    request: Request
    fault: Callable[[Reply], str | None] = nothing_wrong
    reasks: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question.

    `request` is the one whose reply is used, or the last one asked. `reply` is null for `rejected` and `failed`;
    for `unparsed` it is the last faulty one. `detail` is null for `reply`, else the reason.
    """

    outcome: Outcome
    request: Request
    reply: Reply | None
    detail: str | None
