"""The command `valbench`: the door to `commands`, each of which is imported only when it is run.

A command that mines must start in a fraction of a second, and Dagster alone takes most of one to import. Here belongs
which commands there are, and that what a person can mend is told in a sentence.
"""

import sys
from importlib import import_module
from typing import Any

import click

COMMANDS = {
    "demo": "project:demo",
    "evaluate": "project:evaluate",
    "leaderboard": "project:leaderboard",
    "ledger": "ledger:ledger",
    "plan": "planning:plan",
    "prepare": "project:prepare",
    "init": "project:init",
    "doctor": "project:doctor",
    "serve-stand-ins": "project:serve_stand_ins",
    "snapshot": "snapshots:snapshot",
    "prune": "snapshots:prune",
    "mine": "mining:mine",
    "explain": "mining:explain",
}
"""Every command, with the module of `commands` it is in and its name there."""

MENDABLE = (
    "adapters.facts:FactsError",
    "adapters.ledger.errors:LedgerRefused",
    "adapters.ledger.errors:LedgerUnwritable",
    "dumps.catalogue:CatalogueError",
    "dumps.decode:DumpError",
    "dumps.names:DumpFilesError",
    "dumps.manifest:ManifestError",
    "dumps.server_settings:ServerSettingsError",
    "dumps.sources:TransferError",
    "llm.stops:EndpointRefused",
    "mining.pool:TooManyLostError",
    "mining.pool:WorkerDiedError",
    "roster:RosterError",
    "settings:SettingsError",
    "steps.planning:PlanError",
    "wikitext.patterns:PatternsError",
)
"""Errors whose message tells a person what to do: shown without a stack of calls, like a file that is missing."""


class _Commands(click.Group):
    """Knows its commands by name and imports them when they are wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        command = _found(f"commands.{place}")
        if not isinstance(command, click.Command):
            raise TypeError(f"commands.{place} is no command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            # Imported only now: a command that ends well needs none of them.
            if isinstance(error, (FileNotFoundError, *map(_found, MENDABLE))):
                raise click.ClickException(str(error)) from error
            raise


def _found(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"valbench_dagster.{module}"), name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="valbench_dagster")
def main() -> None:
    """Rebuild, refresh and run VAL-Bench: from a Wikipedia dump to a leaderboard."""


if __name__ == "__main__":
    sys.exit(main())
