"""Towers compiled for the processor: exported to ONNX, cached, checked, and run by ONNX Runtime.

`export` makes the files, `cache` keeps them, `retention` removes old ones, `session` runs them, `check`
compares them with eager torch, and `opening` puts these together.
"""
