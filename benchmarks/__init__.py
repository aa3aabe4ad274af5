"""Measurements behind the README's figures; run one as `python -m benchmarks.NAME`."""
