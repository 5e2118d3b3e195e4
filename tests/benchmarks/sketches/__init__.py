"""Compressed gradient rows: bytes per work against LDS, speed beside dattri, and memory (`sketches.json`).

`python -m tests.benchmarks.sketches curve|speed|memory` measures one part each. The curve derives every
compression from exact rows that are computed once (`exact_rows`); speed needs an interpreter that has dattri.
"""
