"""Aliases of collections, changed and saved as a Qdrant server does."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from creditline.errors import Conflict, NotFound
from creditline.local.qdrant.storage.durability import write_durably
from creditline.qdrant_messages import qdrant


class Aliases:
    """The mapping alias -> collection, in one JSON file.

    As in Qdrant 1.19, the actions of one request are applied in order and saved one by one. An action that is
    rejected, or the end of the process, leaves the actions before it in force: nothing is rolled back.

    Args:
        path: the file; it need not exist yet.
        kill_after: for fault tests: the process kills itself (SIGKILL) as soon as this many actions have been
            saved since it started. 0: never.
    """

    def __init__(self, path: Path, *, kill_after: int = 0) -> None:
        self._path = path
        self._kill_after = kill_after
        self._saved = 0
        self._targets: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}

    @property
    def targets(self) -> Mapping[str, str]:
        """A copy of the mapping."""
        return dict(self._targets)

    def target(self, name: str) -> str:
        """The collection that an alias points to; any other name is returned unchanged."""
        return self._targets.get(name, name)

    def apply(self, actions: Sequence[qdrant.AliasOperations], collections: Collection[str]) -> None:
        """Apply and save each action in turn.

        An alias that exists is overwritten by a creation; the deletion of one that does not exist has no
        effect, as on a server.

        Args:
            actions: what to change, in order.
            collections: the names of all collections.

        Raises:
            NotFound: the collection of a creation, or the alias to rename, does not exist.
            Conflict: the new alias is the name of a collection.
        """
        for action in actions:
            changed = _changed(self._targets, action, collections)
            if changed != self._targets or action.WhichOneof("action") != "delete_alias":
                self._save(changed)
                self._count_action()

    def forget(self, collection: str) -> None:
        """Delete all aliases of a collection, in one step."""
        left = {alias: target for alias, target in self._targets.items() if target != collection}
        if left != self._targets:
            self._save(left)

    def _save(self, targets: dict[str, str]) -> None:
        write_durably(self._path, json.dumps(targets, indent=1, sort_keys=True))
        self._targets = targets

    def _count_action(self) -> None:
        self._saved += 1
        if self._saved == self._kill_after:
            os.kill(os.getpid(), signal.SIGKILL)


def _changed(
    targets: Mapping[str, str], action: qdrant.AliasOperations, collections: Collection[str]
) -> dict[str, str]:
    """The mapping after one action. Raises NotFound, Conflict."""
    changed = dict(targets)
    match action.WhichOneof("action"):
        case "create_alias":
            alias, collection = action.create_alias.alias_name, action.create_alias.collection_name
            _check_creation(alias, collection, collections)
            changed[alias] = collection
        case "delete_alias":
            changed.pop(action.delete_alias.alias_name, None)
        case "rename_alias":
            old, new = action.rename_alias.old_alias_name, action.rename_alias.new_alias_name
            if old not in changed:
                raise NotFound(f"Alias `{old}` doesn't exist!", field="old_alias_name")
            changed[new] = changed.pop(old)
    return changed


def _check_creation(alias: str, collection: str, collections: Collection[str]) -> None:
    if collection not in collections:
        raise NotFound(f"Collection `{collection}` doesn't exist!", field="collection_name")
    if alias in collections:
        raise Conflict(f"`{alias}` is a collection; choose another name for the alias", field="alias_name")
