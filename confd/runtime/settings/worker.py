"""The settings of C{confd-worker}, and of C{confd-dev}, which runs a worker, an agent and a controller."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from confd.runtime.addresses import Network
from confd.runtime.listen_address import may_be_tls
from confd.runtime.logs import LogSettings
from confd.runtime.setting import setting
from confd.runtime.setting_types import poll_interval, user_name, whole
from confd.runtime.settings.shared import (
    allowed_hosts_setting,
    check_pair,
    listen_endpoint,
    listen_setting,
    login_failures_setting,
    port_setting,
    trusted_proxies_setting,
)
from confd.web.auth.allowed_hosts import HostPattern


@frozen
class WorkerSettings(LogSettings):
    """The settings of C{confd-worker}; C{own_prefix} as in L{ControllerSettings}."""

    own_prefix: ClassVar[str] = "WORKER_"
    port: int = port_setting("8082")
    listen: str | None = listen_setting("tcp:8082")
    worker_username: str | None = setting(
        "WORKER_USERNAME",
        "User name that POST /config requires. Unset, only requests from loopback may change the configuration.",
        None,
        user_name,
    )
    worker_password: str | None = setting("WORKER_PASSWORD", "Password that POST /config requires.", None, secret=True)
    login_failures: int = login_failures_setting()
    trusted_proxies: tuple[Network, ...] = trusted_proxies_setting()
    hit_timeout: int = setting(
        "HIT_TIMEOUT", "Seconds that an upstream server may take to answer GET /hit.", "30", whole(1, 3600)
    )
    hit_max_bytes: int = setting(
        "HIT_MAX_BYTES", "Largest upstream response to GET /hit, in bytes.", "10485760", whole(1, 2**40)
    )
    hit_allow: str = setting(
        "HIT_ALLOW",
        "Comma-separated host names and networks; if set, GET /hit reaches no others. Link-local addresses are"
        " reachable only if this names them.",
        "",
    )
    hit_deny: str = setting(
        "HIT_DENY",
        "Comma-separated host names and networks that GET /hit never reaches, whatever HIT_ALLOW says.",
        "",
    )

    @property
    def endpoint(self) -> str:
        """The endpoint to listen on."""
        return listen_endpoint(self.listen, self.port)

    @property
    def tls(self) -> bool:
        """Whether the worker needs TLS from its start; C{/hit} loads it for the first C{https} URL."""
        return may_be_tls(self.endpoint)

    def mistakes(self) -> list[str]:
        """Return a sentence for each contradiction between settings that are valid one by one."""
        return check_pair("WORKER", self.worker_username, self.worker_password)


@frozen
class DevSettings(LogSettings):
    """The settings of C{confd-dev}: the three roles in one process, on loopback."""

    port: int = setting("PORT", "TCP port of the controller on 127.0.0.1.", "8080", whole(1, 65535))
    worker_port: int = setting("WORKER_PORT", "TCP port of the worker on 127.0.0.1.", "8082", whole(1, 65535))
    allowed_hosts: tuple[HostPattern, ...] = allowed_hosts_setting()
    data_dir: str = setting(
        "DATA_DIR", "Folder of the database and the agent's cache; created if missing.", "./confd-data"
    )
    default_poll_interval: int = setting(
        "DEFAULT_POLL_INTERVAL",
        "Seconds between polls of an agent, until a publish sets another interval.",
        "1",
        poll_interval,
    )
