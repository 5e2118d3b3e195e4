"""Health probes of services on this machine, one per protocol; none of them raises."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# The gateway's readiness check probes its own dependencies, with about two seconds for each.
_PROBE_SECONDS = 3.0
# On this machine a probe asks whether a service answers, and not who it is.
_ANY_CERTIFICATE = ssl._create_unverified_context()
_WITHOUT_PROXY = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_ANY_CERTIFICATE)
)


def grpc_serves(target: str) -> bool:
    """Whether grpc.health.v1 reports SERVING at `target` (host:port)."""
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS
            )
        except grpc.RpcError:
            return False
    serving: bool = answer.status == health_pb2.HealthCheckResponse.SERVING
    return serving


def http_answers(url: str) -> bool:
    """Whether a GET of `url` returns status 200; of HTTPS, whatever the certificate."""
    try:
        with _WITHOUT_PROXY.open(url, timeout=_PROBE_SECONDS) as answer:
            ok: bool = answer.status == 200
            return ok
    except (urllib.error.URLError, OSError):
        return False


def redis_answers(host: str, port: int) -> bool:
    """Whether a Redis at `host:port` answers PING with PONG."""
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def answers(service: str, address: str) -> bool:
    """Whether a service of a local stack is healthy.

    Args:
        service: the service's name.
        address: its address in the form of `ServicePlan.address`.
    """
    if service == "redis":
        host, port = address.rsplit(":", 1)
        return redis_answers(host, int(port))
    if service == "teacher":
        return http_answers(f"{address}/healthz")
    if service == "gateway":
        target, url = address.split(" and ")
        return grpc_serves(target) and http_answers(f"{url}/readyz")
    return grpc_serves(address)
