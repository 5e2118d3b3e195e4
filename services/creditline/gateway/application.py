"""The gateway's use cases, independent of the protocol: gRPC and REST call only these."""

from __future__ import annotations

from dataclasses import dataclass

from creditline.gateway.admission.admission import Admission
from creditline.gateway.delivery import DeliveryMarks
from creditline.gateway.readiness import ReadinessCheck
from creditline.gateway.use_cases.attribute import Attribute
from creditline.gateway.use_cases.attributions import Attributions
from creditline.gateway.use_cases.audits import Audits
from creditline.gateway.use_cases.catalog import Catalog
from creditline.gateway.use_cases.contributors import Contributors
from creditline.gateway.use_cases.releases import Releases
from creditline.gateway.use_cases.withdrawals import Withdrawals


@dataclass(frozen=True)
class UseCases:
    """One object per use case."""

    attribute: Attribute
    """Attributes a picture."""
    attributions: Attributions
    """Reads recorded attributions."""
    catalog: Catalog
    """Reads works of the corpus."""
    audits: Audits
    """Requests and reads audits."""
    releases: Releases
    """Reads releases with their audited accuracy."""
    withdrawals: Withdrawals
    """Records, revokes and lists withdrawals."""
    contributors: Contributors
    """Merges contributors, revokes that, and lists merges."""
    readiness: ReadinessCheck
    """Checks the services that the gateway depends on."""
    admission: Admission
    """Refuses requests for an answer that cannot be in time."""
    marks: DeliveryMarks
    """Marks answers that do not reach their callers."""
