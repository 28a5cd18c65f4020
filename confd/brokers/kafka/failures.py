"""The reasons for which a Kafka cluster cannot be used, and the sentence about each."""

from __future__ import annotations

from ssl import SSLCertVerificationError, SSLError

from aiokafka.errors import for_code
from attrs import frozen

from confd.brokers.link import CommandRefused, Lost, one_line
from confd.runtime.certificate_errors import describe_certificate_error

#: Codes that a new connection, which asks for the leaders again, may not meet: leaders moved, or records were removed.
_MOVED = frozenset((1, 5, 6, 7, 9, 13, 56, 72, 74, 75, 76, 100))

_TOO_LARGE = frozenset((10, 18))
_DENIED = frozenset((29, 31))
_MISSING = 3


class TopicMissing(CommandRefused):
    """The cluster has no such topic."""


class Denied(CommandRefused):
    """The user may not do what the message says."""


class MessageTooLarge(CommandRefused):
    """A message is larger than the topic allows; the message is its number of bytes."""


class WrongPassword(CommandRefused):
    """The server refuses the user name or the password."""


class Silent(CommandRefused):
    """The server accepts connections and does not answer."""


def check(code: int, verb: str, size: int = 0) -> None:
    """
    Raise the error of an answer; return if it has none.

    @param code: of the Kafka protocol; 0 without an error.
    @param verb: the operation on the topic that was asked for.
    @param size: bytes that were to be written.
    @raise CommandRefused: the server refuses.
    @raise Lost: a new connection may succeed.
    """
    if code in _MOVED:
        raise Lost(f"it answers {for_code(code).__name__}")
    if code == _MISSING:
        raise TopicMissing
    if code in _DENIED:
        raise Denied(verb)
    if code in _TOO_LARGE:
        raise MessageTooLarge(str(size))
    if code:
        raise CommandRefused(f"{for_code(code).__name__}")


@frozen
class Sentences:
    """
    Describe failures, beginning with the setting to correct.

    @ivar address: of the servers.
    @ivar topic_setting: the setting that names the topic.
    """

    address: str
    topic: str
    username: str | None
    tls: bool = False
    topic_setting: str = "KAFKA_TOPIC"
    policy: str = "compact"

    def of(self, error: Exception) -> str:
        """Return a sentence about a failure of a connection."""
        if isinstance(error, CommandRefused):
            return self._of_refusal(error)
        if isinstance(error, SSLCertVerificationError):
            words = describe_certificate_error(error.verify_code, error.verify_message)
            return f"KAFKA_TLS_ENABLED: {self.address} has no trustworthy TLS connection: {words}."
        if isinstance(error, SSLError) or (self.tls and isinstance(error, (ConnectionResetError, Lost))):
            # A server without TLS hangs up.
            return f"KAFKA_TLS_ENABLED: {self.address} has no trustworthy TLS connection: {one_line(error)}."
        if isinstance(error, Lost):
            return (
                f"KAFKA_BOOTSTRAP: {self.address} hangs up; if it expects TLS or a password, set KAFKA_TLS_ENABLED, or"
                " KAFKA_USERNAME and KAFKA_PASSWORD."
            )
        return f"KAFKA_BOOTSTRAP: {self.address} cannot be reached: {one_line(error)}."

    def _of_refusal(self, error: CommandRefused) -> str:
        topic = f"{self.topic_setting}: {self.topic}"
        if isinstance(error, TopicMissing):
            return f"{topic} does not exist at {self.address}; create it with cleanup.policy={self.policy}."
        if isinstance(error, Denied):
            who = self.username or "a client without KAFKA_USERNAME"
            return f"KAFKA_USERNAME: {who} may not {error} {self.topic}."
        if isinstance(error, MessageTooLarge):
            return f"{topic} refuses a message of {error} bytes; raise max.message.bytes."
        if isinstance(error, WrongPassword):
            return f"KAFKA_PASSWORD: {self.address} refuses it; correct it, or KAFKA_USERNAME."
        if isinstance(error, Silent):
            return f"KAFKA_BOOTSTRAP: {self.address} does not answer within {error} seconds."
        return f"{topic} cannot be used at {self.address}: {one_line(error)}."
