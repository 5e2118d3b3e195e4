"""Audits of served attributions: lease, sample of works, verdict, expectations."""
