"""The log of a service: lines for people, or one JSON object a line.

Fields of a JSON line: `time` (UTC), `level`, `service`, `logger`, `message`; where they apply `request_id`,
`trace_id` and `span_id`, `error` (a traceback), and what the line's author adds. No prompt, picture or key.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from creditline.observability.settings import LogFormat
from creditline.observability.trace_ids import current_span_ids

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FIELDS = "creditline_fields"
_requests = logging.getLogger("creditline.requests")
Fields = Mapping[str, str | int | float]
_NO_FIELDS: Fields = MappingProxyType({})


def configure_logging(
    service: str, log_format: LogFormat, context: Callable[[], Fields] = lambda: _NO_FIELDS
) -> None:
    """Write the process's log to standard error.

    Args:
        service: Name of the service.
        log_format: `text` or `json`. In `json`, `log_request` writes a line for each request.
        context: Fields of the request that is being answered, for JSON lines.
    """
    handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(_JsonLines(service, context))
    else:
        handler.setFormatter(logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    _requests.setLevel(logging.INFO if log_format == "json" else logging.WARNING)


def log_request(message: str, **fields: str | int | float) -> None:
    """Write a line about a request that has ended, in a log of JSON lines.

    Args:
        message: What was asked; one of a fixed set.
        fields: Fields of the line, such as `outcome` and `seconds`.
    """
    _requests.info(message, extra={_FIELDS: fields})


class _JsonLines(logging.Formatter):
    def __init__(self, service: str, context: Callable[[], Fields]) -> None:
        super().__init__()
        self._service = service
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, without its end."""
        ids = current_span_ids()
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **self._context(),
            **(ids._asdict() if ids else {}),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
