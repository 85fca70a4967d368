"""Partitions: what a run is of. Snapshots are added as dumps appear; models are the roster's."""

import dagster as dg

from valbench_dagster.roster import Roster

SNAPSHOT = dg.DynamicPartitionsDefinition(name="snapshot")


def model_partitions(roster: Roster) -> dg.StaticPartitionsDefinition:
    """Give one partition a respondent: the set of models is a reviewed diff of the roster."""
    return dg.StaticPartitionsDefinition(roster.model_ids())


def snapshot_by_model(roster: Roster) -> dg.MultiPartitionsDefinition:
    """Give one partition a snapshot and respondent; its keys read `model|snapshot`, in Dagster's order."""
    return dg.MultiPartitionsDefinition({"snapshot": SNAPSHOT, "model": model_partitions(roster)})


def multi_key(snapshot: str, model: str) -> dg.MultiPartitionKey:
    """Give the key of a snapshot and a model."""
    return dg.MultiPartitionKey({"snapshot": snapshot, "model": model})


def snapshot_and_model(partition_key: str) -> tuple[str, str]:
    """Take the key of `snapshot_by_model` apart; raises `TypeError` on any other.

    Plain text is refused even where it could be read: a run launched with the tag `dagster/partition` alone has it,
    and Dagster would not count what it makes as a materialised partition.
    """
    if not isinstance(partition_key, dg.MultiPartitionKey):
        raise TypeError(
            f"expected a key of snapshot and model, found {partition_key!r}: the run lacks the tags of its dimensions. "
            "Run: dagster job backfill -j evaluate_model --partitions 'MODEL|SNAPSHOT' --noprompt"
        )
    keys = partition_key.keys_by_dimension
    return keys["snapshot"], keys["model"]


def pool_of(endpoint: str) -> str:
    """Name the pool of an endpoint: how many runs it may serve at once."""
    return f"endpoint-{endpoint}"
