"""What the gateway can do, whatever the protocol: gRPC and REST call nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from creditline.gateway.attribute import Attribute
from creditline.gateway.attributions import Attributions
from creditline.gateway.audits import Audits
from creditline.gateway.catalog import Catalog
from creditline.gateway.readiness import ReadinessCheck
from creditline.gateway.releases import Releases
from creditline.gateway.withdrawals import Withdrawals


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
