"""Makes anew what is fitted on the packaged release without training: `python -m tests.benchmarks.refit`."""
