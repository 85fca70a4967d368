"""Stages: pure functions from one record type to the next. No file, no clock, no network, no vendor."""
