"""The series of embeddings and of re-ranking: two services in one process, each under names of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from creditline.embedder.metrics import EmbedderMetrics, RerankMetrics

_CALLS = {
    "creditline_embedder_calls": ("counter", "Calls by gRPC status."),
    "creditline_embedder_call_seconds": ("histogram", "Duration of a call."),
    "creditline_embedder_calls_in_flight": ("gauge", "Calls that are being answered."),
    "creditline_embedder_rerank_calls": ("counter", "Calls by gRPC status."),
    "creditline_embedder_rerank_call_seconds": ("histogram", "Duration of a call."),
    "creditline_embedder_rerank_calls_in_flight": ("gauge", "Calls that are being answered."),
}


def _registry() -> CollectorRegistry:
    registry = EmbedderMetrics().registry
    RerankMetrics(registry)
    return registry


def test_calls_of_both_services_have_series_of_their_own() -> None:
    found = {family.name: (family.type, family.documentation) for family in _registry().collect()}

    assert {name: found.get(name) for name in _CALLS} == _CALLS


def test_durations_of_calls_have_the_buckets_of_their_service() -> None:
    bounds = {
        family.name: [sample.labels["le"] for sample in family.samples if "le" in sample.labels]
        for family in _registry().collect()
        if family.name.endswith("call_seconds")
    }

    assert {name: (each[0], each[-2], len(each)) for name, each in bounds.items()} == {
        "creditline_embedder_call_seconds": ("0.001", "10.0", 14),
        "creditline_embedder_rerank_call_seconds": ("0.001", "60.0", 13),
    }
