"""The local stack with its two services that need no models: it starts, stops, and leaves no processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import redis
from typer.testing import CliRunner

from creditline.calibration import Calibration
from creditline.cli.index import app as index_app
from creditline.corpus.openclipart import embedded_corpus
from creditline.errors import Conflict, NotReady, Unavailable
from creditline.index import WorkIndex
from creditline.index.builds.promotion import builds, live_build, promote
from creditline.ledger import Ledger, WithdrawalKind
from creditline.local.health import grpc_serves, redis_answers
from creditline.local.services import StackPorts
from creditline.local.settings import LocalSettings
from creditline.local.stack import LocalStack
from creditline.local.state import StateDirectory
from creditline.release import (
    CALIBRATION,
    ENCODER,
    MODEL_CARD,
    Release,
    write_manifest,
    write_work_vectors,
)
from creditline.retries import RetryPolicy
from tests.index.works_made_up import made_up_works, unit_vectors
from tests.local.processes_left import await_none_naming, processes_naming

_MODEL_FREE = ("redis", "qdrant")
_WITHOUT_MODELS = [f"--without={name}" for name in ("embedder", "teacher", "gateway")]


def _supervisor(directory: Path, *, in_background: bool = False) -> subprocess.Popen[str]:
    """Start `creditline local up` as a separate process; returns when it reports that it is up.

    in_background: as `command &` in a script starts it, with SIGINT ignored.
    """
    command = [
        *(sys.executable, "-m", "creditline.cli.main", "local", "up"),
        *("--state-directory", str(directory), *_WITHOUT_MODELS),
    ]
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command] if in_background else command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Creditline is up" in line:
            return process
    raise AssertionError(f"it did not come up: {''.join(said)}")


def test_services_answer_inside_the_block_and_are_gone_after_it(tmp_path: Path) -> None:
    said: list[str] = []
    with LocalStack(state_directory=tmp_path, services=_MODEL_FREE, report=said.append) as stack:
        assert redis.Redis.from_url(stack.broker_url).ping()
        assert grpc_serves(stack.qdrant_target)
        assert len(processes_naming(str(tmp_path))) >= 2
        target, port = stack.qdrant_target, int(stack.broker_url.rsplit(":", 1)[1].removesuffix("/0"))
    await_none_naming(str(tmp_path))
    assert not grpc_serves(target)
    assert not redis_answers("127.0.0.1", port)
    assert [line for line in said if "stopped" in line] == ["qdrant stopped", "redis stopped"]


def test_the_state_file_holds_all_addresses_and_is_private(tmp_path: Path) -> None:
    with LocalStack(state_directory=tmp_path, services=_MODEL_FREE) as stack:
        state = StateDirectory(tmp_path).read()
        assert state is not None
        assert (state.supervisor, state.api_key) == (os.getpid(), stack.api_key)
        assert (state.qdrant_target, state.broker_url) == (stack.qdrant_target, stack.broker_url)
        assert {service.name: service.pid for service in state.services} == stack.pids
        assert state.gateway_target == ""
        assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
    assert StateDirectory(tmp_path).read() is None


def test_a_second_stack_cannot_use_the_same_state_directory(tmp_path: Path) -> None:
    with LocalStack(state_directory=tmp_path, services=["redis"]) as stack:
        with pytest.raises(Conflict, match=f"process {os.getpid()}.*CREDITLINE_STATE_DIRECTORY"):
            LocalStack(state_directory=tmp_path, services=["redis"]).start()
        assert redis.Redis.from_url(stack.broker_url).ping()


def test_vectors_outlive_the_stack(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            LocalStack(state_directory=tmp_path, services=["qdrant"]) as stack,
            WorkIndex.connect(grpc_port=stack.qdrant_port) as index,
        ):
            found = index.exists("kept")
            index.create("kept", 8)
    assert found


def test_a_service_that_may_not_be_restarted_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    once = RetryPolicy(max_attempts=1)
    with LocalStack(state_directory=tmp_path, services=_MODEL_FREE, restarts=once) as stack:
        redis.Redis.from_url(stack.broker_url).shutdown(nosave=True)
        with pytest.raises(Unavailable, match=r"redis ended with status 0(?s:.*)bye bye") as died:
            stack.watch()
        assert died.value.service == "redis"
    await_none_naming(str(tmp_path))


def test_a_service_that_keeps_dying_is_restarted_a_few_times_and_then_named(tmp_path: Path) -> None:
    said: list[str] = []
    thrice = RetryPolicy(initial_delay_seconds=0.01, max_attempts=3)
    with LocalStack(
        state_directory=tmp_path, services=["redis"], restarts=thrice, report=said.append
    ) as stack:
        port = stack.broker_url.rsplit(":", 1)[1].removesuffix("/0")
        redis.Redis.from_url(stack.broker_url).shutdown(nosave=True)
        # Something else takes its port.
        with socket.create_server(("127.0.0.1", int(port))), pytest.raises(Unavailable) as died:
            stack.watch()
    assert "It was restarted 2 times" in died.value.__notes__[0]
    assert [line for line in said if "started again" in line] == [
        f"redis started again at 127.0.0.1:{port}, restart {number}" for number in (1, 2)
    ]


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    supervisor = _supervisor(tmp_path)
    assert len(processes_naming(str(tmp_path))) >= 4
    supervisor.kill()
    supervisor.wait()
    await_none_naming(str(tmp_path))
    with LocalStack(state_directory=tmp_path, services=["redis"]) as stack:
        assert redis.Redis.from_url(stack.broker_url).ping()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stops_everything_on_a_signal_and_ends_well(tmp_path: Path, number: int) -> None:
    supervisor = _supervisor(tmp_path)
    supervisor.send_signal(number)
    said, _ = supervisor.communicate(timeout=120)
    assert supervisor.returncode == 0
    assert "all services stopped" in said
    await_none_naming(str(tmp_path))


def test_a_command_in_the_background_of_a_script_stops_on_sigint_too(tmp_path: Path) -> None:
    supervisor = _supervisor(tmp_path, in_background=True)
    supervisor.send_signal(signal.SIGINT)
    said, _ = supervisor.communicate(timeout=120)
    assert (supervisor.returncode, "all services stopped" in said) == (0, True)
    await_none_naming(str(tmp_path))


def test_a_stack_in_the_background_restarts_what_died_and_is_stopped_by_its_directory(
    tmp_path: Path,
) -> None:
    where = ("--state-directory", str(tmp_path))
    up = _local("up", "--detach", "--api-key", "mine", *where, *_WITHOUT_MODELS)
    assert up.returncode == 0, up.stderr
    assert "`creditline local down` stops it" in up.stdout
    state = StateDirectory(tmp_path).read()
    assert state is not None
    assert state.api_key == "mine"
    again = _local("up", "--detach", *where, *_WITHOUT_MODELS)
    assert (again.returncode, f"already runs in {tmp_path} (process {state.supervisor})" in again.stderr) == (
        2,
        True,
    )
    redis.Redis.from_url(state.broker_url).shutdown(nosave=True)
    for _ in RetryPolicy.polling(0.2, for_seconds=60).attempts():
        status = _local("status", *where)
        if status.returncode == 0 and re.search(r"redis .* 1 ", status.stdout):
            break
    assert redis.Redis.from_url(state.broker_url).ping()
    assert (_local("down", *where).returncode, _local("down", *where).returncode) == (0, 2)
    await_none_naming(str(tmp_path))


def _local(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "creditline.cli.main", "local", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_chosen_port_is_taken_and_one_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} cannot be used"):
            StackPorts.free().with_gateway(0, port)
    assert StackPorts.free().with_gateway(port, 0).gateway_grpc == port


def test_status_lists_running_services_and_names_the_remedy_without_any(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "creditline.cli.main",
        "local",
        "status",
        "--state-directory",
        str(tmp_path),
    ]
    with LocalStack(state_directory=tmp_path, services=_MODEL_FREE) as stack:
        running = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert running.returncode == 0
        assert stack.qdrant_target in running.stdout
    stopped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert stopped.returncode == 2
    assert "creditline local up" in stopped.stderr


def test_the_releases_works_are_in_the_index_and_are_not_written_twice(tmp_path: Path) -> None:
    release = _made_up_release(tmp_path / "release")
    said: list[list[str]] = []
    for _ in range(2):
        said.append([])
        with (
            LocalStack(
                state_directory=tmp_path / "state",
                release_directory=release.directory,
                services=["qdrant"],
                report=said[-1].append,
            ) as stack,
            WorkIndex.connect(grpc_port=stack.qdrant_port) as index,
        ):
            assert index.count(release.collection) == release.works
    assert "index filled with the 60 works of made-up" in said[0]
    assert "index holds the 60 works of made-up" in said[1]


def test_local_up_and_index_load_leave_an_operators_live_build_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, state = _made_up_release(tmp_path / "release"), tmp_path / "state"
    load = ["load", "--release", str(release.directory)]
    monkeypatch.setenv("CREDITLINE_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    Ledger.open(f"sqlite:///{tmp_path}/ledger.db").close()

    def stack(said: list[str], *, replace_live: bool = False) -> LocalStack:
        return LocalStack(
            state_directory=state,
            release_directory=release.directory,
            services=["qdrant"],
            replace_live=replace_live,
            report=said.append,
        )

    mine, filling = f"{release.collection}.2", f"{release.collection}.3"
    with stack([]) as first, WorkIndex.connect(grpc_port=first.qdrant_port) as index:
        for build in (mine, filling):
            index.create(build, 24)
            index.upsert(build, made_up_works(unit_vectors(5, 24)))
        promote(index, release.collection, mine)
    with stack(said := []) as second, WorkIndex.connect(grpc_port=second.qdrant_port) as index:
        assert live_build(index, release.collection) == mine
        assert any(f"{mine} is live and was not made by release made-up" in line for line in said)
        monkeypatch.setenv("CREDITLINE_QDRANT_GRPC_PORT", str(second.qdrant_port))
        told = CliRunner().invoke(index_app, load, catch_exceptions=False).output
        assert f"{release.collection} means {mine}" in told
        assert "--replace-live" in told
        assert live_build(index, release.collection) == mine
        assert filling in builds(index, release.collection)
        told = CliRunner().invoke(index_app, [*load, "--replace-live"], catch_exceptions=False).output
        assert f"{release.collection}.1 was built before and is live as {release.collection} now" in told
        assert builds(index, release.collection) == [f"{release.collection}.1", mine, filling]
        again = CliRunner().invoke(index_app, load, catch_exceptions=False).output
        assert "nothing was done" in again
        promote(index, release.collection, mine)
    with stack([], replace_live=True) as third, WorkIndex.connect(grpc_port=third.qdrant_port) as index:
        assert live_build(index, release.collection) == f"{release.collection}.1"


def test_the_gateway_starts_without_the_models_and_names_what_is_missing(tmp_path: Path) -> None:
    release = _made_up_release(tmp_path / "release")
    with LocalStack(
        state_directory=tmp_path / "state",
        release_directory=release.directory,
        services=["redis", "qdrant", "gateway"],
    ) as stack:
        answer = httpx.get(f"{stack.gateway_url}/readyz", timeout=60)
        up = {each["service"]: each["up"] for each in answer.json()["dependencies"]}
        assert up == {
            "decoder": True,
            "embedder": False,
            "qdrant": True,
            "ledger": True,
            "redis": True,
            "withdrawals": True,
        }
    await_none_naming(str(tmp_path))


def _made_up_release(directory: Path) -> Release:
    """Real files with random vectors of sixty real works."""
    directory.mkdir()
    ids = embedded_corpus().ids[::70][:60]
    write_work_vectors(directory, ids, unit_vectors(len(ids), 24))
    for name in (ENCODER, MODEL_CARD):
        (directory / name).write_text(name)
    knots = np.array([-1.0, 0.0, 1.0])
    (directory / CALIBRATION).write_text(Calibration(knots, knots).to_json())
    fingerprints = {f"{name}_fingerprint": "0" * 64 for name in ("generator", "towers")}
    fingerprints["corpus_fingerprint"] = embedded_corpus().fingerprint
    about = {"name": "made-up", "created": "2026-01-01T00:00:00+00:00", "corpus_name": "made-up"}
    return write_manifest(directory, {**about, **fingerprints, "width": 24, "works": len(ids), "figures": {}})


def test_a_missing_release_is_named_and_no_service_keeps_running(tmp_path: Path) -> None:
    nowhere = tmp_path / "no-release"
    stack = LocalStack(state_directory=tmp_path / "state", release_directory=nowhere, services=_MODEL_FREE)
    with pytest.raises(NotReady, match=r"no release at .*no-release; build one with"):
        stack.start()
    await_none_naming(str(tmp_path))
    assert not StateDirectory(tmp_path / "state").is_owned()


def test_a_release_of_ones_own_without_its_generator_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    release = _made_up_release(tmp_path / "release")
    stack = LocalStack(state_directory=tmp_path / "state", release_directory=release.directory)
    with pytest.raises(
        NotReady, match=r"'made-up' has its own generator 0000.*CREDITLINE_GENERATOR_DIRECTORY"
    ):
        stack.start()
    assert list((tmp_path / "state" / "logs").iterdir()) == []
    assert not StateDirectory(tmp_path / "state").is_owned()


def test_adapters_of_the_settings_go_with_their_generator_and_those_of_the_release_with_its_own(
    tmp_path: Path,
) -> None:
    """The release's adapter and statistics are missing, and the first that is looked for is refused."""
    adapters = {"place": "generator", "fingerprint": "f" * 64, "adapters": ["gone.safetensors"]}
    made = _made_up_release(tmp_path / "release")
    write_manifest(made.directory, {**made.description, "parts": {"generator": adapters}})
    (made.directory / "generator").mkdir()
    for generator, missing in ((None, "gone.safetensors"), (tmp_path, "teacher's statistics")):
        settings = LocalSettings(
            generator_directory=generator, generator_adapters="ours", corpus_file=tmp_path / "corpus"
        )
        with pytest.raises(NotReady, match=missing):
            LocalStack(
                state_directory=tmp_path / "state",
                release_directory=made.directory,
                services=("teacher",),
                settings=settings,
            ).start()


