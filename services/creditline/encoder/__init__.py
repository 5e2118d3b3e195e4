"""The distilled encoder and its out-of-distribution score.

Public modules: `encoder`, `ood`.
"""
