"""Build brokers from their settings."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from random import Random

from confd.interfaces import IBroker
from confd.runtime.daemon import reload_secrets
from confd.runtime.reactor import Reactor
from confd.runtime.reload import ReloadedFiles
from confd.runtime.settings import BROKERS, BrokerSettings
from confd.runtime.tls import client_options

#: The settings that hold the secrets of each broker.
_SECRETS = {"REDIS": ("REDIS_PASSWORD",), "NATS": ("NATS_PASSWORD", "NATS_TOKEN")}


def make_brokers(reactor: Reactor, settings: BrokerSettings, names: Sequence[str]) -> list[IBroker]:
    """
    Return the brokers among C{names}; none of them is connected yet.

    @raise StartError: names the setting that cannot work.
    """
    return [make_broker(reactor, settings, name) for name in names if name in BROKERS]


def make_broker(reactor: Reactor, settings: BrokerSettings, name: str) -> IBroker:
    """Return the broker C{REDIS} or C{NATS}; import its library only here, so that other processes go without it."""
    return _redis(reactor, settings) if name == "REDIS" else _nats(reactor, settings)


def describe_stream(brokers: Sequence[IBroker]) -> Mapping[str, Callable[[], str]]:
    """Return what C{/ready} says of NATS_STREAM."""
    nats = [each for each in brokers if each.name == "NATS"]
    return {"NATS_STREAM": lambda: nats[0].remark() or "announcements are kept"} if nats else {}


def follow_passwords(
    reactor: Reactor, settings: BrokerSettings, environ: Mapping[str, str], brokers: Sequence[IBroker]
) -> Sequence[ReloadedFiles[BrokerSettings]]:
    """
    Give brokers their new password or token when its file changes.

    @param environ: the environment of the settings; it names the files.
    @return: services that watch the files; empty where no secret comes from a file.
    @raise StartError: a file cannot be read.
    """

    def changed(now: BrokerSettings) -> None:
        for broker in brokers:
            redis = broker.name == "REDIS"
            broker.present(now.redis_password if redis else now.nats_password, None if redis else now.nats_token)

    names = [name for broker in brokers for name in _SECRETS.get(broker.name, ())]
    return reload_secrets(reactor, settings, environ, changed, *names)


def _redis(reactor: Reactor, settings: BrokerSettings) -> IBroker:
    from confd.brokers.redis.broker import RedisBroker

    host, port = settings.redis_address
    return RedisBroker(
        reactor,
        host,
        port,
        username=settings.redis_username,
        password=settings.redis_password,
        db=settings.redis_db,
        tls=client_options(host) if settings.redis_tls_enabled else None,
        channel=settings.redis_channel,
        random=Random(),
    )


def _nats(reactor: Reactor, settings: BrokerSettings) -> IBroker:
    from confd.brokers.nats.broker import NatsBroker

    return NatsBroker(
        reactor,
        settings.nats_url,
        user=settings.nats_username,
        password=settings.nats_password,
        token=settings.nats_token,
        tls=ssl.create_default_context() if settings.nats_tls_enabled else None,
        subject=settings.nats_subject,
        queue_group=settings.nats_queue_group,
        stream=settings.nats_stream,
        random=Random(),
    )
