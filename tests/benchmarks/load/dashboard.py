"""A load run watched by a real Prometheus, and its dashboard as a picture.

Run `make dashboard-picture` (about four minutes; apt-get install prometheus). It starts all services, sends
requests in phases (one caller, eight, more than can be answered, unusual pictures and callers without a key,
and two callers again), has a few answers audited, and draws every panel of deploy/grafana/creditline.json.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from creditline.client import CreditlineClient
from creditline.corpus.openclipart import embedded_corpus
from creditline.errors import CreditlineError
from creditline.ledger import Ledger, Scope
from creditline.local.settings import LocalSettings
from creditline.local.stack import LocalStack
from tests.benchmarks.load.dashboard_picture import draw, empty_panels, read_rows
from tests.benchmarks.load.decoding import detailed_picture, flat_picture
from tests.benchmarks.result_files import RESULTS_DIRECTORY
from tests.real_parts.prometheus import Prometheus, running_prometheus

PICTURE = RESULTS_DIRECTORY / "images" / "dashboard.png"
_RATE_SECONDS = 15
_SETTINGS = {
    "CREDITLINE_GATEWAY_COLLECT_SECONDS": "1",
    "CREDITLINE_TEACHER_SAMPLED_WORKS": "24",
    # Fewer than there are callers, so that requests wait.
    "CREDITLINE_ANSWERS_AT_ONCE": "12",
}
_AUDITED_EVERY_SECONDS = 12.0


@dataclass(frozen=True)
class Phase:
    """Callers for a while."""

    what: str
    seconds: float
    callers: int
    timeout_seconds: float = 10.0
    unusual: bool = False
    """Whether noise with wrong prompts, large pictures and callers without a key come too."""


PHASES = (
    Phase("one caller", 30.0, 1),
    Phase("eight callers", 40.0, 8),
    Phase("more than can be answered", 40.0, 48, timeout_seconds=3.0),
    Phase("unusual pictures", 40.0, 3, unusual=True),
    Phase("two callers", 30.0, 2),
)


@dataclass(frozen=True)
class Load:
    """Sends requests to a stack.

    keys: API keys, which callers use in turn.
    """

    stack: LocalStack
    keys: Sequence[str]

    def run(self, phase: Phase) -> None:
        """Send what belongs to a phase until it is over."""
        ends = time.monotonic() + phase.seconds
        threads = [
            threading.Thread(target=self._call, args=(number, phase, ends)) for number in range(phase.callers)
        ]
        if phase.unusual:
            threads += [
                threading.Thread(target=self._repeat, args=(send, pause, ends))
                for send, pause in (
                    (self._noise, 0.2),
                    (self._large_picture, 2.0),
                    (self._without_a_key, 0.1),
                )
            ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self, number: int, phase: Phase, ends: float) -> None:
        works, rng = embedded_corpus().works, random.Random(number)
        audited = time.monotonic() + _AUDITED_EVERY_SECONDS
        with self._client(number) as client:
            while time.monotonic() < ends:
                work = rng.choice(works)
                try:
                    answer = client.attribute(
                        work.thumbnail, prompt=work.caption, timeout_seconds=phase.timeout_seconds
                    )
                    if number == 0 and time.monotonic() > audited:
                        client.submit_audit(answer.attribution_id)
                        audited += _AUDITED_EVERY_SECONDS
                except CreditlineError:
                    time.sleep(0.05)

    def _repeat(self, send: Callable[[], None], pause: float, ends: float) -> None:
        while time.monotonic() < ends:
            with suppress(CreditlineError):
                send()
            time.sleep(pause)

    def _noise(self) -> None:
        with self._client(1) as client:
            client.attribute(detailed_picture(96), prompt="seven green rivers of tax", timeout_seconds=10)

    def _large_picture(self) -> None:
        with self._client(1) as client:
            client.attribute(flat_picture((5_000, 4_000)), prompt="orange", timeout_seconds=10)

    def _without_a_key(self) -> None:
        httpx.get(f"{self.stack.gateway_url}/v1/withdrawals", trust_env=False)

    def _client(self, number: int) -> CreditlineClient:
        return CreditlineClient(self.stack.gateway_target, api_key=self.keys[number % len(self.keys)])


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _keys(stack: LocalStack) -> list[str]:
    scopes = (Scope.ATTRIBUTE, Scope.AUDIT, Scope.READ)
    with Ledger.open(stack.ledger_url) as ledger:
        return [ledger.keys.create(owner, scopes).text for owner in ("a museum", "a newspaper")]


def _targets(stack: LocalStack) -> dict[str, str]:
    return {f"creditline-{service}": address for service, address in stack.metrics_addresses.items()}


def measure(phases: Sequence[Phase] = PHASES, output: Path = PICTURE) -> None:
    """Run the phases on a stack of its own, and draw the dashboard."""
    with (
        tempfile.TemporaryDirectory() as place,
        _environment(_SETTINGS),
        LocalStack(state_directory=Path(place) / "stack", settings=LocalSettings(), report=print) as stack,
    ):
        load = Load(stack, _keys(stack))
        with running_prometheus(Path(place), _targets(stack)) as prometheus:
            start = time.time()
            for phase in phases:
                print(f"{phase.what}: {phase.callers} callers, {phase.seconds:g} s", flush=True)
                load.run(phase)
            _draw(prometheus, start, phases, output)


def _draw(prometheus: Prometheus, start: float, phases: Sequence[Phase], output: Path) -> None:
    rows = read_rows(prometheus, start, time.time(), rate_seconds=_RATE_SECONDS)
    if empty := empty_panels(rows):
        raise SystemExit(f"panels without data: {', '.join(empty)}")
    what = ", then ".join(phase.what for phase in phases)
    output.parent.mkdir(parents=True, exist_ok=True)
    draw(rows, f"Creditline: {what}", output)
    print(f"{sum(len(row.panels) for row in rows)} panels drawn into {output}")


if __name__ == "__main__":
    measure()
