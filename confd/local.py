"""
Read the applied configuration from the agent on this machine.

    local = Local("http://127.0.0.1:8083", keep="/var/lib/app/config.json")
    rate = local.get("/limits/rate", 10)
    local.watch(lambda change: reconfigure(change.document))

This module needs nothing but the standard library, and makes no use of Twisted. It reads the API that an agent serves
at C{AGENT_API_LISTEN}. The methods may be called from any thread; none of them may be called in an event loop, except
L{Local.changes}.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import os
import random
import re
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from confd.codec.values import FormatError, resolve

_log = logging.getLogger(__name__)

#: Seconds that one request of a watch waits for the next document.
WAIT_SECONDS: Final = 30

#: Seconds without a byte after which a request has failed, in addition to its wait.
TIMEOUT_SECONDS: Final = 10.0

#: Shortest and longest delay between two attempts of a watch.
RETRY_MIN_SECONDS, RETRY_MAX_SECONDS = 0.1, 5.0

#: Bytes of a document.
MAX_DOCUMENT_BYTES: Final = 64 * 1024 * 1024

_MISSING: Final = object()


class LocalError(Exception):
    """The agent cannot be asked, or the document has no such part."""


class Refused(LocalError):
    """The agent refuses the request: the token is missing or wrong, or the URL is no agent's."""


class Unreachable(LocalError):
    """No agent answers, or the agent has not applied a configuration yet."""


@dataclass(frozen=True)
class LocalConfig:
    """
    An applied configuration.

    @ivar tag: its name; another document has another tag.
    @ivar document: the decoded document, to be left unchanged.
    """

    tag: str
    document: Any


