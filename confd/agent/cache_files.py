"""
The agent's files: the last good configuration, the one before it, the id of the agent and its token. Everything here
blocks.

A file is replaced as a whole or not at all: written beside its name, synced, renamed, and its folder synced.
The cache is two lines of JSON: a format number and the checksum of the bytes of the second, which is the body of GET
C{/api/v1/config}. That of an agent of the Go system, one line without a checksum, is read, too.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from hashlib import sha256

from attrs import evolve, field, frozen

from confd.codec import bodies, strict_json
from confd.errors import ConfdError
from confd.model import Configuration, valid_agent_id, valid_token
from confd.runtime.atomic_file import check_regular, remove_file, replace_file

#: The number of the format that is written, and the only one that is read.
FORMAT = 1

#: What the cache of the Go system's agents is: one object with these.
_GO_KEYS = {"version", "data", "poll_interval_seconds"}

_LIMIT = bodies.MAX_ANSWER_BYTES
_LINE_LIMIT = 512


@frozen
class CacheContents:
    """
    What an agent finds on disk when it starts.

    @ivar agent_id: empty where there is none.
    @ivar token: empty where there is none.
    @ivar findings: what was wrong there, one sentence each.
    """

    configuration: Configuration | None = None
    agent_id: str = ""
    findings: tuple[str, ...] = ()
    token: str = field(default="", repr=False)


@frozen
class CacheFiles:
    """
    The files of one agent: C{path}, C{path.prev}, C{path.id}, C{path.token}, C{path.lock}; a damaged configuration is
    set aside as C{….damaged}. Nobody but the owner may read them.

    @ivar namespace: a configuration of another one is not used.
    """

    path: str
    namespace: str

    def names(self) -> tuple[str, ...]:
        """Return the paths of all that is read, written, renamed or locked."""
        kept = self.path, f"{self.path}.prev", f"{self.path}.id", f"{self.path}.token"
        fresh = tuple(f"{each}.new" for each in kept)
        return *kept, f"{self.path}.lock", *(f"{each}.damaged" for each in kept[:2]), *fresh

    def lock(self) -> int:
        """
        Keep every other agent from these files until the descriptor that this returns is closed.

        @raise BlockingIOError: another one uses them.
        @raise OSError: nobody can tell.
        """
        descriptor = os.open(f"{self.path}.lock", os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def load(self) -> CacheContents:
        """Read what there is; nothing on the disk is so broken that this fails."""
        findings: list[str] = []
        agent_id = self._load_line("id", valid_agent_id, findings)
        token = self._load_line("token", valid_token, findings) if agent_id else ""
        configurations = (self._load_one(path, findings) for path in (self.path, f"{self.path}.prev"))
        configuration = next((each for each in configurations if each is not None), None)
        return CacheContents(configuration, agent_id, tuple(findings), token)

    def save(self, configuration: Configuration) -> None:
        """
        Make this the last good configuration, and the one there is now the previous copy.

        @raise OSError: it is not on disk; what was there before still is.
        """
        body = bodies.configuration_body(configuration)
        header = strict_json.encode({"format": FORMAT, "checksum": _checksum(body)})
        replace_file(self.path, header + b"\n" + body + b"\n", f"{self.path}.prev")

    def save_id(self, agent_id: str) -> None:
        """
        Remember the id of the agent.

        @raise OSError: it is not on disk.
        """
        replace_file(f"{self.path}.id", agent_id.encode() + b"\n")

    def save_token(self, token: str) -> None:
        """
        Remember the token of the agent, or that it has none.

        @raise OSError: it is not on disk.
        """
        if token:
            replace_file(f"{self.path}.token", token.encode() + b"\n")
        else:
            remove_file(f"{self.path}.token")

    def _load_one(self, path: str, findings: list[str]) -> Configuration | None:
        try:
            configuration = _parse(_read(path, _LIMIT))
        except FileNotFoundError:
            return None
        except OSError as error:
            findings.append(f"The cache {path} cannot be read: {error.strerror}.")
            return None
        except ConfdError as error:
            findings.append(_set_aside(path, error.message))
            return None
        if configuration.namespace != self.namespace:
            findings.append(
                f"The cache {path} is of the namespace {configuration.namespace!r} and not used: NAMESPACE is"
                f" {self.namespace!r}."
            )
            return None
        return configuration

    def _load_line(self, what: str, valid: Callable[[str], bool], findings: list[str]) -> str:
        path = f"{self.path}.{what}"
        try:
            line = _read(path, _LINE_LIMIT).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            findings.append(f"The agent's {what} in {path} cannot be read: {error.strerror}; it gets a new one.")
            return ""
        if not valid(line):
            findings.append(f"The file {path} holds no agent {what}; the agent gets a new one.")
            return ""
        return line


def _parse(raw: bytes) -> Configuration:
    header, _, rest = raw.partition(b"\n")
    body = rest.removesuffix(b"\n")
    found = strict_json.decode(header)
    if isinstance(found, dict) and not body and found.keys() <= _GO_KEYS:
        return bodies.parse_configuration(header)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ConfdError("unknown_format", f"It is not in format {FORMAT} of confd.")
    if found.get("checksum") != _checksum(body):
        raise ConfdError("bad_checksum", "Its checksum is wrong.")
    configuration = bodies.parse_configuration(body)
    namespace = strict_json.decode(body, strict_json.ENVELOPE_DEPTH).get("namespace")
    return evolve(configuration, namespace=str(namespace))


def _set_aside(path: str, reason: str) -> str:
    try:
        check_regular(path)
        os.replace(path, f"{path}.damaged")
    except OSError as error:
        return f"The cache {path} is damaged and not used, and cannot be set aside ({error.strerror}): {reason}"
    return f"The cache {path} is damaged and set aside as {path}.damaged: {reason}"


def _checksum(body: bytes) -> str:
    return f"sha256:{sha256(body).hexdigest()}"


def _read(path: str, limit: int) -> bytes:
    # A FIFO does not open until somebody writes to it, unless it is opened so.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        check_regular(path)
        return file.read(limit)