def test_a_stack_without_a_teacher_passes_the_adapters_of_the_settings_on(tmp_path: Path) -> None:
    settings = LocalSettings(generator_adapters="one:0.5, other")
    with LocalStack(state_directory=tmp_path, services=("redis",), settings=settings) as stack:
        assert stack.generator_adapters == ("one:0.5", "other")


def test_an_unknown_service_is_rejected_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no service reddis"):
        LocalStack(state_directory=tmp_path, services=["reddis"])


def test_withdrawn_works_stay_out_of_a_filled_and_of_a_rebuilt_index(
    tmp_path: Path,
) -> None:
    release, state = _made_up_release(tmp_path / "release"), tmp_path / "state"
    first, second = release.work_ids()[3], release.work_ids()[8]
    for withdrawn in ({first}, {first, second}):
        with (
            LocalStack(
                state_directory=state, release_directory=release.directory, services=["qdrant"]
            ) as stack,
            Ledger.open(stack.ledger_url) as ledger,
        ):
            for work_id in withdrawn:
                ledger.withdraw(WithdrawalKind.WORK, work_id)
        with (
            LocalStack(
                state_directory=state, release_directory=release.directory, services=["qdrant"]
            ) as stack,
            WorkIndex.connect(grpc_port=stack.qdrant_port) as index,
        ):
            assert index.withdrawn_works(release.collection) == withdrawn
            index.delete(release.collection)
