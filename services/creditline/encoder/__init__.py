"""The distilled encoder, its out-of-distribution score, and the agreement of pictures with prompts.

Public modules: `agreement`, `encoder`, `model`, `ood`.
"""
