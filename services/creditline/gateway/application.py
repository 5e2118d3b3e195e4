"""What the gateway can do, whatever the protocol: gRPC and REST call nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from creditline.gateway.readiness import ReadinessCheck
from creditline.gateway.use_cases.attribute import Attribute
from creditline.gateway.use_cases.attributions import Attributions
from creditline.gateway.use_cases.audits import Audits
from creditline.gateway.use_cases.catalog import Catalog
from creditline.gateway.use_cases.releases import Releases
from creditline.gateway.use_cases.withdrawals import Withdrawals


@dataclass(frozen=True)
class UseCases:
    """One object per use case; `request_timeout_seconds` is the longest that an attribution may take."""

    attribute: Attribute
    attributions: Attributions
    catalog: Catalog
    audits: Audits
    releases: Releases
    withdrawals: Withdrawals
    readiness: ReadinessCheck
    request_timeout_seconds: float
