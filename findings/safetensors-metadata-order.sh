#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors with the same metadata give a file with other bytes at every call.
#
# Setting: one tensor and a metadata dictionary of six entries, serialised nine times in one process.
#   Fingerprints of releases, build caches and "did this artefact change?" rest on equal bytes.
# Expected: equal input gives equal bytes; the format's tensors are sorted, and Python's dictionaries keep their order.
# Seen: the entries of __metadata__ are written in random order (a hash map with a seed of its own per call), so that nine
#   calls give up to nine files. Without metadata, or with one entry, the bytes are equal. The tensors' order is fixed.
#   A file has the same length and content whatever the order: only its hash differs.
#
# Output seen (the first number varies between 2 and 9):
#   six entries: 9 different files of 9
#   one entry: 1 different file of 9
#   no metadata: 1 different file of 9
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/environment"
"$scratch/environment/bin/python" -m pip install --quiet safetensors==0.8.0 numpy==2.4.6
cat > "$scratch/metadata_order.py" <<'PYTHON'
import sys

import numpy as np
from safetensors.numpy import load, save

TENSORS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(2, dtype=np.float32)}
CALLS = 9


def different(metadata):
    files = {save(TENSORS, metadata=metadata) for _ in range(CALLS)}
    assert len({len(file) for file in files}) == 1
    assert all(np.array_equal(load(file)["weight"], TENSORS["weight"]) for file in files)
    return len(files)


six = different(dict.fromkeys(("format", "seed", "corpus", "generator", "commit", "kind"), "x"))
one, none = different({"format": "pt"}), different(None)
print(f"six entries: {six} different files of {CALLS}")
print(f"one entry: {one} different file of {CALLS}")
print(f"no metadata: {none} different file of {CALLS}")
sys.exit(0 if six > 1 and one == none == 1 else "the behaviour has changed")
PYTHON
"$scratch/environment/bin/python" "$scratch/metadata_order.py"
