"""The distilled encoder, its out-of-distribution score, and what it knows of pictures and prompts apart.

Public modules: `agreement`, `encoder`, `imputation`, `model`, `ood`.
"""
