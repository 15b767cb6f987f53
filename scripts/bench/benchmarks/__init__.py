"""What scripts/bench/benchmark.py and its siblings are made of; not part of the package."""
