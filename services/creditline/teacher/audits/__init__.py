"""Audits of served attributions: leases, samples of works, verdicts, expected influences."""
