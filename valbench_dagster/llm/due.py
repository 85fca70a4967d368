"""Due requests: each is made once in a run, for all who ask it.

Here belongs the sharing of one result between workers. Who makes the call is `dispatcher.py`.
"""

import asyncio
from dataclasses import dataclass

from valbench_dagster.llm.calls import Outcome, Reply


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that ended without a reply."""

    outcome: Outcome


Result = Reply | Ended


@dataclass(slots=True)
class Due:
    """A request that is to be made: `begun` by the first whose turn comes, who must `end` it once it is stored."""

    begun: bool = False
    _result: Result | None = None
    _waited: asyncio.Future[Result] | None = None

    async def shared(self) -> Result:
        """Wait for the result of a call that another worker is at, or take it if it is there."""
        if self._result is not None:
            return self._result
        if self._waited is None:
            self._waited = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._waited)

    def end(self, result: Result) -> None:
        """Give the result to all who wait for it, or will."""
        self._result = result
        if self._waited is not None:
            self._waited.set_result(result)
