"""Waiting for an audit: what both clients wait for, and how long."""

from __future__ import annotations

from creditline.api.answers import AuditAnswer
from creditline.errors import DeadlineExceeded

AUDIT_SECONDS = 900.0
"""Longest wait for an audit, by default."""
POLL_SECONDS = 0.5
"""Time between two calls of the gateway, by default."""
FINAL_STATES = ("DONE", "FAILED")
"""States that an audit does not leave."""


def audit_is_late(audit: AuditAnswer, seconds: float) -> DeadlineExceeded:
    """The error about an audit that is neither DONE nor FAILED after `seconds`."""
    return DeadlineExceeded(
        f"audit {audit.id} is still {audit.state} after {seconds:.3g} s; wait longer, or "
        "check that a teacher runs (`creditline local up` starts one)"
    )
