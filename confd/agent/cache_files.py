"""
Read and write the files of an agent: the last two applied configurations, the id and the token. All functions block.

A file is replaced as a whole or not at all. The cache has two lines of JSON. The first line holds the number of the
format and the checksum of the second line; the second line is the body of GET C{/api/v1/config}, with the trusted keys.
The cache of an agent of the Go system, one line without a checksum, can be read too.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from hashlib import sha256

from attrs import evolve, field, frozen

from confd.codec import bodies, strict_json
from confd.errors import ConfdError
from confd.model import Configuration, ServedConfig, valid_agent_id, valid_token
from confd.runtime.atomic_file import check_regular, remove_file, replace_file

#: Number of the format of the cache.
FORMAT = 1

#: Keys of the object in the cache of an agent of the Go system.
_GO_KEYS = {"version", "data", "poll_interval_seconds"}

#: Bytes that are read from the cache, and from the files of the id and of the token.
MAX_CACHE_BYTES = bodies.MAX_ANSWER_BYTES
MAX_LINE_BYTES = 512


@frozen
class CacheContents:
    """
    The contents of the files at the start of an agent.

    @ivar agent_id: The id; empty if there is no valid id.
    @ivar token: The token; empty if there is no valid token.
    @ivar findings: Problems of the files, one sentence each.
    @ivar keys: The public keys of the controller, as they were stored with the configuration.
    """

    configuration: Configuration | None = None
    agent_id: str = ""
    findings: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    keys: tuple[str, ...] = ()


@frozen
class CacheFiles:
    """
    The files of one agent: C{path}, C{path.prev}, C{path.id}, C{path.token} and C{path.lock}.

    A damaged cache is renamed to C{….damaged}. Only the owner may read the files.

    @ivar namespace: The namespace of the agent; the cache of another namespace is not used.
    """

    path: str
    namespace: str

    def names(self) -> tuple[str, ...]:
        """Return the paths of all files that the agent may read, write, rename or lock."""
        kept = self.path, f"{self.path}.prev", f"{self.path}.id", f"{self.path}.token"
        fresh = tuple(f"{each}.new" for each in kept)
        return *kept, f"{self.path}.lock", *(f"{each}.damaged" for each in kept[:2]), *fresh

    def lock(self) -> int:
        """
        Lock the files against other agents.

        @return: a file descriptor; closing it releases the lock.
        @raise BlockingIOError: if another agent holds the lock.
        @raise OSError: if the file system does not support the lock.
        """
        descriptor = os.open(f"{self.path}.lock", os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def load(self) -> CacheContents:
        """Load the files; problems become C{findings}, never errors."""
        findings: list[str] = []
        agent_id = self._load_line("id", valid_agent_id, findings)
        token = self._load_line("token", valid_token, findings) if agent_id else ""
        stored = (self._load_configuration(path, findings) for path in (self.path, f"{self.path}.prev"))
        found = next((each for each in stored if each is not None), None)
        if found is None:
            return CacheContents(None, agent_id, tuple(findings), token)
        return CacheContents(found.configuration, agent_id, tuple(findings), token, found.keys)

    def save(self, configuration: Configuration, keys: Sequence[str] = ()) -> None:
        """
        Save the applied configuration, and keep the one before it as C{path.prev}.

        @param keys: The public keys of the controller, newest first.
        @raise OSError: if the configuration could not be written; the previous files remain.
        """
        body = bodies.configuration_body(configuration, keys)
        header = strict_json.encode({"format": FORMAT, "checksum": _checksum(body)})
        replace_file(self.path, header + b"\n" + body + b"\n", f"{self.path}.prev")

    def save_id(self, agent_id: str) -> None:
        """
        Save the id of the agent.

        @raise OSError: if the id could not be written.
        """
        replace_file(f"{self.path}.id", agent_id.encode() + b"\n")

    def save_token(self, token: str) -> None:
        """
        Save the token of the agent; an empty token removes the file.

        @raise OSError: if the file could not be written or removed.
        """
        if token:
            replace_file(f"{self.path}.token", token.encode() + b"\n")
        else:
            remove_file(f"{self.path}.token")

    def _load_configuration(self, path: str, findings: list[str]) -> ServedConfig | None:
        try:
            found = _parse(_read(path, MAX_CACHE_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            findings.append(f"The cache {path} cannot be read: {error.strerror}.")
            return None
        except ConfdError as error:
            findings.append(_set_aside(path, error.message))
            return None
        namespace = found.configuration.namespace
        if namespace != self.namespace:
            findings.append(
                f"The cache {path} belongs to the namespace {namespace!r} and is not used: NAMESPACE is"
                f" {self.namespace!r}."
            )
            return None
        return found

    def _load_line(self, what: str, valid: Callable[[str], bool], findings: list[str]) -> str:
        path = f"{self.path}.{what}"
        try:
            line = _read(path, MAX_LINE_BYTES).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            findings.append(f"The {what} in {path} cannot be read: {error.strerror}; the agent gets a new {what}.")
            return ""
        if not valid(line):
            findings.append(f"The file {path} holds no valid {what}; the agent gets a new {what}.")
            return ""
        return line


def _parse(raw: bytes) -> ServedConfig:
    header, _, rest = raw.partition(b"\n")
    body = rest.removesuffix(b"\n")
    found = strict_json.decode(header)
    if isinstance(found, dict) and not body and found.keys() <= _GO_KEYS:
        return ServedConfig(bodies.parse_configuration(header))
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ConfdError("unknown_format", f"The file is not in format {FORMAT} of confd.")
    if found.get("checksum") != _checksum(body):
        raise ConfdError("bad_checksum", "The checksum is wrong.")
    configuration = bodies.parse_configuration(body)
    fields = strict_json.decode(body, strict_json.ENVELOPE_DEPTH)
    named = evolve(configuration, namespace=str(fields.get("namespace")))
    return ServedConfig(named, bodies.signing_keys_of(fields) if named.cluster_id else ())


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
    # Without O_NONBLOCK, opening a FIFO waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        check_regular(path)
        return file.read(limit)
