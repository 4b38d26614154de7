"""Several stores as one root."""

from __future__ import annotations

from collections.abc import Sequence

from portbev.data.stores.store import Entry, Store


class Union:
    """Several stores as one: what several have, the first one gives. Folders are merged.

    Args:
        stores: in the order in which they are asked.
        text: a text that opens them again.
        top: the folder that paths are shown in which no store has.
    """

    def __init__(self, stores: Sequence[Store], text: str, top: str) -> None:
        self.stores, self._text, self._top = list(stores), text, top
        self.notes = [note for store in stores for note in store.notes]

    def find(self, path: str) -> Entry | None:
        if not path:
            return Entry("", is_dir=True)
        for store in self.stores:
            entry = store.find(path)
            if entry is not None:
                return Entry(entry.name, entry.is_dir, entry.st_size, entry.st_mtime_ns, (store, entry))
        return None

    def entries(self, path: str) -> Sequence[Entry]:
        found: dict[str, Entry] = {}
        for store in self.stores:
            for entry in store.entries(path):
                found.setdefault(entry.name, entry)
        return list(found.values())

    def read(self, path: str, entry: Entry, offset: int, size: int) -> bytes:
        store, inner = entry.place
        data: bytes = store.read(path, inner, offset, size)
        return data

    def shown(self, path: str) -> str:
        if not path:
            return self._text
        holder = next((store for store in self.stores if store.find(path) is not None), None)
        return f"{self._top}/{path}" if holder is None else holder.shown(path)
