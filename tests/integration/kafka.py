"""
A real Kafka server of version 4.4.0, on free loopback ports: Maven brings its jars, and Java runs them.

The jars come once, to a folder outside the source tree::

    python -m tests.integration.kafka

Without C{java} or C{mvn} the tests that need it say so, and L{MockCluster} stands in for what it can do.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SkipTest

from tests.integration.fleet import eventually, free_port
from tests.integration.servers import Server, missing

VERSION = "4.4.0"

#: The topic that a new server has.
TOPIC = "confd.announcements"

#: The user of a server with a password.
USER = "confd"

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>confd</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>{}</dependencies>
</project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
_JARS = (
    ("org.apache.kafka", "kafka_2.13", VERSION),
    ("org.apache.kafka", "kafka-tools", VERSION),
    ("org.slf4j", "slf4j-simple", "1.7.36"),
)

_JAVA = ("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")

_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=INTERNAL://127.0.0.1:{internal},CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=INTERNAL://127.0.0.1:{internal},CLIENT://127.0.0.1:{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:{protocol}
sasl.enabled.mechanisms=SCRAM-SHA-256
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
num.network.threads=1
num.io.threads=2
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=2097152
"""
_JAAS = (
    "listener.name.client.scram-sha-256.sasl.jaas.config="
    "org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
)
_TLS = "listener.name.client.ssl.keystore.type=PEM\nlistener.name.client.ssl.keystore.location={}\n"
_ACLS = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS\n"


def why_not() -> str | None:
    """Return why no real server can run here; C{None} if one can."""
    if not os.environ.get("CI") and (found := missing("java") or missing("mvn")):
        return found
    return missing("java") or (None if _complete(_home()) else missing("mvn"))


def jars() -> Path:
    """Return the folder of the jars; bring them first if this machine has none."""
    home = _home()
    if not _complete(home):
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _complete(home):
                _bring(home)
    return home / "lib"


def _home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "confd-tests" / f"kafka-{VERSION}"


def _complete(home: Path) -> bool:
    return (home / "complete").exists()


def _bring(home: Path) -> None:
    (home / "pom.xml").write_text(_POM.format("".join(_DEPENDENCY.format(*each) for each in _JARS)))
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={home / 'lib'}"]
    done = subprocess.run(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=580)
    if done.returncode:
        raise SkipTest(f"Maven cannot bring Kafka: {done.stdout[-300:]}")
    (home / "complete").touch()


