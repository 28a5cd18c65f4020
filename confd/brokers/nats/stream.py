"""A stream of JetStream that keeps the newest announcement of each namespace; agents read it without a consumer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from attrs import define, field

from confd.brokers.link import CommandRefused, one_line
from confd.brokers.nats.connection import NatsConnection
from confd.codec.strict_json import JsonValue
from confd.errors import Unavailable

#: Time limits in seconds: of a question about the stream, of the receipt of an announcement, and of a direct read. The
#: first is asked twice while the connection opens.
_API_SECONDS, _RECEIPT_SECONDS, READ_SECONDS = 1.0, 2.0, 2.0

_NOT_FOUND = 404


@define(eq=False)
class KeptStream:
    """
    The stream C{NATS_STREAM}.

    @ivar subjects: that it has to keep, wildcards included.
    @ivar address: of the server, for sentences.
    @ivar remark: why announcements are published without being kept; C{None} while they are.
    @ivar problem: why the stream refuses announcements; C{None} while it takes them.
    """

    name: str
    subjects: Sequence[str]
    address: str
    remark: str | None = field(default=None, init=False)
    problem: str | None = field(default=None, init=False)

    async def prepare(self, connection: NatsConnection) -> None:
        """Look at the stream, and create it if it does not exist; an existing one is never changed."""
        self.remark = await self._find_remark(connection)

    async def publish(self, connection: NatsConnection, subject: str, announcement: bytes) -> None:
        """
        Publish an announcement, and return when the stream has it.

        @raise Unavailable: the stream refuses it, or sends no receipt; core subscribers may have it already.
        """
        if self.problem is not None:
            # The stream may have been removed or changed.
            await self.prepare(connection)
        if self.remark is not None:
            await connection.publish(subject, announcement)
            self.problem = None
            return
        # The same announcement is stored once; another key or namespace makes another announcement.
        headers = {"Nats-Msg-Id": hashlib.sha256(announcement).hexdigest()}
        try:
            receipt = _object(await connection.exchange(subject, announcement, _RECEIPT_SECONDS, headers))
            reason = _reason(receipt)
        except TimeoutError:
            reason = f"no receipt within {_RECEIPT_SECONDS:g} seconds"
        self.problem = f"{self._sentence('refuses the announcement')}: {reason}." if reason else None
        if self.problem is not None:
            raise Unavailable("broker_unavailable", self.problem)

    async def latest(self, connection: NatsConnection, subject: str) -> bytes | None:
        """Return the newest announcement that the stream keeps of a subject, C{None} without one."""
        path = f"$JS.API.DIRECT.GET.{self.name}.{subject}"
        try:
            answer = await connection.exchange(path, b"", READ_SECONDS)
        except (TimeoutError, CommandRefused):
            return None
        # An answer with a status in its headers is an error.
        return None if answer is None or "Nats-Subject" not in (answer.headers or {}) else bytes(answer.data)

    async def _find_remark(self, connection: NatsConnection) -> str | None:
        try:
            found = await self._ask(connection, "INFO", b"")
            if found is None:
                return f"NATS_STREAM: {self.address} has no JetStream; announcements are not kept."
            if _code(found) == _NOT_FOUND:
                return await self._create(connection)
            if "config" not in found:
                return f"{self._sentence('cannot be read')}: {_reason(found)}."
        except TimeoutError:
            return f"{self._sentence('cannot be read')}: no answer."
        except CommandRefused as refusal:
            return f"{self._sentence('cannot be read')}: {refusal}."
        wrong = self._misfit(found["config"])
        return f"{self._sentence(wrong)}; correct it or name another stream." if wrong else None

    async def _create(self, connection: NatsConnection) -> str | None:
        wanted = {
            "name": self.name,
            "subjects": list(self.subjects),
            "retention": "limits",
            "max_msgs_per_subject": 1,
            "discard": "old",
            "storage": "file",
            "num_replicas": 1,
            "allow_direct": True,
        }
        try:
            reason = _reason(await self._ask(connection, "CREATE", json.dumps(wanted).encode()))
        except TimeoutError:
            reason = "no answer"
        except CommandRefused as refusal:
            reason = str(refusal)
        return f"{self._sentence('does not exist and cannot be created')}: {reason}." if reason else None

    def _misfit(self, config: JsonValue) -> str:
        kept = config.get("subjects") or []
        for subject in self.subjects:
            if not any(_covers(each, subject) for each in kept):
                return f"does not keep {subject}"
        if config.get("discard") != "old":
            return "does not discard old messages"
        return "" if config.get("allow_direct") else "allows no direct reads"

    def _sentence(self, what: str) -> str:
        return f"NATS_STREAM: the stream {self.name} {what}"

    async def _ask(self, connection: NatsConnection, verb: str, body: bytes) -> JsonValue:
        """Return the answer of JetStream, C{None} without JetStream."""
        answer = await connection.exchange(f"$JS.API.STREAM.{verb}.{self.name}", body, _API_SECONDS)
        return None if answer is None else _object(answer)


def _object(answer: JsonValue) -> JsonValue:
    try:
        value = json.loads(answer.data) if answer is not None else {}
    except ValueError:
        value = {}
    return value if isinstance(value, dict) else {}


def _code(answer: JsonValue) -> object:
    error = answer.get("error")
    return error.get("code") if isinstance(error, dict) else None


def _reason(answer: JsonValue) -> str:
    """Return the words of an error, empty for a success."""
    if answer is None or not answer:
        return "no stream takes it"
    error = answer.get("error")
    if error is None:
        return ""
    return one_line(error.get("description", "unknown") if isinstance(error, dict) else error)


def _covers(pattern: str, subject: str) -> bool:
    """Return whether a subject with wildcards covers another one."""
    ours, theirs = pattern.split("."), subject.split(".")
    for place, token in enumerate(ours):
        if token == ">":
            return len(theirs) > place
        if place >= len(theirs) or (token not in ("*", theirs[place])) or (token == "*" and theirs[place] == ">"):
            return False
    return len(ours) == len(theirs)
