"""Build brokers from their settings."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

from confd.brokers.link import one_line
from confd.errors import StartError
from confd.interfaces import IBroker
from confd.interfaces.audit_sinks import IAuditSink
from confd.runtime.daemon import reload_secrets
from confd.runtime.reactor import Reactor
from confd.runtime.reload import ReloadedFiles
from confd.runtime.settings import BROKERS, BrokerSettings

if TYPE_CHECKING:
    from confd.runtime.settings import ControllerSettings

#: The settings that hold the secrets of each broker.
_SECRETS = {
    "REDIS": ("REDIS_PASSWORD",),
    "NATS": ("NATS_PASSWORD", "NATS_TOKEN"),
    "KAFKA": ("KAFKA_PASSWORD",),
}


def make_brokers(reactor: Reactor, settings: BrokerSettings, names: Sequence[str]) -> list[IBroker]:
    """
    Return the brokers among C{names}; none of them is connected yet.

    @raise StartError: names the setting that cannot work.
    """
    return [make_broker(reactor, settings, name) for name in names if name in BROKERS]


def make_broker(reactor: Reactor, settings: BrokerSettings, name: str) -> IBroker:
    """
    Return a broker; import its library only here, so that other processes go without it.

    @param name: one of L{BROKERS}.
    @raise StartError: its library is not installed, or a setting cannot work.
    """
    return {"REDIS": _redis, "NATS": _nats, "KAFKA": _kafka}[name](reactor, settings)


def describe_brokers(settings: BrokerSettings, brokers: Sequence[IBroker]) -> dict[str, Callable[[], str]]:
    """Return what C{/ready} says of the setting that makes each broker keep announcements."""
    names = {"KAFKA": "KAFKA_TOPIC"} | ({} if settings.nats_stream is None else {"NATS": "NATS_STREAM"})

    def describe(broker: IBroker) -> Callable[[], str]:
        return lambda: broker.remark() or "announcements are kept"

    return {names[each.name]: describe(each) for each in brokers if each.name in names}


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
            name = broker.name.lower()
            broker.present(getattr(now, f"{name}_password"), getattr(now, f"{name}_token", None))

    names = [name for broker in brokers for name in _SECRETS.get(broker.name, ())]
    return reload_secrets(reactor, settings, environ, changed, *names)


def _redis(reactor: Reactor, settings: BrokerSettings) -> IBroker:
    from confd.brokers.redis.broker import RedisBroker

    host, port = settings.redis_address
    tls = None
    if settings.redis_tls_enabled:
        from confd.runtime.tls import client_options

        tls = client_options(host)
    return RedisBroker(
        reactor,
        host,
        port,
        username=settings.redis_username,
        password=settings.redis_password,
        db=settings.redis_db,
        tls=tls,
        channel=settings.redis_channel,
        shared=getattr(settings, "database_url", None) is not None,
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


def make_audit_sink(
    reactor: Reactor, settings: ControllerSettings, environ: Mapping[str, str], topic: str, cluster: Callable[[], str]
) -> tuple[IAuditSink, Sequence[ReloadedFiles[BrokerSettings]]]:
    """
    Return the sink of C{KAFKA_AUDIT_TOPIC}, and the services that give it a changed password.

    @param environ: the environment of the settings.
    @param cluster: returns the id of the cluster.
    @raise StartError: aiokafka is not installed, or a setting cannot work.
    """
    try:
        from confd.brokers.kafka.audit_sink import KafkaAuditSink
        from confd.brokers.kafka.servers import KafkaOptions
    except ImportError:
        raise _without_aiokafka("KAFKA_AUDIT_TOPIC: it") from None

    tls = _kafka_tls(settings) if settings.kafka_tls_enabled else None
    options = KafkaOptions(settings.kafka_bootstrap, settings.kafka_username, settings.kafka_password, tls)
    sink = KafkaAuditSink(reactor, options, topic, cluster, Random())

    def changed(now: BrokerSettings) -> None:
        sink.present(now.kafka_password)

    return sink, reload_secrets(reactor, settings, environ, changed, "KAFKA_PASSWORD")


def _without_aiokafka(what: str) -> StartError:
    return StartError(f"{what} needs aiokafka; install it with: pip install 'confd[kafka]'.")


def _kafka(reactor: Reactor, settings: BrokerSettings) -> IBroker:
    try:
        from confd.brokers.kafka.broker import KafkaBroker
    except ImportError:
        raise _without_aiokafka("DISTRIBUTION_STRATEGY: KAFKA") from None

    return KafkaBroker(
        reactor,
        settings.kafka_bootstrap,
        topic=settings.kafka_topic,
        username=settings.kafka_username,
        password=settings.kafka_password,
        tls=_kafka_tls(settings) if settings.kafka_tls_enabled else None,
        random=Random(),
    )


def _kafka_tls(settings: BrokerSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.kafka_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"KAFKA_CA_FILE: {settings.kafka_ca_file} cannot be read: {one_line(error)}.") from None
