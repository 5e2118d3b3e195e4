"""The alert rules by Prometheus' own `promtool` (apt-get install prometheus)."""

from __future__ import annotations

import subprocess

import pytest

from tests.deploy.manifests import REPOSITORY
from tests.real_parts.prometheus import installed

pytestmark = pytest.mark.system
_RULES = REPOSITORY / "deploy" / "prometheus"


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yaml"),
        ("test", "rules", "alerts_test.yaml"),
        ("check", "config", "prometheus.yaml"),
        ("check", "config", "prometheus-tls.yaml"),
    ],
)
def test_promtool_accepts_the_rules_and_their_tests_pass(arguments: tuple[str, ...]) -> None:
    run = subprocess.run(
        [installed("promtool"), *arguments],
        cwd=_RULES,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "SUCCESS" in run.stdout + run.stderr
