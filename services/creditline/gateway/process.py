"""The gateway's process: settings, logs and traces around the gateway, and its exit status."""

from __future__ import annotations

import asyncio
import sys

from creditline.errors import CreditlineError
from creditline.gateway.server import serve
from creditline.gateway.settings import GatewaySettings
from creditline.gateway.transport.request_ids import current_request_id
from creditline.observability.logs import Fields, configure_logging
from creditline.observability.tracing import tracing
from creditline.settings import read_settings


def run() -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        The exit status: 2 when the settings, or the files that they name, do not permit a start; else 0.
    """
    try:
        settings = read_settings(GatewaySettings)
        configure_logging("gateway", settings.log_format, _request_fields)
        with tracing("gateway", settings):
            asyncio.run(serve(settings))
    except CreditlineError as error:
        print(f"creditline gateway: {error.message}", file=sys.stderr)
        return 2
    return 0


def _request_fields() -> Fields:
    request_id = current_request_id.get()
    return {"request_id": request_id} if request_id else {}
