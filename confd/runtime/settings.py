"""The settings of each role: names, defaults and bounds as in the contract, section 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from attrs import frozen

from confd.client.forward_proxy import HELP, ForwardProxies, parse_only_proxy
from confd.codec.bodies import METADATA_MAX, STRATEGY_MAX
from confd.runtime.logs import LogSettings as LogSettings
from confd.runtime.options import setting
from confd.runtime.setting_types import (
    LoginUrl,
    address,
    at_most,
    document,
    endpoint,
    flag,
    is_private,
    login_url,
    namespace,
    namespaces,
    nats_urls,
    networks,
    poll_interval,
    some_of,
    subject,
    urls,
    user_name,
    whole,
    word,
)
from confd.web.auth.allowed_hosts import AllowedHosts, HostPattern, host_patterns

#: The passwords that everybody knows: good for loopback only.
DEFAULT_AGENT_PASSWORD, DEFAULT_ADMIN_PASSWORD = "secret123", "admin123"

#: The brokers that a controller can publish to.
BROKERS = ("REDIS", "NATS")

#: What the Go system's compose files call settings of the controller, behind C{CONTROLLER_}.
_GO_NAMES = {word + "_USER": word + "_USERNAME" for word in ("ADMIN", "AGENT")} | {"DB_PATH": "DB_PATH"}
_GO_NAMES |= {word + "_PASS": word + "_PASSWORD" for word in ("ADMIN", "AGENT")}
_GO_NAME = "is a name of the Go system, which confd does not read; set {} instead"


def _strategy(text: str) -> str:
    return at_most(STRATEGY_MAX)(text).upper()


@frozen
class BrokerSettings(LogSettings):
    """How to reach the brokers: the same at both ends."""

    redis_address: tuple[str, int] = setting("REDIS_ADDRESS", "Redis, as host:port.", "localhost:6379", address)
    redis_username: str | None = setting("REDIS_USERNAME", "Its ACL user.", None)
    redis_password: str | None = setting("REDIS_PASSWORD", "Its password.", None, secret=True)
    redis_db: int = setting("REDIS_DB", "Its database number.", "0", whole(0, 65535))
    redis_tls_enabled: bool = setting("REDIS_TLS_ENABLED", "Whether to speak TLS to it.", "false", flag)
    redis_channel: str = setting("REDIS_CHANNEL", "Its channel for the namespace default.", "config:global", word)
    nats_url: tuple[str, ...] = setting(
        "NATS_URL", "NATS; a comma list for a cluster.", "nats://localhost:4222", nats_urls
    )
    nats_username: str | None = setting("NATS_USERNAME", "Name to present to it.", None)
    nats_password: str | None = setting("NATS_PASSWORD", "Its password.", None, secret=True)
    nats_token: str | None = setting("NATS_TOKEN", "Token to present instead of name and password.", None, secret=True)
    nats_tls_enabled: bool = setting("NATS_TLS_ENABLED", "Whether to insist on TLS.", "false", flag)
    nats_subject: str = setting(
        "NATS_SUBJECT", "Its subject for the namespace default.", "config.worker.update", subject
    )
    nats_queue_group: str = setting(
        "NATS_QUEUE_GROUP", "The queue group of the controllers that answer.", "config-workers", subject
    )

    def mistakes(self) -> list[str]:
        """What is wrong with the settings together."""
        found = _lonely("NATS", self.nats_username, self.nats_password)
        if self.nats_token is not None and self.nats_username is not None:
            found.append("NATS_TOKEN: is set, and NATS_USERNAME too; use one of them.")
        return found


def _login_failures() -> Any:
    return setting(
        "LOGIN_FAILURES",
        "Wrong passwords that one address may send in a minute before it is answered 429; 0 sets no limit.",
        "10",
        whole(0, 10**6),
    )


def _allowed_hosts() -> Any:
    return setting(
        "ALLOWED_HOSTS",
        "Host names that clients may use, a comma list; .example.com has all below it, * is any. Unset allows any, but"
        " with a built-in password only localhost and addresses of loopback, which are always allowed.",
        "",
        host_patterns,
    )


def _trusted_proxies() -> Any:
    return setting(
        "TRUSTED_PROXIES",
        "Addresses and networks whose Forwarded and X-Forwarded-For headers name the caller, a comma list.",
        "",
        networks,
    )


@frozen
class ControllerSettings(BrokerSettings):
    """
    The settings of C{confd-controller}.

    @cvar retired: variables that an earlier release, or the compose files of the Go system, set.
    @cvar own_prefix: a variable with this prefix and the name of a setting is taken for a mistake.
    """

    own_prefix: ClassVar[str] = "CONTROLLER_"
    retired: ClassVar[Mapping[str, str]] = {
        "PROCESSES": "is no longer supported, since a controller is one process; remove the setting",
        **{f"CONTROLLER_{theirs}": _GO_NAME.format(ours) for theirs, ours in _GO_NAMES.items()},
    }

    port: int = setting("PORT", "TCP port on loopback, unless LISTEN is set.", "8080", whole(1, 65535))
    listen: str | None = setting(
        "LISTEN", "Twisted endpoint to serve, e.g. tcp:8080 or unix:/run/confd.sock.", None, endpoint
    )
    db_path: str = setting("DB_PATH", "The SQLite database.", "./controller.db")
    agent_username: str = setting("AGENT_USERNAME", "Name of the identity of agents.", "agent", user_name)
    agent_password: str = setting("AGENT_PASSWORD", "Its password.", DEFAULT_AGENT_PASSWORD, secret=True)
    admin_username: str = setting("ADMIN_USERNAME", "Name of the identity of operators.", "admin", user_name)
    admin_password: str = setting("ADMIN_PASSWORD", "Its password.", DEFAULT_ADMIN_PASSWORD, secret=True)
    allow_default_credentials: bool = setting(
        "ALLOW_DEFAULT_CREDENTIALS", "Serve beyond loopback with a built-in password.", "false", flag
    )
    login_failures: int = _login_failures()
    trusted_proxies: tuple[Any, ...] = _trusted_proxies()
    allowed_hosts: tuple[HostPattern, ...] = _allowed_hosts()
    max_connections: int = setting(
        "MAX_CONNECTIONS",
        "Connections at a time; fewer where the limit of open files is lower.",
        "12000",
        whole(1, 10**6),
    )
    max_connections_per_address: int = setting(
        "MAX_CONNECTIONS_PER_ADDRESS",
        "Of these, from one address other than this machine's and TRUSTED_PROXIES; 0 sets no limit.",
        "1000",
        whole(0, 10**6),
    )
    max_agents: int = setting("MAX_AGENTS", "Agents that may register; 0 sets no limit.", "100000", whole(0, 10**7))
    client_ca_file: str | None = setting(
        "CLIENT_CA_FILE", "PEM certificates; LISTEN=ssl:... then takes only clients that one of them signed for.", None
    )
    changes_per_minute: int = setting(
        "CHANGES_PER_MINUTE",
        "Requests that change something which the admin may send in a minute before 429; 0 sets no limit.",
        "0",
        whole(0, 10**6),
    )
    default_poll_interval: int = setting(
        "DEFAULT_POLL_INTERVAL", "Seconds between polls until a publish says otherwise.", "30", poll_interval
    )
    default_config: Any = setting(
        "DEFAULT_CONFIG", "Version 1 of a new database.", '{"url": "https://ip.me"}', document
    )
    config_schema: str | None = setting("CONFIG_SCHEMA", "A JSON Schema (2020-12) that documents must fit.", None)
    max_config_bytes: int = setting(
        "MAX_CONFIG_BYTES", "The largest document, in bytes.", "1048576", whole(64, 4 * 1048576)
    )
    metrics_namespaces: tuple[str, ...] = setting(
        "METRICS_NAMESPACES",
        "Namespaces with series of their own at /metrics, which anybody may read; a comma list, or * for all.",
        "default",
        namespaces,
    )
    history_keep: int = setting(
        "HISTORY_KEEP", "Versions of a namespace that are kept, the newest; 0 keeps all.", "0", whole(0, 10**9)
    )
    distribution_strategy: tuple[str, ...] = setting(
        "DISTRIBUTION_STRATEGY",
        "Brokers to publish to, a comma list; polling is always served.",
        "POLLER",
        some_of("POLLER", "STREAM", *BROKERS),
    )

    @property
    def asyncio(self) -> bool:
        """Whether it takes the asyncio reactor: the library for NATS runs on no other."""
        return "NATS" in self.distribution_strategy

    @property
    def endpoint(self) -> str:
        """The endpoint to listen on."""
        return self.listen or f"tcp:{self.port}:interface=127.0.0.1"

    @property
    def hosts(self) -> AllowedHosts:
        """The hosts to answer to; with a built-in password a page could have its own name lead here."""
        built_in = any(password == known for _, password, known in self._passwords())
        return AllowedHosts(self.allowed_hosts, built_in, not is_private(self.endpoint))

    def _passwords(self) -> Iterator[tuple[str, str, str]]:
        """Name, value and built-in value of each."""
        yield "AGENT_PASSWORD", self.agent_password, DEFAULT_AGENT_PASSWORD
        yield "ADMIN_PASSWORD", self.admin_password, DEFAULT_ADMIN_PASSWORD

    def mistakes(self) -> list[str]:
        """What is wrong with the settings together."""
        found = super().mistakes()
        if self.agent_username == self.admin_username:
            found.append("AGENT_USERNAME: is the same as ADMIN_USERNAME; give the two identities different names.")
        if self.client_ca_file is not None and not self.endpoint.startswith("ssl:"):
            found.append("CLIENT_CA_FILE: is set, and LISTEN is no ssl: endpoint; nobody would be asked who they are.")
        for name, password, built_in in self._passwords():
            if not password:
                found.append(f"{name}: must not be empty.")
            if password == built_in and not (self.allow_default_credentials or is_private(self.endpoint)):
                found.append(
                    f"{name}: is the built-in one, and LISTEN reaches beyond loopback; set {name} or {name}_FILE."
                )
        return found


@frozen
class AgentSettings(BrokerSettings):
    """
    The settings of C{confd-agent}.

    @cvar retired: variables that the Go system's files set for its agents, and that never counted (S25).
    @cvar own_prefix: see L{ControllerSettings}.
    """

    own_prefix: ClassVar[str] = "AGENT_"
    retired: ClassVar[Mapping[str, str]] = {
        "POLL_INTERVAL": "is not read by agents; it is for the controller to say (DEFAULT_POLL_INTERVAL)",
        "AGENT_ID": "is not read; an agent keeps the id that its controller gave it beside CACHE_FILE",
    }

    controller_url: tuple[str, ...] = setting(
        "CONTROLLER_URL", "The controller; a comma list is tried in turn.", "http://localhost:8080", urls
    )
    controller_username: str = setting("CONTROLLER_USERNAME", "Name to present to it.", "agent", user_name)
    controller_password: str = setting("CONTROLLER_PASSWORD", "Its password.", DEFAULT_AGENT_PASSWORD, secret=True)
    controller_ca_file: str | None = setting(
        "CONTROLLER_CA_FILE", "PEM certificates to trust instead of the system's.", None
    )
    controller_cert_file: str | None = setting(
        "CONTROLLER_CERT_FILE", "A PEM certificate to show to a controller that asks for one.", None
    )
    controller_key_file: str | None = setting("CONTROLLER_KEY_FILE", "Its key.", None)
    controller_proxy: ForwardProxies | None = setting("CONTROLLER_PROXY", HELP, None, parse_only_proxy, secret=True)
    worker_url: LoginUrl = setting("WORKER_URL", "The worker of this agent.", "http://localhost:8082", login_url)
    worker_username: str | None = setting("WORKER_USERNAME", "Name to present to the worker.", None, user_name)
    worker_password: str | None = setting("WORKER_PASSWORD", "Its password.", None, secret=True)
    worker_ca_file: str | None = setting(
        "WORKER_CA_FILE", "PEM certificates to trust for the worker instead of the system's.", None
    )
    cache_file: str = setting("CACHE_FILE", "Where the last good configuration is kept.", "./agent_config.cache")
    distribution_strategy: str = setting(
        "DISTRIBUTION_STRATEGY", "How to learn of a change; the name of an installed strategy.", "POLLER", _strategy
    )
    backoff_max: int = setting("BACKOFF_MAX", "Seconds between retries at most.", "30", whole(1, 300))
    namespace: str = setting("NAMESPACE", "Whose document this agent is for.", "default", namespace)
    agent_metadata: str = setting(
        "AGENT_METADATA", "Free text, such as region=us-west,tier=edge.", "", at_most(METADATA_MAX)
    )
    agent_listen: str | None = setting(
        "AGENT_LISTEN", "Endpoint for /health and /ready, e.g. tcp:8081:interface=127.0.0.1.", None, endpoint
    )

    @property
    def asyncio(self) -> bool:
        """Whether it takes the asyncio reactor: see L{ControllerSettings.asyncio}."""
        return self.distribution_strategy == "NATS"

    @property
    def worker_login(self) -> tuple[str | None, str | None]:
        """Name and password to present to the worker."""
        return self.worker_url.credentials or (self.worker_username, self.worker_password)

    def mistakes(self) -> list[str]:
        """What is wrong with the settings together."""
        if self.worker_url.credentials is not None and (self.worker_username, self.worker_password) != (None, None):
            return [*super().mistakes(), "WORKER_URL: holds credentials, and so do other settings; keep one of them."]
        lonely = _lonely("WORKER", self.worker_username, self.worker_password)
        files = _lonely("CONTROLLER", self.controller_cert_file, self.controller_key_file, ("CERT_FILE", "KEY_FILE"))
        return super().mistakes() + lonely + files


@frozen
class WorkerSettings(LogSettings):
    """The settings of C{confd-worker}; C{own_prefix} as in L{ControllerSettings}."""

    own_prefix: ClassVar[str] = "WORKER_"
    port: int = setting("PORT", "TCP port on loopback, unless LISTEN is set.", "8082", whole(1, 65535))
    listen: str | None = setting("LISTEN", "Twisted endpoint to serve, e.g. tcp:8082.", None, endpoint)
    worker_username: str | None = setting(
        "WORKER_USERNAME", "Name that POST /config asks for; unset takes it from loopback only.", None, user_name
    )
    worker_password: str | None = setting("WORKER_PASSWORD", "Its password.", None, secret=True)
    login_failures: int = _login_failures()
    trusted_proxies: tuple[Any, ...] = _trusted_proxies()
    hit_timeout: int = setting("HIT_TIMEOUT", "Seconds that an upstream may take for /hit.", "30", whole(1, 3600))
    hit_max_bytes: int = setting("HIT_MAX_BYTES", "Bytes of an upstream's answer at most.", "10485760", whole(1, 2**40))
    hit_allow: str = setting(
        "HIT_ALLOW",
        "Host names or CIDRs, the only ones that /hit then reaches; names link-local ones to open them.",
        "",
    )
    hit_deny: str = setting("HIT_DENY", "Host names or CIDRs that /hit may not reach, even where they are allowed.", "")

    @property
    def endpoint(self) -> str:
        """The endpoint to listen on."""
        return self.listen or f"tcp:{self.port}:interface=127.0.0.1"

    def mistakes(self) -> list[str]:
        """What is wrong with the settings together."""
        return _lonely("WORKER", self.worker_username, self.worker_password)


@frozen
class DevSettings(LogSettings):
    """The settings of C{confd-dev}: the three roles in one process, on loopback."""

    port: int = setting("PORT", "TCP port of the controller on loopback.", "8080", whole(1, 65535))
    worker_port: int = setting("WORKER_PORT", "TCP port of the worker on loopback.", "8082", whole(1, 65535))
    allowed_hosts: tuple[HostPattern, ...] = _allowed_hosts()
    data_dir: str = setting("DATA_DIR", "Where database and cache are kept; made if need be.", "./confd-data")
    default_poll_interval: int = setting(
        "DEFAULT_POLL_INTERVAL", "Seconds between polls until a publish says otherwise.", "1", poll_interval
    )


#: Settings of these may stand in the environment of any of them.
ROLES = (ControllerSettings, AgentSettings, WorkerSettings, DevSettings)


def _lonely(
    whose: str, one: str | None, other: str | None, names: tuple[str, str] = ("USERNAME", "PASSWORD")
) -> list[str]:
    if (one is None) == (other is None):
        return []
    missing, there = names if one is None else reversed(names)
    return [f"{whose}_{missing}: is unset, and {whose}_{there} is set; set both or neither."]
