"""LoRA adapters: read in every common spelling, checked key by key, and merged into a pipeline's weights.

Public modules: `merging`, `specification`.
"""
