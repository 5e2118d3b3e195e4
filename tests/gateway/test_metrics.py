"""Metrics of a running gateway: what it exposes, in which format, on which port, and what is collected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from creditline import __version__
from creditline.ledger import Ledger
from creditline.release import ENCODER, Release
from tests.gateway.conftest import RunningGateway, gateway_settings, running_gateway
from tests.ledger.conftest import record
from tests.processes import wait_until
from tests.real_parts.ports import free_port
from tests.real_parts.redis_server import RedisServer

_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def _samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and label values, in the order of the labels' names."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_process_its_python_and_its_build_are_exposed(
    lonely_gateway: RunningGateway, release: Release
) -> None:
    with lonely_gateway.http() as http:
        samples = _samples(http.get("/metrics").text)
    assert samples["process_resident_memory_bytes",] > 1 << 20
    assert samples["process_cpu_seconds_total",] > 0.0
    assert ("python_gc_collections_total", "0") in samples
    build = (release.files[ENCODER][:12], release.name, "gateway", __version__)
    assert samples["creditline_build_info", "", *build] == 1.0


def test_the_format_follows_what_the_scraper_accepts(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.http() as http:
        plain = http.get("/metrics")
        openmetrics = http.get("/metrics", headers={"accept": f"{_OPENMETRICS},text/plain;q=0.5"})
    assert plain.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name for family in openmetrics_families(openmetrics.text)}
    assert "creditline_gateway_request_seconds" in families
    assert "# EOF" in openmetrics.text
    assert "# EOF" not in plain.text


def test_a_request_in_flight_is_counted_while_it_runs(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.http() as http:
        samples = _samples(http.get("/metrics").text)
    assert samples["creditline_gateway_requests_in_flight", "http"] == 1.0
    assert samples["creditline_gateway_requests_in_flight", "grpc"] == 0.0


def test_metrics_on_a_port_of_their_own_are_not_on_the_public_one(tmp_path: Path, release: Release) -> None:
    port = free_port()
    settings = gateway_settings(tmp_path, release, gateway_metrics_port=port)
    with running_gateway(settings) as gateway, gateway.http() as public:
        assert public.get("/metrics").status_code == 404
        assert public.get("/healthz").status_code == 200
        own = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        with own:
            assert "creditline_gateway_requests_total" in own.get("/metrics").text
            assert own.get("/healthz").status_code == 200
            assert own.get("/readyz").status_code == 503
            paths = public.get("/openapi.json").json()["paths"]
            assert "/metrics" not in paths
            assert {path for path in paths if not path.startswith("/v1/")} == {"/healthz", "/readyz"}
            public_only = [path for path in paths if path.startswith("/v1/")] + ["/docs"]
            assert len(public_only) > 12
            for path in public_only:
                for method in ("GET", "POST"):
                    assert own.request(method, path).status_code == 404, path
            assert public.get("/docs").status_code == 200
            assert set(own.get("/openapi.json").json()["paths"]) == {"/metrics", "/healthz", "/readyz"}


def test_ledger_and_queues_are_collected_in_the_background(
    tmp_path: Path, release: Release, start_redis: Callable[..., RedisServer]
) -> None:
    server = start_redis()
    settings = gateway_settings(tmp_path, release, broker_url=server.url, gateway_collect_seconds=0.05)
    with Ledger.open(settings.ledger_url) as ledger:
        record(ledger, with_audit=True)
        record(ledger)
    with running_gateway(settings) as gateway, gateway.http() as http:

        def collected() -> bool:
            samples = _samples(http.get("/metrics").text)
            # A job is in Redis a moment before the ledger says that it is published.
            is_published = samples["creditline_gateway_outbox_unpublished",] == 0.0
            return is_published and samples["creditline_gateway_jobs_queued", "celery"] == 1.0

        wait_until(collected, "the published audit is counted in Redis")
        samples = _samples(http.get("/metrics").text)
    assert samples["creditline_gateway_ledger_rows", "attributions"] == 2.0
    assert samples["creditline_gateway_ledger_bytes",] > 4096
    assert samples["creditline_gateway_audits", "QUEUED"] == 1.0
    assert samples["creditline_gateway_audits", "DONE"] == 0.0
    assert samples["creditline_gateway_oldest_audit_seconds", "QUEUED"] > 0.0
    assert samples["creditline_gateway_outbox_unpublished",] == 0.0
    assert samples["creditline_gateway_ledger_write_wait_seconds_count",] >= 1.0
    assert samples["creditline_gateway_collected_timestamp_seconds", "ledger"] > 0.0


def test_a_collection_that_fails_is_counted_and_leaves_the_others_alone(
    tmp_path: Path, release: Release
) -> None:
    settings = gateway_settings(tmp_path, release, gateway_collect_seconds=0.05)
    with running_gateway(settings) as gateway, gateway.http() as http:

        def failed() -> bool:
            samples = _samples(http.get("/metrics").text)
            return samples["creditline_gateway_collection_failures_total", "redis"] >= 2.0

        wait_until(failed, "Redis is down")
        samples = _samples(http.get("/metrics").text)
    assert samples["creditline_gateway_collection_failures_total", "ledger"] == 0.0
    assert samples["creditline_gateway_collected_timestamp_seconds", "redis"] == 0.0
    assert samples["creditline_gateway_collected_timestamp_seconds", "ledger"] > 0.0
