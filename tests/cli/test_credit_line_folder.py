"""The directory that a demo leaves behind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from PIL import Image

from creditline.cli.credit_line.folder import write_credit_line
from tests.cli.credit_line_sample import sample_audit, sample_credit_line


def test_the_directory_holds_the_four_files_and_they_belong_together(tmp_path: Path) -> None:
    line = sample_credit_line(audit=sample_audit())
    paths = write_credit_line(line, tmp_path / "new" / "demo")
    names = {"picture.png", "credit-line.html", "credit-line.png", "credit-line.json"}
    assert {path.name for path in paths} == names
    document = json.loads((tmp_path / "new" / "demo" / "credit-line.json").read_text())
    picture = tmp_path / "new" / "demo" / document["query"]["picture"]
    assert hashlib.sha256(picture.read_bytes()).hexdigest() == document["query"]["picture_sha256"]
    assert document["audit"]["state"] == "DONE"


def test_a_second_credit_line_replaces_the_first(tmp_path: Path) -> None:
    write_credit_line(sample_credit_line(prompt="first"), tmp_path)
    write_credit_line(sample_credit_line(prompt="second"), tmp_path)
    assert "second" in (tmp_path / "credit-line.html").read_text()
    assert "first" not in (tmp_path / "credit-line.json").read_text()
    with Image.open(tmp_path / "credit-line.png") as drawing:
        assert drawing.width == 2400
