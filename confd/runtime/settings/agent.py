"""The settings of C{confd-agent}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from attrs import frozen

from confd.client.forward_proxy import HELP, ForwardProxies, parse_only_proxy
from confd.codec.bodies import METADATA_MAX, STRATEGY_MAX
from confd.runtime.listen_address import may_be_tls
from confd.runtime.setting import setting
from confd.runtime.setting_types import (
    LoginUrl,
    at_most,
    endpoint,
    host_and_port,
    is_private,
    json_pointer,
    login_url,
    namespace,
    token,
    urls,
    user_name,
    whole,
)
from confd.runtime.settings.outputs import OutputSettings
from confd.runtime.settings.shared import ASYNCIO_BROKERS, BROKERS, DEFAULT_AGENT_PASSWORD, check_pair

#: The strategies and outputs that belong to confd.
_STRATEGIES, _OUTPUTS = ("POLLER", "STREAM", *BROKERS), {"HTTP", "FILE"}


def _strategy(text: str) -> str:
    return at_most(STRATEGY_MAX)(text).upper()


@frozen
class AgentSettings(OutputSettings):
    """
    The settings of C{confd-agent}.

    @cvar retired: variables that the Go system's files set for its agents, and that never had an effect.
    @cvar own_prefix: see L{ControllerSettings}.
    @cvar tls_optional: modules of Twisted that an agent uses, and that load TLS if they can.
    """

    own_prefix: ClassVar[str] = "AGENT_"
    tls_optional: ClassVar[Sequence[str]] = ("twisted.web.client",)
    retired: ClassVar[Mapping[str, str]] = {
        "POLL_INTERVAL": "is not read by agents; set DEFAULT_POLL_INTERVAL of the controller instead",
        "AGENT_ID": "is not read; an agent keeps the id that its controller assigned, beside CACHE_FILE",
    }

    controller_url: tuple[str, ...] = setting(
        "CONTROLLER_URL",
        "URL of the controller. A comma-separated list names alternatives, tried in turn.",
        "http://localhost:8080",
        urls,
    )
    controller_username: str = setting(
        "CONTROLLER_USERNAME", "User name for requests to the controller.", "agent", user_name
    )
    controller_password: str = setting(
        "CONTROLLER_PASSWORD", "Password for requests to the controller.", DEFAULT_AGENT_PASSWORD, secret=True
    )
    controller_ca_file: str | None = setting(
        "CONTROLLER_CA_FILE",
        "PEM file of the certificate authorities to trust for the controller, instead of the system's.",
        None,
    )
    controller_cert_file: str | None = setting(
        "CONTROLLER_CERT_FILE", "PEM file of the client certificate to present to the controller.", None
    )
    controller_key_file: str | None = setting(
        "CONTROLLER_KEY_FILE", "PEM file of the key of CONTROLLER_CERT_FILE.", None
    )
    controller_proxy: ForwardProxies | None = setting("CONTROLLER_PROXY", HELP, None, parse_only_proxy, secret=True)
    worker_url: LoginUrl = setting("WORKER_URL", "URL of this agent's worker.", "http://localhost:8082", login_url)
    worker_username: str | None = setting("WORKER_USERNAME", "User name for requests to the worker.", None, user_name)
    worker_password: str | None = setting("WORKER_PASSWORD", "Password for requests to the worker.", None, secret=True)
    worker_ca_file: str | None = setting(
        "WORKER_CA_FILE",
        "PEM file of the certificate authorities to trust for the worker, instead of the system's.",
        None,
    )
    cache_file: str = setting(
        "CACHE_FILE", "File that keeps the last good configuration across restarts.", "./agent_config.cache"
    )
    distribution_strategy: str = setting(
        "DISTRIBUTION_STRATEGY",
        "Strategy that learns of changes: POLLER, STREAM, REDIS, NATS, KAFKA, or the name of a plug-in.",
        "POLLER",
        _strategy,
    )
    backoff_max: int = setting("BACKOFF_MAX", "Longest delay between two retries, in seconds.", "30", whole(1, 300))
    namespace: str = setting("NAMESPACE", "Namespace whose configuration this agent delivers.", "default", namespace)
    agent_metadata: str = setting(
        "AGENT_METADATA",
        "Labels of this agent, such as region=us-west,tier=edge. Text that is no label is only shown.",
        "",
        at_most(METADATA_MAX),
    )
    agent_listen: str | None = setting(
        "AGENT_LISTEN",
        "Twisted endpoint that serves /health, /ready and /metrics, such as tcp:8081:interface=127.0.0.1.",
        None,
        endpoint,
    )
    agent_advertise: str | None = setting(
        "AGENT_ADVERTISE",
        "Host and port at which Prometheus reaches AGENT_LISTEN, such as 10.0.0.7:8081.",
        None,
        host_and_port,
    )
    agent_api_listen: str | None = setting(
        "AGENT_API_LISTEN",
        "Twisted endpoint that serves the applied configuration to programs on this machine, such as"
        " tcp:8083:interface=127.0.0.1.",
        None,
        endpoint,
    )
    agent_api_token: str | None = setting(
        "AGENT_API_TOKEN",
        "Bearer token for AGENT_API_LISTEN. Required unless only this machine can reach the endpoint.",
        None,
        token,
        secret=True,
    )
    ofrep_pointer: str = setting(
        "OFREP_POINTER", "JSON pointer to the object whose members are feature flags (OFREP).", "/flags", json_pointer
    )

    @property
    def asyncio(self) -> bool:
        """Whether this role needs the asyncio reactor: see L{ControllerSettings.asyncio}."""
        return self.distribution_strategy in ASYNCIO_BROKERS

    @property
    def tls(self) -> bool:
        """Whether the agent may need TLS: a plug-in always may."""
        return (
            any(url.startswith("https:") for url in (*self.controller_url, self.worker_url))
            or any((self.controller_ca_file, self.controller_cert_file, self.worker_ca_file, self.redis_tls_enabled))
            or any(map(may_be_tls, (self.agent_listen, self.agent_api_listen)))
            or self.distribution_strategy not in _STRATEGIES
            or not set(self.outputs) <= _OUTPUTS
        )

    @property
    def worker_login(self) -> tuple[str | None, str | None]:
        """User name and password for requests to the worker."""
        return self.worker_url.credentials or (self.worker_username, self.worker_password)

    def mistakes(self) -> list[str]:
        """Check the credentials and the files, too."""
        found = super().mistakes()
        if self.worker_url.credentials is None:
            found += check_pair("WORKER", self.worker_username, self.worker_password)
        elif (self.worker_username, self.worker_password) != (None, None):
            return [*found, "WORKER_URL: holds credentials, and so do other settings; keep one of them."]
        if self.agent_api_listen is not None and self.agent_api_token is None and not is_private(self.agent_api_listen):
            found.append(
                "AGENT_API_LISTEN: other machines can reach it; set AGENT_API_TOKEN, or listen on a loopback address or"
                " a unix socket."
            )
        if self.agent_advertise is not None and self.agent_listen is None:
            found.append("AGENT_ADVERTISE: has no effect without AGENT_LISTEN; set that, too.")
        files = (self.controller_cert_file, self.controller_key_file)
        return found + check_pair("CONTROLLER", *files, ("CERT_FILE", "KEY_FILE"))
