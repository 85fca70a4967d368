"""Orchestration: the only package that imports dagster. Schedules what the rest computes."""