class Local:
    """The configuration of the agent on this machine."""

    def __init__(self, url: str, token: str | None = None, keep: str | os.PathLike[str] | None = None) -> None:
        """
        @param url: C{http://}, C{https://} or C{unix:/path}: the C{AGENT_API_LISTEN} of the agent.
        @param token: the C{AGENT_API_TOKEN} of the agent.
        @param keep: a file for the last document, which is used while no agent answers. It has mode 0600.
        @raise ValueError: if the URL has another form.
        """
        self._server = _Server(url, token)
        self._keep = None if keep is None else os.fspath(keep)
        self._lock = threading.Lock()
        self._watches = 0
        self._last = None if self._keep is None else _load(self._keep)

    @property
    def tag(self) -> str | None:
        """The tag of the last document; C{None} before the first one."""
        last = self._last
        return None if last is None else last.tag

    def get(self, pointer: str = "", default: Any = _MISSING) -> Any:
        """
        Return a part of the applied document.

        Ask the agent first, unless a watch keeps the document current. While no agent answers, use the last document.

        @param pointer: JSON pointer such as C{/limits/rate}; empty for the whole document.
        @param default: returned if the document has no such part, or if there is no document.
        @raise Refused: if the agent refuses the request, also with a default.
        @raise LocalError: without a default, in place of it.
        """
        try:
            change = self._last if self._watches and self._last is not None else self._ask()
            return resolve(change.document, pointer)
        except Unreachable:
            if default is _MISSING:
                raise
        except FormatError:
            if default is _MISSING:
                raise LocalError(f"Configuration {change.tag} has nothing at {pointer!r}.") from None
        return default

    def watch(self, callback: Callable[[LocalConfig], object]) -> Watch:
        """
        Call C{callback} in a daemon thread for each change from now on, once, also across restarts of the agent.

        A document that L{get} has returned already is no change. Versions that follow each other at once may be
        skipped, except for the last one. An exception of the callback is logged.

        @return: ends the watch.
        """

        def call(change: LocalConfig) -> None:
            try:
                callback(change)
            except Exception:
                _log.exception("the callback for configuration %s failed", change.tag)

        return Watch(self, call)

    async def changes(self) -> AsyncIterator[LocalConfig]:
        """Iterate over the changes from now on, in the way of L{watch}; to leave the loop ends the watch."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        pending: list[LocalConfig] = []

        def put(change: LocalConfig) -> None:
            # A slow reader gets the newest one.
            pending[:] = [change]
            arrived.set()

        def tell(change: LocalConfig) -> None:
            with contextlib.suppress(RuntimeError):
                # The loop may be closed by now.
                loop.call_soon_threadsafe(put, change)

        watch = Watch(self, tell)
        try:
            while True:
                await arrived.wait()
                arrived.clear()
                yield pending.pop()
        finally:
            watch.stop()

    def _ask(self) -> LocalConfig:
        """Return the applied configuration, or the last one while no agent answers."""
        last = self._last
        try:
            with contextlib.closing(self._server.connect(TIMEOUT_SECONDS)) as connection:
                change = self._server.fetch(connection, None if last is None else last.tag, 0)
        except Unreachable:
            if last is None:
                raise
            return last
        if change is None:
            assert last is not None
            return last
        # Otherwise this answer may be older than the one of a watch.
        if not self._watches:
            self._store(change)
        return change

    def _store(self, change: LocalConfig) -> None:
        with self._lock:
            if self._last is None or self._last.tag != change.tag:
                self._last = change
                if self._keep is not None:
                    _save(self._keep, change)

    def _count_watch(self, number: int) -> None:
        with self._lock:
            self._watches += number


class Watch:
    """A thread that follows the configuration."""

    def __init__(self, local: Local, tell: Callable[[LocalConfig], None]) -> None:
        self._local, self._tell, self._seen = local, tell, local.tag
        self._stopped = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        local._count_watch(1)
        self._thread = threading.Thread(target=self._run, name="confd.local", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch; a callback in progress runs to its end."""
        self._stopped.set()
        sock = getattr(self._connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        delay, said = RETRY_MIN_SECONDS, ""
        while not self._stopped.is_set():
            try:
                self._follow()
                delay, said = RETRY_MIN_SECONDS, ""
            except LocalError as error:
                if not self._stopped.is_set() and str(error) != said:
                    said = str(error)
                    _log.warning("%s", said)
                self._stopped.wait(delay * random.uniform(0.5, 1))
                delay = min(2 * delay, RETRY_MAX_SECONDS)
        self._local._count_watch(-1)

    def _follow(self) -> None:
        """Tell of the next change, if one comes in time."""
        server, timeout = self._local._server, WAIT_SECONDS + TIMEOUT_SECONDS
        with contextlib.closing(server.connect(timeout)) as self._connection:
            change = server.fetch(self._connection, self._seen, WAIT_SECONDS)
        if change is None:
            # An agent that stops ends its waits at once.
            self._stopped.wait(RETRY_MIN_SECONDS)
        elif not self._stopped.is_set():
            self._seen = change.tag
            self._local._store(change)
            self._tell(change)


class _Server:
    """The agent at a URL."""

    def __init__(self, url: str, token: str | None) -> None:
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._url, self._path = url, ""
        parts = urlsplit(url)
        if parts.scheme == "unix" and parts.path.startswith("/"):
            self._path = parts.path
        elif parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("The URL of an agent is like http://127.0.0.1:8083 or unix:/run/confd/agent.sock.")
        self._scheme, self._host, self._port = parts.scheme, parts.hostname or "localhost", parts.port

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """Return a connection, which opens with its first request."""
        if self._path:
            return _UnixConnection(self._path, timeout)
        if self._scheme == "https":
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def fetch(self, connection: http.client.HTTPConnection, tag: str | None, wait: int) -> LocalConfig | None:
        """
        Return the applied configuration; C{None} if it is the one with a tag.

        @param wait: seconds to wait for another one; 0 for none.
        @raise Unreachable: if no agent answers, or has nothing applied.
        @raise Refused: if it refuses the request.
        """
        headers = self._headers if tag is None else self._headers | {"If-None-Match": f'"{tag}"'}
        try:
            connection.request("GET", f"/config?wait={wait}" if wait else "/config", headers=headers)
            response = connection.getresponse()
            body = response.read(MAX_DOCUMENT_BYTES)
            if response.status == 200 and (found := response.headers.get("X-Config-Version")):
                return LocalConfig(found, json.loads(body))
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise Unreachable(f"The agent at {self._url} does not answer: {error or type(error).__name__}.") from None
        if response.status == 304 and tag is not None:
            return None
        sentence = f"The agent at {self._url} answers {response.status}: {_sentence(body)}"
        if response.status == 429 or response.status >= 500 or (response.status == 404 and b'"not_applied"' in body):
            raise Unreachable(sentence)
        raise Refused(sentence)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _sentence(body: bytes) -> str:
    """Return the sentence in the body of an error."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError):
        return "this is not the API of an agent."


def _load(path: str) -> LocalConfig | None:
    """Return the document that a file keeps; C{None} if it keeps none."""
    try:
        with open(path, "rb") as file:
            kept = json.load(file)
        if not re.fullmatch(r"[!#-~]+", kept["tag"]):
            raise ValueError("the tag is none")
        return LocalConfig(kept["tag"], kept["document"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        _log.warning("%s keeps no configuration that can be read: %s", path, error)
        return None


def _save(path: str, change: LocalConfig) -> None:
    """Replace the file that keeps the last document; a failure is logged."""
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path) or ".")
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({"tag": change.tag, "document": change.document}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _log.warning("%s cannot keep configuration %s: %s", path, change.tag, error)
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
