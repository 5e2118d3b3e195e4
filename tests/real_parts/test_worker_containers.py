"""Two worker containers that share a directory, and whose processes have the same id."""

from __future__ import annotations

import json
from pathlib import Path

from tests.real_parts.worker_containers import WorkerContainers

# Replaces one file again and again, and reads it each time: whole, and by one of the two writers.
_WRITER = """
import json, os, sys
from pathlib import Path
from creditline.files import replace_file

path, name = Path(sys.argv[1]), sys.argv[2]
for number in range(300):
    with replace_file(path) as draft:
        draft.write_text(json.dumps([name] * 2_000))
    content = json.loads(path.read_text())
    assert len(content) == 2_000 and len(set(content)) == 1, content[:3]
print(os.getpid())
"""


def test_two_containers_that_replace_the_same_file_do_not_collide(
    containers: WorkerContainers, tmp_path: Path
) -> None:
    path = tmp_path / "progress.json"
    numbers = containers.run([["-c", _WRITER, str(path), name] for name in ("first", "second")])
    if containers.share_numbers:
        assert [int(number) for number in numbers] == [1, 1]
    assert set(json.loads(path.read_text())) <= {"first", "second"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["progress.json"]
