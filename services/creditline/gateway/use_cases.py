"""What the gateway can do, whatever the protocol: gRPC and REST call nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from creditline.gateway.attribute import Attribute
from creditline.gateway.audits import Audits
from creditline.gateway.catalog import Catalog
from creditline.gateway.readiness import ReadinessCheck
from creditline.gateway.releases import Releases


@dataclass(frozen=True)
class UseCases:
    """One object per use case; `request_timeout_seconds` is the longest that an attribution may take."""

    attribute: Attribute
    catalog: Catalog
    audits: Audits
    releases: Releases
    readiness: ReadinessCheck
    request_timeout_seconds: float
