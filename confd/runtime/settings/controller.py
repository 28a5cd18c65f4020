"""The settings of C{confd-controller}."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from attrs import frozen

from confd.interfaces.webhooks import EVENTS
from confd.runtime.addresses import Network
from confd.runtime.listen_address import may_be_tls
from confd.runtime.setting import setting
from confd.runtime.setting_types import (
    choice,
    document,
    flag,
    is_private,
    namespace_patterns,
    namespaces,
    poll_interval,
    postgres_url,
    some_of,
    topic_name,
    user_name,
    uuid,
    whole,
)
from confd.runtime.settings.shared import (
    ASYNCIO_BROKERS,
    BROKERS,
    DEFAULT_ADMIN_PASSWORD,
    DEFAULT_AGENT_PASSWORD,
    BrokerSettings,
    allowed_hosts_setting,
    listen_endpoint,
    listen_setting,
    login_failures_setting,
    port_setting,
    trusted_proxies_setting,
)
from confd.runtime.settings.webhooks import MIN_WEBHOOK_SECRET, events, webhook_urls
from confd.web.auth.allowed_hosts import AllowedHosts, HostPattern

#: What the Go system's compose files call settings of the controller, behind C{CONTROLLER_}.
_GO_NAMES = {word + "_USER": word + "_USERNAME" for word in ("ADMIN", "AGENT")} | {"DB_PATH": "DB_PATH"}
_GO_NAMES |= {word + "_PASS": word + "_PASSWORD" for word in ("ADMIN", "AGENT")}
_DB_PATH = "./controller.db"
_GO_NAME = "is a name of the Go system, which confd does not read; set {} instead"


@frozen
class ControllerSettings(BrokerSettings):
    """
    The settings of C{confd-controller}.

    @cvar retired: variables of an earlier release or of the Go system's compose files, with what to do about each.
    @cvar own_prefix: a variable with this prefix before the name of a setting counts as a misspelling of the setting.
    """

    own_prefix: ClassVar[str] = "CONTROLLER_"
    closable: ClassVar[Sequence[str]] = ("AGENT_PASSWORD", "ADMIN_PASSWORD")
    retired: ClassVar[Mapping[str, str]] = {
        "PROCESSES": "is no longer supported, since a controller is one process; remove the setting",
        **{f"CONTROLLER_{theirs}": _GO_NAME.format(ours) for theirs, ours in _GO_NAMES.items()},
    }

    port: int = port_setting("8080")
    listen: str | None = listen_setting("tcp:8080 or unix:/run/confd.sock")
    db_path: str = setting("DB_PATH", "Path of the SQLite database.", _DB_PATH)
    database_url: str | None = setting(
        "DATABASE_URL",
        "PostgreSQL database in place of DB_PATH, such as postgresql://confd@db1,db2/confd.",
        None,
        postgres_url,
        secret=True,
    )
    database_init: bool = setting(
        "DATABASE_INIT", "Initialize the database of DATABASE_URL if it is empty.", "false", flag
    )
    database_durability: str = setting(
        "DATABASE_DURABILITY",
        "local, or replicated: refuse writes while the server of DATABASE_URL has no synchronous standby.",
        "local",
        choice("local", "replicated"),
    )
    on_storage_behind: str = setting(
        "ON_STORAGE_BEHIND",
        "If the database of DATABASE_URL lost changes: stop writing, or raise the epoch after 30 seconds.",
        "stop",
        choice("stop", "raise"),
    )
    stale_limit: int = setting(
        "STALE_LIMIT",
        "Seconds for which tokens are accepted while DATABASE_URL cannot be read; 0 sets no limit.",
        "300",
        whole(0, 86400),
    )
    cluster_id: str | None = setting(
        "CLUSTER_ID", "UUID of the cluster; a database of another cluster is refused. Needs DATABASE_URL.", None, uuid
    )
    agent_username: str = setting("AGENT_USERNAME", "User name that agents log in with.", "agent", user_name)
    agent_password: str = setting(
        "AGENT_PASSWORD", "Password that agents log in with; empty for none.", DEFAULT_AGENT_PASSWORD, secret=True
    )
    agent_namespaces: tuple[str, ...] = setting(
        "AGENT_NAMESPACES",
        "Comma-separated namespaces that AGENT_PASSWORD is for: names, or prefixes that end with *; * means all.",
        "*",
        namespace_patterns,
    )
    admin_username: str = setting("ADMIN_USERNAME", "User name that operators log in with.", "admin", user_name)
    admin_password: str = setting(
        "ADMIN_PASSWORD", "Password that operators log in with; empty for none.", DEFAULT_ADMIN_PASSWORD, secret=True
    )
    allow_default_credentials: bool = setting(
        "ALLOW_DEFAULT_CREDENTIALS", "Listen beyond loopback even with a built-in password.", "false", flag
    )
    login_failures: int = login_failures_setting()
    trusted_proxies: tuple[Network, ...] = trusted_proxies_setting()
    allowed_hosts: tuple[HostPattern, ...] = allowed_hosts_setting()
    max_connections: int = setting(
        "MAX_CONNECTIONS",
        "Connections at the same time; fewer if the limit of open files is lower.",
        "12000",
        whole(1, 10**6),
    )
    max_connections_per_address: int = setting(
        "MAX_CONNECTIONS_PER_ADDRESS",
        "Connections at the same time from one address; 0 sets no limit. Loopback and TRUSTED_PROXIES are exempt.",
        "1000",
        whole(0, 10**6),
    )
    max_agents: int = setting(
        "MAX_AGENTS", "Agents that can be registered; 0 sets no limit.", "100000", whole(0, 10**7)
    )
    client_ca_file: str | None = setting(
        "CLIENT_CA_FILE",
        "PEM file of certificate authorities. Clients must present a certificate signed by one of them; needs"
        " LISTEN=ssl:...",
        None,
    )
    changes_per_minute: int = setting(
        "CHANGES_PER_MINUTE",
        "Changes that the admin may make per minute before requests are answered with 429; 0 sets no limit.",
        "0",
        whole(0, 10**6),
    )
    herd_requests: int = setting(
        "HERD_REQUESTS",
        "Requests per second that this controller may invite from agents at once; 0 sets no limit.",
        "0",
        whole(0, 10**6),
    )
    herd_bytes: int = setting(
        "HERD_BYTES",
        "Bytes per second in which this controller sends a change to open streams; 0 sets no limit.",
        "0",
        whole(0, 10**10),
    )
    default_poll_interval: int = setting(
        "DEFAULT_POLL_INTERVAL",
        "Seconds between polls of an agent, until a publish sets another interval.",
        "30",
        poll_interval,
    )
    default_config: dict[str, object] = setting(
        "DEFAULT_CONFIG", "Document that a new database publishes as version 1.", '{"url": "https://ip.me"}', document
    )
    config_schema: str | None = setting(
        "CONFIG_SCHEMA", "File of a JSON Schema (2020-12) that every document must match.", None
    )
    max_config_bytes: int = setting(
        "MAX_CONFIG_BYTES", "Largest document, in bytes.", "1048576", whole(64, 4 * 1048576)
    )
    metrics_namespaces: tuple[str, ...] = setting(
        "METRICS_NAMESPACES",
        "Comma-separated namespaces with their own series at /metrics, which needs no password; * means all.",
        "default",
        namespaces,
    )
    history_keep: int = setting(
        "HISTORY_KEEP", "Newest versions to keep of each namespace; 0 keeps all.", "0", whole(0, 10**9)
    )
    webhook_urls: tuple[str, ...] = setting(
        "WEBHOOK_URLS", "Comma-separated URLs that get events by POST, at most 8.", "", webhook_urls, secret=True
    )
    webhook_secret: str = setting(
        "WEBHOOK_SECRET", "Key that signs the events of WEBHOOK_URLS, at least 16 characters.", secret=True
    )
    webhook_events: tuple[str, ...] = setting(
        "WEBHOOK_EVENTS", f"Comma-separated events to send: {', '.join(EVENTS)}. The default is all.", "", events
    )
    webhook_stalled_after: int = setting(
        "WEBHOOK_STALLED_AFTER",
        "Seconds without a newly applied agent after which a version that has not converged counts as stalled.",
        "600",
        whole(60, 86400),
    )
    distribution_strategy: tuple[str, ...] = setting(
        "DISTRIBUTION_STRATEGY",
        "Comma-separated brokers to publish to: REDIS, NATS, KAFKA. POLLER and STREAM are always available.",
        "POLLER",
        some_of("POLLER", "STREAM", *BROKERS),
    )

    audit_file: str | None = setting(
        "AUDIT_FILE", "File that gets a copy of each audit entry, one JSON object a line.", None
    )
    kafka_audit_topic: str | None = setting(
        "KAFKA_AUDIT_TOPIC", "Kafka topic that gets a copy of each audit entry.", None, topic_name
    )

    @property
    def asyncio(self) -> bool:
        """Whether this role needs the asyncio reactor: some libraries of brokers run on no other."""
        return self.kafka_audit_topic is not None or not ASYNCIO_BROKERS.isdisjoint(self.distribution_strategy)

    @property
    def tls(self) -> bool:
        """Whether the controller needs TLS from its start: the libraries of some brokers bring their own."""
        return may_be_tls(self.endpoint) or self.redis_tls_enabled or bool(self.webhook_urls)

    @property
    def endpoint(self) -> str:
        """The endpoint to listen on."""
        return listen_endpoint(self.listen, self.port)

    @property
    def hosts(self) -> AllowedHosts:
        """Hosts to answer to; only local ones while a built-in password is in use (DNS rebinding)."""
        built_in = any(password == known for _, password, known in self._passwords())
        return AllowedHosts(self.allowed_hosts, built_in, not is_private(self.endpoint))

    def _passwords(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, value and built-in value of each password."""
        yield "AGENT_PASSWORD", self.agent_password, DEFAULT_AGENT_PASSWORD
        yield "ADMIN_PASSWORD", self.admin_password, DEFAULT_ADMIN_PASSWORD

    def mistakes(self) -> list[str]:
        """Check the identities and the endpoint, too."""
        found = super().mistakes()
        if self.database_url is not None and self.db_path != _DB_PATH:
            found.append("DATABASE_URL: set it or DB_PATH, not both.")
        for name, given in (
            ("DATABASE_INIT", self.database_init),
            ("DATABASE_DURABILITY", self.database_durability != "local"),
            ("ON_STORAGE_BEHIND", self.on_storage_behind != "stop"),
            ("CLUSTER_ID", self.cluster_id),
        ):
            if given and self.database_url is None:
                found.append(f"{name}: has no effect without DATABASE_URL; set that, too.")
        if self.agent_username == self.admin_username:
            found.append("AGENT_USERNAME: is the same as ADMIN_USERNAME; give the two identities different names.")
        if self.client_ca_file is not None and not self.endpoint.startswith("ssl:"):
            found.append(
                "CLIENT_CA_FILE: is set, and LISTEN is not an ssl: endpoint, so no client certificate would be"
                " requested; set LISTEN to an ssl: endpoint."
            )
        if self.webhook_urls and len(self.webhook_secret) < MIN_WEBHOOK_SECRET:
            found.append(f"WEBHOOK_SECRET: must have at least {MIN_WEBHOOK_SECRET} characters, as WEBHOOK_URLS is set.")
        if self.webhook_secret and not self.webhook_urls:
            found.append("WEBHOOK_SECRET: has no effect without WEBHOOK_URLS; set that, too.")
        for name, password, built_in in self._passwords():
            if password == built_in and not (self.allow_default_credentials or is_private(self.endpoint)):
                found.append(
                    f"{name}: is the built-in one, and LISTEN reaches beyond loopback; set {name} or {name}_FILE."
                )
        return found
