"""The door: what Dagster loads, and that it says what it is."""

import warnings

import dagster as dg
import pytest

from valbench_dagster.adapters.warehouse.checks import WAREHOUSE_FACTS, load_checks
from valbench_dagster.adapters.warehouse.sql_files import load_sql_files
from valbench_dagster.definitions import make_definitions
from valbench_dagster.orchestration.jobs import EVALUATE_MODEL, REBUILD_WAREHOUSE, REFRESH_DATASET
from valbench_dagster.orchestration.partitions import SNAPSHOT, multi_key, snapshot_and_model
from valbench_dagster.orchestration.sensors import automation, local_dumps
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.source import add_sample


@pytest.fixture
def definitions(project: Project) -> dg.Definitions:
    return make_definitions(project)


def keys(definitions: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def test_everything_loads(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_nothing_of_dagster_s_that_may_change_is_used_unawares(project: Project) -> None:
    # Partitions of checks are the one preview feature in use, and `orchestration/checks.py` the one place that uses it.
    # A release of Dagster that deprecates what we use fails here.
    with warnings.catch_warnings():
        warnings.simplefilter("error", dg.PreviewWarning)
        warnings.simplefilter("error", dg.BetaWarning)
        warnings.simplefilter("error", DeprecationWarning)
        make_definitions(project).resolve_asset_graph()


def test_the_assets_are_those_of_the_design(definitions: dg.Definitions) -> None:
    stages = {"dump", "sections", "issues", "candidate_pairs", "pairs", "responses", "report"}
    judges = {"verdicts/stand-in-v3", "verdicts/stand-in-released"}
    warehouse = {f"warehouse/{file.name}" for file in load_sql_files()}
    assert keys(definitions) == stages | judges | warehouse


def test_every_asset_says_what_a_row_is(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    bare = [key.to_user_string() for key in graph.get_all_asset_keys() if not graph.get(key).description]
    assert bare == []


def test_every_fact_has_its_columns_described(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for name in ("dump", "sections", "issues", "candidate_pairs", "pairs", "responses"):
        schema = graph.get(dg.AssetKey(name)).metadata["dagster/column_schema"]
        assert all(column.description for column in schema.columns), name


def test_each_file_of_checks_is_a_check_of_an_asset(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found = {(key.asset_key.path[0], key.name) for key in graph.asset_check_keys}
    # Those of the warehouse run before it is swapped in: a warehouse that fails one is never seen.
    beside = {"sections": ("section_drops", "mined_files", "dump_damages"), "pairs": ("pair_drops",)}
    asset_of = {fact: asset for asset, facts in beside.items() for fact in facts}
    expected = {
        (asset_of.get(check.fact, check.fact), check.name)
        for check in load_checks()
        if check.fact not in WAREHOUSE_FACTS
    }
    # None of them hides another of its name under the same asset.
    assert len(expected) == sum(check.fact not in WAREHOUSE_FACTS for check in load_checks())
    assert found == expected


def test_a_warehouse_node_depends_on_what_its_query_reads(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    def parents(name: str) -> set[str]:
        return {key.to_user_string() for key in graph.get(dg.AssetKey(["warehouse", name])).parent_keys}

    assert parents("responses") == {"responses"}
    assert parents("verdicts") == {"verdicts/stand-in-v3", "verdicts/stand-in-released"}
    judges = {"verdicts/stand-in-v3", "verdicts/stand-in-released"}
    assert parents("check_failures") == {"dump", "sections", "issues", "candidate_pairs", "pairs", "responses"} | judges
    assert parents("pair_scores") == {"warehouse/verdicts", "warehouse/pairs", "warehouse/protocols"}


def test_what_costs_money_has_no_automation_and_the_rest_follows_its_facts(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    automatic = {key.path[0] for key in graph.get_all_asset_keys() if graph.get(key).automation_condition}
    assert automatic == {"warehouse", "report"}


def test_the_sensor_that_spends_ships_stopped_and_the_one_that_does_not_runs() -> None:
    assert local_dumps.default_status == dg.DefaultSensorStatus.STOPPED
    assert automation.default_status == dg.DefaultSensorStatus.RUNNING


def test_no_step_that_calls_models_is_retried_by_dagster(definitions: dg.Definitions) -> None:
    # With a retry policy a run cannot be cancelled: the second attempt begins, and pays.
    for job in (REFRESH_DATASET, EVALUATE_MODEL, REBUILD_WAREHOUSE):
        resolved = definitions.resolve_job_def(job)
        retried = [
            node.name
            for node in resolved.nodes
            if isinstance(node.definition, dg.OpDefinition) and node.definition.retry_policy
        ]
        assert retried == []


def test_a_partition_key_of_two_dimensions_comes_apart_as_it_was_made() -> None:
    assert snapshot_and_model(multi_key("sample-20260101", "aligned")) == ("sample-20260101", "aligned")
    with pytest.raises(TypeError, match="found 'sample-20260101'"):
        snapshot_and_model("sample-20260101")


def test_the_sensor_registers_a_new_snapshot_and_asks_for_one_refresh_of_it(project: Project) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"project": project}
        nothing = local_dumps(dg.build_sensor_context(instance=instance, resources=resources))
        assert isinstance(nothing, dg.SkipReason)
        add_sample(project)
        found = local_dumps(dg.build_sensor_context(instance=instance, resources=resources))
        assert isinstance(found, dg.SensorResult)
        [request] = found.run_requests or []
        [addition] = found.dynamic_partitions_requests or []
        assert (request.partition_key, addition.partition_keys) == ("sample-20260101", ["sample-20260101"])
        instance.add_dynamic_partitions(SNAPSHOT.name or "", ["sample-20260101"])
        again = local_dumps(dg.build_sensor_context(instance=instance, resources=resources))
        assert isinstance(again, dg.SensorResult)
        # The same run key: Dagster starts no second run for it.
        assert [each.run_key for each in again.run_requests or []] == [request.run_key]
        assert not again.dynamic_partitions_requests
