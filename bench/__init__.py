"""Benchmarks: `python -m bench` runs those that fit this machine and prints Markdown."""
