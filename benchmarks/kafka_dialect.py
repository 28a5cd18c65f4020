"""The protocol of agents that read a topic of Kafka: one request for records after the other, on one connection."""

from __future__ import annotations

from io import BytesIO

from aiokafka.protocol.fetch import FetchRequest_v4
from aiokafka.protocol.produce import ProduceRequest_v3
from attrs import define, field

from benchmarks.dialects import Kind, Message
from confd.brokers.kafka.records import BatchReader, Record, encode
from confd.brokers.kafka.servers import LONG_POLL_SECONDS
from tests.integration.kafka import TOPIC

#: The topic of the raw publisher; the server treats it like that of confd.
RAW_TOPIC = "raw"

_BYTES = 8 * 1024 * 1024


@define(eq=False)
class Kafka:
    """A consumer of both topics, which asks again after each answer."""

    hello: bytes = field(init=False)

    @hello.default
    def _first(self) -> bytes:
        return _ask({TOPIC: 0, RAW_TOPIC: 0})

    def split(self, buffer: bytes) -> tuple[list[Message], bytes]:
        """Split the bytes: see L{benchmarks.dialects.Dialect.split}. The last message of an answer has a reply."""
        messages: list[Message] = []
        while len(buffer) >= 4 and len(buffer) >= (end := 4 + int.from_bytes(buffer[:4], "big")):
            messages += _answer(buffer[4:end])
            buffer = buffer[end:]
        return messages, buffer

    def publish(self, payload: bytes) -> bytes:
        """Return the bytes with which the raw publisher sends a payload."""
        return _frame(ProduceRequest_v3(None, 1, 3000, [(RAW_TOPIC, [(0, encode(b"default", [payload]))])]))


def _answer(frame: bytes) -> list[Message]:
    # The number that tells answers apart comes first; an agent has one request at a time.
    answer = FetchRequest_v4.RESPONSE_TYPE.decode(BytesIO(frame[4:]))
    messages: list[Message] = []
    positions = {}
    for topic, [(_, error, end, *_, raw)] in answer.topics:
        assert error == 0, error
        found: list[Record] = []
        positions[topic] = BatchReader().read(raw, 0, found) if raw else end
        kind = Kind.RAW if topic == RAW_TOPIC else Kind.PUSHED
        messages += [Message(kind, each.value) for each in found if each.key == b"default" and each.value]
    return [*messages, Message(Kind.SAME, reply=_ask(positions))]


def _ask(positions: dict[str, int]) -> bytes:
    topics = [(topic, [(0, offset, _BYTES)]) for topic, offset in positions.items()]
    return _frame(FetchRequest_v4(-1, round(LONG_POLL_SECONDS * 1000), 1, _BYTES, 0, topics))


def _frame(request: FetchRequest_v4 | ProduceRequest_v3) -> bytes:
    body = request.build_request_header(correlation_id=0, client_id="benchmark").encode() + request.encode()
    return len(body).to_bytes(4, "big") + bytes(body)
