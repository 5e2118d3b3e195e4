"""Qdrant's messages without the rest of its client, and together with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_OURS = "from creditline.qdrant_messages import qdrant"
_WHOLE = "import qdrant_client; from qdrant_client import QdrantClient, models"
_REST_MODELS = "'qdrant_client.http' in sys.modules"
_SAME = """
import qdrant_client.grpc
from qdrant_client import grpc
assert qdrant is grpc is qdrant_client.grpc
client = QdrantClient(":memory:")
client.create_collection("works", vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
assert [found.name for found in client.get_collections().collections] == ["works"]
"""


def _run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["command", "storage.optimizing"])
def test_a_process_of_the_local_qdrant_does_not_load_the_client(module: str) -> None:
    assert _run(f"import creditline.local.qdrant.{module}, sys; print({_REST_MODELS})") == "False\n"


def test_the_messages_do_not_load_the_client() -> None:
    assert _run(f"import sys; {_OURS}; qdrant.PointId(uuid='a'); print({_REST_MODELS})") == "False\n"


@pytest.mark.parametrize("imports", [(_OURS, _WHOLE), (_WHOLE, _OURS)], ids=["ours first", "ours last"])
def test_the_whole_client_works_beside_them_and_shares_them(imports: tuple[str, str]) -> None:
    lines = "\n".join((*imports, "import sys", f"print({_REST_MODELS})", _SAME))
    assert _run(lines) == "True\n"


@pytest.mark.parametrize(
    "module", ["qdrant_client", "async_qdrant_client", "http.models", "uploader.uploader"]
)
def test_any_module_of_the_client_can_be_imported_first(module: str) -> None:
    program = f"""
{_OURS}
import qdrant_client.{module}
{_WHOLE}
print(vars(qdrant_client)["grpc"] is qdrant, qdrant_client.qdrant_client.QdrantClient is QdrantClient)
"""
    assert _run(program) == "True True\n"


def test_the_messages_can_be_imported_by_their_own_name() -> None:
    program = f"""
{_OURS}
import qdrant_client.grpc.points_pb2
print(qdrant_client.grpc is qdrant, qdrant_client.grpc.points_pb2.PointStruct is qdrant.PointStruct)
"""
    assert _run(program) == "True True\n"


def test_tools_find_the_source_of_the_client_without_loading_it() -> None:
    program = f"""
{_OURS}
import importlib.util, pkgutil, sys
found = importlib.util.find_spec("qdrant_client")
print("AsyncQdrantClient" in found.loader.get_source("qdrant_client"), {_REST_MODELS})
print(b"AsyncQdrantClient" in pkgutil.get_data("qdrant_client", "__init__.py"))
"""
    assert _run(program) == "True False\nTrue\n"


def test_without_the_client_the_import_names_what_is_missing() -> None:
    program = f"""
import sys
sys.path[:] = [each for each in sys.path if not each.endswith("site-packages")]
try:
    {_OURS}
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert _run(program) == "qdrant_client\n"


def test_what_the_client_does_not_define_is_an_attribute_error() -> None:
    program = f"""
{_OURS}
import qdrant_client
try:
    qdrant_client.no_such_thing
except AttributeError as error:
    print(error)
print(hasattr(qdrant_client, "AsyncQdrantClient"))
"""
    assert _run(program) == "module 'qdrant_client' has no attribute 'no_such_thing'\nTrue\n"


def test_threads_that_need_the_client_at_once_get_it_whole() -> None:
    program = f"""
{_OURS}
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from importlib import import_module
together = Barrier(8)
def read(name):
    together.wait()
    return getattr(import_module("qdrant_client"), name).__name__
names = ["QdrantClient", "AsyncQdrantClient"] * 4
with ThreadPoolExecutor(8) as threads:
    print(list(threads.map(read, names)) == names)
"""
    assert _run(program) == "True\n"
