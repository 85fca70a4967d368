"""Benchmarks: what must be fast or small, held against a named baseline. Not part of the package, nor of the tests."""
