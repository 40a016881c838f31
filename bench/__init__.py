"""Benchmarks against a minimal program that does the same work in the same run: `make bench`."""
