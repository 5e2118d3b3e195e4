"""The breakers of one gateway."""

from __future__ import annotations

from creditline.gateway.breakers.breaker import Breaker, BreakerPlan, State
from creditline.gateway.breakers.metrics import BreakerMetrics

_RERANKER_PLAN = BreakerPlan(patience_seconds=30.0, trial_seconds=60.0)


class Breakers:
    """One breaker for each service that an answer needs; to be created on a running event loop.

    Args:
        metrics: Shows states, and counts what is refused.
    """

    def __init__(self, metrics: BreakerMetrics) -> None:
        self.embedder = Breaker("embedder", metrics)
        """Breaker of the embedder."""
        self.reranker = Breaker("reranker", metrics, _RERANKER_PLAN)
        """Breaker of the reranker, which may take long for one answer."""
        self.qdrant = Breaker("qdrant", metrics)
        """Breaker of Qdrant."""
        self.ledger = Breaker("ledger", metrics)
        """Breaker of the ledger: of reading withdrawals, and of recording answers."""

    def ledger_problem(self) -> str:
        """Why answers cannot be recorded now; empty when they can. A ledger may be read and not written."""
        if self.ledger.state is State.CLOSED:
            return ""
        return "calls of the ledger fail; another process may hold a lock in it: see the gateway's log"
