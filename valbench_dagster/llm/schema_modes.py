"""Schema modes: how a model of an endpoint is asked for replies by a schema, found out by its first replies.

Servers differ: some obey a JSON schema, some refuse the setting, some ignore it without a word. Here belongs which
mode a call is made in; what each looks like on the wire is `apis/`. What is found out holds for one run.
"""

import asyncio
import re
from dataclasses import dataclass, field

from valbench_dagster.llm.calls import Reply, Request, SchemaMode
from valbench_dagster.llm.endpoint import TransportFault
from valbench_dagster.llm.finish_reasons import is_filtered, is_truncated
from valbench_dagster.llm.replies import parse_json_object

_LOOSER: dict[SchemaMode, SchemaMode] = {"json_schema": "json_object", "json_object": "prompt"}

_ABOUT_SCHEMAS = re.compile(
    r"response[_ ]?format|json[_ ](?:schema|object|mode)|text\.format|guided|grammar|structured|schema", re.IGNORECASE
)
_ABOUT_LENGTH = re.compile(
    r"context[_ ](?:length|window|size)|maximum context|too (?:long|large|many)|exceed|length", re.IGNORECASE
)


@dataclass(slots=True)
class _Way:
    """What is known of one model and schema.

    `scout` is the call that goes alone while nothing is (`heard`: a reply has come); `proven`: one obeyed the mode.
    """

    mode: SchemaMode = "json_schema"
    heard: bool = False
    proven: bool = False
    scout: Request | None = None
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class SchemaModes:
    """The modes of one endpoint, by model and schema name; a mode that the roster pins is not looked at."""

    def __init__(self) -> None:
        self._ways: dict[tuple[str, str | None], _Way] = {}

    async def begin(self, request: Request) -> SchemaMode | None:
        """Give the mode to ask in, null for a request without a schema.

        The first of a model goes alone: others wait until it has a reply, or has ended without one and the next goes.
        Every call that got a mode must `end`.
        """
        if request.schema is None:
            return None
        way = self._way(request)
        if way is None:
            return self.mode_of(request)
        while way.scout is not None and not way.heard:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            way.waiting.append(turn)
            await turn
        if not way.heard:
            way.scout = request
        return way.mode

    def mode_of(self, request: Request) -> SchemaMode:
        """Give the mode that a request is to be asked in at present."""
        structured = request.served.structured
        if structured != "auto":
            return structured
        way = self._way(request)
        return "json_schema" if way is None else way.mode

    def steps_down(self, request: Request, asked_in: SchemaMode, fault: TransportFault) -> bool:
        """Tell whether a fault only says that the server does not take the mode; then `mode_of` gives a looser one.

        Not once a reply has obeyed the mode: then the fault is that request's own.
        """
        way = self._way(request)
        if way is None or way.proven or fault.status not in (400, 404, 422):
            return False
        if not _ABOUT_SCHEMAS.search(fault.message) or _ABOUT_LENGTH.search(fault.message):
            return False
        if way.mode == asked_in:
            if asked_in not in _LOOSER:
                return False
            way.mode = _LOOSER[asked_in]
        return True

    def replied(self, request: Request, asked_in: SchemaMode, reply: Reply) -> None:
        """Learn from a reply: prose under a mode that promises JSON means that the server ignores the setting."""
        way = self._way(request)
        if way is None:
            return
        if not way.heard:
            way.heard = True
            self._release(way)
        if way.proven or way.mode != asked_in or asked_in == "prompt":
            return
        if reply.refusal or not (reply.text or "").strip() or is_truncated(reply) or is_filtered(reply):
            return
        try:
            parse_json_object(reply.text or "")
        except ValueError:
            way.mode = "prompt"
        else:
            way.proven = True

    def end(self, request: Request) -> None:
        """Take note that a call has ended, in whatever way."""
        way = self._way(request)
        if way is not None and way.scout is request:
            way.scout = None
            self._release(way)

    def _way(self, request: Request) -> _Way | None:
        """Give what is known of a request's model and schema; null where there is nothing to find out."""
        if request.schema is None or request.served.structured != "auto":
            return None
        return self._ways.setdefault((request.served.model, request.schema_name), _Way())

    @staticmethod
    def _release(way: _Way) -> None:
        for turn in way.waiting:
            if not turn.done():
                turn.set_result(None)
        way.waiting.clear()