@define(eq=False)
class KafkaServer(Server):
    """
    A server that is a whole cluster, with the topic C{confd.announcements}; each L{start} begins with an empty topic.

    @ivar password: of the user L{USER} on C{port}; empty without a login.
    @ivar advertised: the port that clients are sent to, such as that of a proxy; by default C{port}.
    @ivar topics: names of the topics to create, and settings of each.
    @ivar partitions: number of partitions of each topic.
    @ivar keeps: whether the data survives the next start.
    @ivar internal: a port without login and TLS.
    """

    password: str = field(default="", kw_only=True)
    advertised: int = field(default=0, kw_only=True)
    topics: dict[str, dict[str, str]] = field(
        factory=lambda: {TOPIC: {"cleanup.policy": "compact", "max.message.bytes": "8388608"}}, kw_only=True
    )
    partitions: int = field(default=1, kw_only=True)
    keeps: bool = field(default=False, kw_only=True)
    acls: bool = field(default=False, kw_only=True)
    internal: int = field(factory=free_port, init=False)
    _controller: int = field(factory=free_port, init=False)

    def command(self) -> list[str]:
        """Return the command line."""
        return [*_JAVA, "-Xmx256m", "-cp", f"{jars()}/*", "kafka.Kafka", str(self.folder / "server.properties")]

    def start(self) -> None:
        """Start the server, and return once it has its topics."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = self.folder / "data"
        if not (self.keeps and data.exists()):
            shutil.rmtree(data, ignore_errors=True)
            self._format(data)
        super().start()
        eventually(self._created)

    def greets(self, connection: object) -> bool:
        """Return that the server is ready once its port is open."""
        return True

    def produce(self, *messages: tuple[str, bytes], topic: str = TOPIC) -> None:
        """Write messages, each with its key, past all logins."""
        producer = _client("Producer", self._there, **{"message.max.bytes": 64 * 1048576})
        for key, value in messages:
            producer.produce(topic, value, key)
            producer.flush()

    def consume(self, topic: str = TOPIC) -> list[tuple[str, bytes]]:
        """Return all messages of a topic, each with its key."""
        return consume(self._there, topic)

    def admin(self) -> Any:
        """Return a client that administers the cluster."""
        return _client("admin.AdminClient", self._there)

    def cut(self, topic: str = TOPIC) -> None:
        """Remove all messages of a topic, as its retention does."""
        part, admin = _confluent("TopicPartition"), self.admin()
        for each in admin.delete_records([part(topic, number, -1) for number in range(self.partitions)]).values():
            each.result(30)

    def allow(self, *operations: str) -> None:
        """Allow operations on all topics to L{USER}."""
        acl, operation = _confluent("admin.AclBinding"), _confluent("admin.AclOperation")
        topic, literal = _confluent("admin.ResourceType").TOPIC, _confluent("admin.ResourcePatternType").LITERAL
        allow = _confluent("admin.AclPermissionType").ALLOW
        wanted = [acl(topic, "*", literal, f"User:{USER}", "*", operation[each], allow) for each in operations]
        admin = self.admin()
        for each in admin.create_acls(wanted).values():
            each.result(30)

    @property
    def _there(self) -> str:
        return f"127.0.0.1:{self.internal}"

    def _format(self, data: Path) -> None:
        properties = self.folder / "server.properties"
        protocol = ("SASL_" if self.password else "") + ("SSL" if self.tls else "PLAINTEXT")
        text = _PROPERTIES.format(
            controller=self._controller,
            internal=self.internal,
            port=self.port,
            advertised=self.advertised or self.port,
            protocol=protocol,
            data=data,
        )
        if self.password:
            text += _JAAS
        if self.acls:
            text += _ACLS
        if self.tls is not None:
            pem = self.folder / "keystore.pem"
            pem.write_bytes(self.tls.key.read_bytes() + self.tls.certificate.read_bytes())
            text += _TLS.format(pem)
        properties.write_text(text)
        scram = ["--add-scram", f"SCRAM-SHA-256=[name={USER},password={self.password}]"] if self.password else []
        command = [*_JAVA, "-Xmx128m", "-cp", f"{jars()}/*", "kafka.tools.StorageTool", "format"]
        command += ["-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(properties), *scram]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def _created(self) -> bool:
        # The port opens before the server knows itself as a leader.
        admin = self.admin()
        there = admin.list_topics(timeout=30).topics
        wanted = [name for name in self.topics if name not in there]
        new = _confluent("admin.NewTopic")
        if wanted:
            made = admin.create_topics([new(name, self.partitions, 1, config=self.topics[name]) for name in wanted])
            for each in made.values():
                each.result(30)
            there = admin.list_topics(timeout=30).topics
        return all(
            name in there and all(part.leader == 1 for part in there[name].partitions.values()) for name in self.topics
        )


def consume(servers: str, topic: str) -> list[tuple[str, bytes]]:
    """Return all messages of a topic, each with its key."""
    options = {"group.id": "reader", "enable.auto.commit": False, "fetch.message.max.bytes": 8388608}
    consumer = _client("Consumer", servers, **options)
    try:
        numbers = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        part = _confluent("TopicPartition")
        bounds = {number: consumer.get_watermark_offsets(part(topic, number), timeout=30) for number in numbers}
        consumer.assign([part(topic, number, low) for number, (low, _) in bounds.items()])
        ends, found = {number: high for number, (low, high) in bounds.items() if high > low}, []
        while ends:
            message = consumer.poll(30)
            assert message is not None and message.error() is None, message and message.error()
            found.append((message.key().decode(), message.value()))
            if message.offset() + 1 >= ends[message.partition()]:
                del ends[message.partition()]
        return found
    finally:
        consumer.close()


@define(eq=False)
class MockCluster:
    """
    The mock cluster of confluent-kafka, in this process: no logins, no compaction, four partitions.

    @ivar topic: the topic to create.
    @ivar address: host and port.
    """

    topic: str = TOPIC

    address: tuple[str, int] = field(init=False)
    _producer: Any = field(init=False)

    def start(self, **options: str) -> MockCluster:
        """Start the cluster, with its topic; C{options} are those of the producer."""
        self._producer = _client("Producer", "mock", **{"test.mock.num.brokers": 1}, **options)
        (broker,) = self._producer.list_topics(timeout=30).brokers.values()
        self.address = broker.host, broker.port
        # A question about a topic creates it.
        eventually(lambda: self._producer.list_topics(self.topic, timeout=30).topics[self.topic].partitions)
        return self

    def produce(self, key: str | None, value: bytes | None) -> None:
        """Write a message."""
        self._producer.produce(self.topic, value, key)
        self._producer.flush()


def _client(name: str, servers: str, **options: Any) -> Any:
    """Return a client of confluent-kafka that logs nothing: its library writes to standard error."""
    return _confluent(name)({"bootstrap.servers": servers, "log_level": 0} | options)


def _confluent(name: str) -> Any:
    """Return a name of confluent-kafka; imported late, since its library takes a moment to load."""
    import confluent_kafka
    import confluent_kafka.admin

    found: Any = confluent_kafka
    for each in name.split("."):
        found = getattr(found, each)
    return found


def _main(words: Sequence[str]) -> None:
    """Bring the jars; or print a topic, with the options of C{kafka-console-consumer.sh}."""
    if not words:
        print(missing("java") or missing("mvn") or jars())
        return
    options = dict(pairwise(words))
    for _, value in consume(options["--bootstrap-server"], options["--topic"]):
        sys.stdout.write(f"{value.decode()}\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
