"""From the settings of brokers to brokers."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from random import Random
from typing import Any

from confd.interfaces import IBroker
from confd.settings import BROKERS, BrokerSettings
from confd.tls import client_options


def make_brokers(reactor: Any, settings: BrokerSettings, names: Sequence[str]) -> list[IBroker]:
    """
    The brokers among C{names}; nothing is connected.

    @raise StartError: naming the setting that cannot work.
    """
    return [make_broker(reactor, settings, name) for name in names if name in BROKERS]


def make_broker(reactor: Any, settings: BrokerSettings, name: str) -> IBroker:
    """One broker by its name; its library is imported here, and not by those who use no broker."""
    return _redis(reactor, settings) if name == "REDIS" else _nats(reactor, settings)


def _redis(reactor: Any, settings: BrokerSettings) -> IBroker:
    from confd.brokers.redis import RedisBroker

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


def _nats(reactor: Any, settings: BrokerSettings) -> IBroker:
    from confd.brokers.nats import NatsBroker

    return NatsBroker(
        reactor,
        settings.nats_url,
        user=settings.nats_username,
        password=settings.nats_password,
        token=settings.nats_token,
        tls=ssl.create_default_context() if settings.nats_tls_enabled else None,
        subject=settings.nats_subject,
        queue_group=settings.nats_queue_group,
        random=Random(),
    )
