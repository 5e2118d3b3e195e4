"""ONNX Runtime, imported without its telemetry. Everything here imports it from this module."""

from __future__ import annotations

import os

# Read once, at the import: the official builds for Linux otherwise report their use to their makers, and keep
# an id of the device in the user's home. `onnxruntime.disable_telemetry_events()` comes too late for both.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
