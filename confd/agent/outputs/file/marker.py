"""
The marker: what the agent durably knows of each file it writes.

The marker of a file says that a program uses the file. The marker is cleared before the file changes and written after
the reload and the probe succeeded, so a crash between the two leaves a reload owed and never a claim without one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from attrs import asdict, frozen

from confd.codec import strict_json
from confd.errors import ConfdError
from confd.runtime.atomic_file import replace_file

#: The number of the format of the marker file.
FORMAT = 1

_MAX_BYTES = 256 * 1024


@frozen
class Entry:
    """
    The recorded state of one output.

    @ivar path: of its file; an entry of another path does not count.
    @ivar live: SHA-256 of the file that the program uses, empty where that is not known.
    @ivar tag: of the configuration that the file was rendered from.
    @ivar created: whether the file did not exist before the change under way.
    @ivar healthy: C{False} after the health check failed.
    @ivar words: why it is unhealthy.
    """

    path: str
    live: str = ""
    tag: str = ""
    created: bool = False
    healthy: bool = True
    words: str = ""


class Marker:
    """The marker file of an agent: one L{Entry} for each output. Everything here blocks, and any thread may call it."""

    def __init__(self, path: str) -> None:
        """
        @param path: of the marker file.
        """
        self.path = path
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def load(self) -> None:
        """Read the marker file once; a missing or damaged one knows nothing, so that every reload is owed."""
        with self._lock:
            if not self._loaded:
                self._entries, self._loaded = _read(self.path), True

    def entry(self, name: str, path: str) -> Entry:
        """Return the recorded state of an output whose file has this path."""
        found = self._entries.get(name)
        return found if found is not None and found.path == path else Entry(path)

    def change(self, name: str, path: str, edit: Callable[[Entry], Entry]) -> None:
        """
        Replace the entry of an output, durably.

        @param edit: returns the new entry for the present one; other threads change no entry meanwhile.
        @raise OSError: if the marker file cannot be written; its content is then unchanged.
        """
        with self._lock:
            entries = {**self._entries, name: edit(self.entry(name, path))}
            if entries == self._entries:
                return
            body = {"format": FORMAT, "outputs": {each: asdict(entries[each]) for each in sorted(entries)}}
            replace_file(self.path, strict_json.encode(body) + b"\n")
            self._entries = entries


def _read(path: str) -> dict[str, Entry]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found = strict_json.decode(file.read(_MAX_BYTES))
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            return {}
        return {name: Entry(**each) for name, each in found["outputs"].items()}
    except (OSError, ConfdError, TypeError, KeyError, AttributeError):
        return {}
