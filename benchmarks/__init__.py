"""Measurements that anyone can repeat: `python -m benchmarks`. Never part of the test suite."""
