"""Settings that several roles have."""

from __future__ import annotations

from attrs import frozen

from confd.runtime.addresses import Network
from confd.runtime.logs import LogSettings
from confd.runtime.setting import setting
from confd.runtime.setting_types import (
    address,
    addresses,
    endpoint,
    flag,
    nats_urls,
    networks,
    stream_name,
    subject,
    topic_name,
    whole,
    word,
)
from confd.web.auth.allowed_hosts import HostPattern, host_patterns

#: Built-in passwords, which are public: a controller accepts them on loopback only.
DEFAULT_AGENT_PASSWORD, DEFAULT_ADMIN_PASSWORD = "secret123", "admin123"

#: Brokers that a controller can publish to.
BROKERS = ("REDIS", "NATS", "KAFKA")

#: Brokers whose library needs the asyncio reactor.
ASYNCIO_BROKERS = frozenset(("NATS", "KAFKA"))


@frozen
class BrokerSettings(LogSettings):
    """The settings that reach the brokers: the same for controllers and agents."""

    redis_address: tuple[str, int] = setting(
        "REDIS_ADDRESS", "Address of the Redis server, as host:port.", "localhost:6379", address
    )
    redis_username: str | None = setting("REDIS_USERNAME", "Redis ACL user name.", None)
    redis_password: str | None = setting("REDIS_PASSWORD", "Redis password.", None, secret=True)
    redis_db: int = setting("REDIS_DB", "Redis database number.", "0", whole(0, 65535))
    redis_tls_enabled: bool = setting("REDIS_TLS_ENABLED", "Connect to Redis over TLS.", "false", flag)
    redis_channel: str = setting("REDIS_CHANNEL", "Redis channel of the namespace 'default'.", "config:global", word)
    nats_url: tuple[str, ...] = setting(
        "NATS_URL", "URL of the NATS server; a comma-separated list for a cluster.", "nats://localhost:4222", nats_urls
    )
    nats_username: str | None = setting("NATS_USERNAME", "NATS user name.", None)
    nats_password: str | None = setting("NATS_PASSWORD", "NATS password.", None, secret=True)
    nats_token: str | None = setting(
        "NATS_TOKEN", "NATS token, instead of a user name and a password.", None, secret=True
    )
    nats_tls_enabled: bool = setting("NATS_TLS_ENABLED", "Refuse to connect to NATS without TLS.", "false", flag)
    nats_subject: str = setting(
        "NATS_SUBJECT", "NATS subject of the namespace 'default'.", "config.worker.update", subject
    )
    nats_queue_group: str = setting(
        "NATS_QUEUE_GROUP", "NATS queue group in which controllers answer requests.", "config-workers", subject
    )
    nats_stream: str | None = setting(
        "NATS_STREAM", "JetStream stream that keeps the newest announcement of each namespace.", None, stream_name
    )

    kafka_bootstrap: tuple[tuple[str, int], ...] = setting(
        "KAFKA_BOOTSTRAP", "Comma-separated Kafka servers, as host:port.", "localhost:9092", addresses
    )
    kafka_topic: str = setting(
        "KAFKA_TOPIC", "Kafka topic of the announcements of all namespaces.", "confd.announcements", topic_name
    )
    kafka_username: str | None = setting("KAFKA_USERNAME", "Kafka user name (SCRAM-SHA-256).", None)
    kafka_password: str | None = setting("KAFKA_PASSWORD", "Kafka password.", None, secret=True)
    kafka_tls_enabled: bool = setting("KAFKA_TLS_ENABLED", "Connect to Kafka over TLS.", "false", flag)
    kafka_ca_file: str | None = setting(
        "KAFKA_CA_FILE",
        "PEM file of the certificate authorities of the Kafka servers. Unset uses those of the system.",
        None,
    )

    def mistakes(self) -> list[str]:
        """Return a sentence for each contradiction between settings that are valid one by one."""
        found = check_pair("NATS", self.nats_username, self.nats_password)
        found += check_pair("KAFKA", self.kafka_username, self.kafka_password)
        if self.kafka_ca_file is not None and not self.kafka_tls_enabled:
            found.append("KAFKA_CA_FILE: has no effect without KAFKA_TLS_ENABLED; set that, too.")
        if self.nats_token is not None and self.nats_username is not None:
            found.append("NATS_TOKEN: is set, and NATS_USERNAME too; use one of them.")
        return found


def port_setting(default: str) -> int:
    """Declare C{PORT}."""
    return setting("PORT", "TCP port on 127.0.0.1; ignored if LISTEN is set.", default, whole(1, 65535))


def listen_setting(example: str) -> str | None:
    """Declare C{LISTEN}."""
    return setting("LISTEN", f"Twisted endpoint to listen on, such as {example}.", None, endpoint)


def login_failures_setting() -> int:
    """Declare C{LOGIN_FAILURES}."""
    return setting(
        "LOGIN_FAILURES",
        "Wrong passwords per minute from one address before its requests are answered with 429; 0 sets no limit.",
        "10",
        whole(0, 10**6),
    )


def allowed_hosts_setting() -> tuple[HostPattern, ...]:
    """Declare C{ALLOWED_HOSTS}."""
    return setting(
        "ALLOWED_HOSTS",
        "Comma-separated host names that clients may use. .example.com includes its subdomains, * allows all hosts."
        " localhost and loopback addresses are always allowed. Unset allows all hosts, but no others than these while a"
        " built-in password is in use.",
        "",
        host_patterns,
    )


def trusted_proxies_setting() -> tuple[Network, ...]:
    """Declare C{TRUSTED_PROXIES}."""
    return setting(
        "TRUSTED_PROXIES",
        "Comma-separated addresses and networks of reverse proxies. Only their Forwarded and X-Forwarded-For headers"
        " are trusted for the client's address.",
        "",
        networks,
    )


def listen_endpoint(listen: str | None, port: int) -> str:
    """Return the endpoint to listen on: C{LISTEN}, or C{PORT} on loopback."""
    return listen or f"tcp:{port}:interface=127.0.0.1"


def check_pair(
    prefix: str, first: object, second: object, names: tuple[str, str] = ("USERNAME", "PASSWORD")
) -> list[str]:
    """
    Return a sentence if only one of two settings that belong together is set.

    @param prefix: what the names of both settings begin with.
    @param names: what the names of both settings end with.
    """
    if (first is None) == (second is None):
        return []
    missing, there = names if first is None else reversed(names)
    return [f"{prefix}_{missing}: is unset, and {prefix}_{there} is set; set both or neither."]
