"""Qdrant's protobuf messages and gRPC stubs, as qdrant-client ships them: `from … import qdrant`.

The code here needs nothing else of that package. Its `__init__` would also define hundreds of pydantic models
of Qdrant's REST API, which takes 30 MiB, a third of the gateway's start and most of the local Qdrant's; so
the subpackage is imported alone, and the package when something imports it. The generated modules are the
package's own either way: protobuf has one pool of messages in a process, in which each may be defined once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["qdrant"]

_CLIENT = "qdrant_client"
_MESSAGES = f"{_CLIENT}.grpc"


class _PackageFinder(MetaPathFinder):
    """Finds the package as the other finders do; its import takes over the subpackage that is there."""

    def __init__(self, messages: ModuleType) -> None:
        self._messages = messages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package's specification; None for all other modules."""
        if fullname != _CLIENT:
            return None
        others = (finder for finder in tuple(sys.meta_path) if finder is not self)
        found = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if found is not None and found.loader is not None:
            found.loader = _PackageLoader(found.loader, self._messages)
        return found


class _PackageLoader(Loader):
    """The package's own loader, but the package has its subpackage from the beginning.

    An import sets a subpackage as an attribute of its package only where it loads the subpackage.
    """

    def __init__(self, loader: Any, messages: ModuleType) -> None:
        self._loader = loader
        self._messages = messages

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """An empty module; None: of the ordinary kind."""
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """Run the package's `__init__`."""
        module.__dict__["grpc"] = self._messages
        self._loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:
        # For tools that ask for source and resources.
        return getattr(self._loader, name)


def _generated() -> ModuleType:
    """The subpackage `qdrant_client.grpc`. Raises ModuleNotFoundError."""
    package = None if _CLIENT in sys.modules else find_spec(_CLIENT)
    if package is None or package.submodule_search_locations is None:
        return importlib.import_module(_MESSAGES)
    # Imports of subpackages and of their modules look for the package; they need nothing else of it.
    empty = ModuleType(_CLIENT)
    empty.__path__ = list(package.submodule_search_locations)
    sys.modules[_CLIENT] = empty
    try:
        messages = importlib.import_module(_MESSAGES)
    finally:
        del sys.modules[_CLIENT]
    sys.meta_path.insert(0, _PackageFinder(messages))
    return messages


if TYPE_CHECKING:
    from qdrant_client import grpc as qdrant
else:
    qdrant = _generated()
