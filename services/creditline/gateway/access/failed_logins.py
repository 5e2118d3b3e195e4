"""Limit on wrong API keys per network address."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

# An address may send so many wrong keys at once, and one more in each interval after that.
BURST = 30
INTERVAL_SECONDS = 1.0
# Addresses that are remembered; the one that failed longest ago is forgotten first.
_MOST_ADDRESSES = 10_000
_NETWORK_BITS = 64
_SCHEMES = ("ipv4:", "ipv6:")


@dataclass(frozen=True)
class _Bucket:
    """What is left of an address's wrong keys."""

    left: float
    """Number of wrong keys that were left at `at`."""
    at: float
    """Time in monotonic seconds."""


class FailedLogins:
    """Token buckets of wrong API keys, one per network.

    Args:
        monotonic: Returns seconds that never run backwards.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, address: str) -> float:
        """Time after which the address may send another key that could be guessed; 0: now."""
        return max(0.0, 1.0 - self._left(network_of(address))) * INTERVAL_SECONDS

    def count(self, address: str) -> None:
        """Count a wrong key."""
        network = network_of(address)
        self._buckets[network] = _Bucket(max(0.0, self._left(network) - 1.0), self._monotonic())
        self._buckets.move_to_end(network)
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)

    def _left(self, network: str) -> float:
        bucket = self._buckets.get(network)
        if bucket is None:
            return float(BURST)
        regained = (self._monotonic() - bucket.at) / INTERVAL_SECONDS
        return min(float(BURST), bucket.left + regained)


# A connection's calls come from one address, and parsing it takes as long as finding its key.
@lru_cache(maxsize=4_096)
def network_of(address: str) -> str:
    """The network that an address counts for: itself in IPv4, its /64 in IPv6, which one caller may own.

    Args:
        address: An address, or the peer of a gRPC call: `ipv4:192.0.2.1:4711`, `ipv6:%5B2001:db8::1%5D:4711`.
    """
    host = unquote(address)
    if host.startswith(_SCHEMES):
        host = host.partition(":")[2].rpartition(":")[0].strip("[]")
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        # A Unix socket, or nothing that is known: one network for all of them.
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _NETWORK_BITS), strict=False))
