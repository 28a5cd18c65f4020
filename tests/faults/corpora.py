"""Requests and documents that readers take for different things: F-40 to F-42."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from random import Random

from tests.faults.edge import HOST, converse
from tests.faults.harness import FaultHarness
from tests.faults.rows import row
from tests.integration.fleet import ADMIN, AGENT, Response, request
from tests.web.test_smuggling import FRAMING, PATHS


@row(
    "F-40",
    "smuggling",
    "141 requests that two readers take for different ones; controller, worker, agent",
    "accepted 0; one answer each",
    agents=0,
    quick=True,
)
def smuggling(fleet: FaultHarness) -> None:
    fleet.begin()
    worker = fleet.daemons.worker()
    agent = fleet.daemons.agent(worker, ops=True)
    for process in (worker, agent):
        process.start()
    ports = [int((each.health or "").split(":")[2].partition("/")[0]) for each in (worker, agent)]
    for port, (name, raw) in itertools.product((fleet.daemons.port, *ports), FRAMING.items()):
        smuggled = b"GET /health?smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
        answer = converse(port, raw.replace(b"/open", b"/health") + smuggled)
        fleet.claim(answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")) or not answer, f"{name}: {answer[:20]!r}")
        fleet.claim(len(re.findall(rb"^HTTP/1", answer, re.MULTILINE)) <= 1, f"{name}: one answer")
    for path in PATHS:
        for place in (path, path.replace(b"/open", b"/health")):
            answer = converse(
                fleet.daemons.port, b"GET " + place + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
            )
            fleet.claim(answer[9:12] in (b"400", b"404", b"401"), f"{place!r}: {answer[:20]!r}")


#: Texts that readers of JSON take for different things, or cannot take.
MALFORMED = (
    b"", b"{", b"NaN", b'{"url": NaN}', b'{"url": 1e999}', b'{"url": "http://a/", "url": "http://b/"}',
    b'{"url": "\\ud800"}', b"[" * 100_000, b'{"a":' * 50_000, b'{"url": "http://a/", "n": ' + b"9" * 5000 + b"}",
    b'\xef\xbb\xbf{"url": "http://a/"}', '{"url": "http://a/"}'.encode("utf-16"), b'{"url": "http://a/\\u0000"}',
    b'{"url": "http://a/"} x', b'{"url": "http://a/",}', b"{'url': 'http://a/'}", b'{"url": 1}', b"[]", b"null", b"1",
    b'"x"', b'{"url": "gopher://a/"}', b'{"url": "http://a/"', b'{"url": "\xff"}', b'{"url": "\xed\xa0\x80"}',
    b'{"url": Infinity}', b'{"url": -Infinity}', b'{"url": "http://a/"}{"url": "http://b/"}', b'{url: "http://a/"}',
    b'{"url": "a\nb"}', b'{"n": 01, "url": "http://a/"}', b'{"n": .5, "url": "http://a/"}', b"\x00" * 100,
)  # fmt: skip


def _fuzz(random: Random, count: int) -> Iterator[bytes]:
    """Documents with some bytes that are wrong."""
    for _ in range(count):
        raw = bytearray(json.dumps({"url": "http://127.0.0.1/", "n": [1, 2.5, None, True, {"a": "\u00fc"}]}).encode())
        for _ in range(random.randrange(1, 5)):
            place = random.randrange(len(raw))
            raw[place : place + random.randrange(0, 3)] = random.randbytes(random.randrange(0, 3))
        yield bytes(raw)


@row(
    "F-41",
    "malformed JSON",
    "33 texts, and 1 000 documents with wrong bytes",
    "400, 413 or 422; 5xx 0; stored documents are whole",
    agents=0,
)
def malformed(fleet: FaultHarness) -> None:
    fleet.begin()
    for text in MALFORMED:
        answer = fleet.daemons.publish(text)
        fleet.claim(answer.status in (400, 413, 422), f"{text[:30]!r}: {answer.status}")
    stored = fleet.daemons.current()["version"]
    fleet.claim(stored == 1, f"nothing was stored: version {stored}")
    for text in _fuzz(fleet.random, 1000):
        answer = fleet.daemons.publish(text)
        fleet.claim(answer.status in (200, 400, 422), f"{text!r}: {answer.status}")
    for path in ("register", "report"):
        for text in MALFORMED:
            status = request("POST", f"{fleet.daemons.url}/api/v1/{path}", text, AGENT).status
            fleet.claim(
                400 <= status < 500 or (path == "register" and status == 200), f"{path} {text[:30]!r}: {status}"
            )
    fleet.read_database()


@row(
    "F-42",
    "hostile texts in ids, names and metadata",
    "bidi marks, NUL, line ends, markup, 1 MB",
    "log lines forged 0; listed escaped, or refused",
    agents=0,
)
def hostile_texts(fleet: FaultHarness) -> None:
    fleet.begin()
    texts = [
        "a\r\nforged: yes",
        "\u202e\u2066x",
        "\x00\x1b[31m",
        "<script>alert(1)</script>",
        "\u2028\u2029",
        "\ud7ff" * 500,
        "x" * 10**6,
    ]
    for text in texts:
        for name in ("hostname", "metadata", "agent_id", "strategy", "namespace"):
            status = request(
                "POST", f"{fleet.daemons.url}/api/v1/register", {"hostname": "h", name: text}, AGENT
            ).status
            fleet.claim(status < 500, f"{name} {text[:20]!r}: {status}")
        with suppress(ValueError):
            answer: Response = request("GET", f"{fleet.daemons.url}/api/v1/config", None, AGENT, {"X-Agent-ID": text})
            fleet.claim(answer.status < 500, f"X-Agent-ID {text[:20]!r}: {answer.status}")
        answer = request(
            "POST",
            f"{fleet.daemons.url}/api/v1/config?comment=%0d%0aforged",
            {"url": "http://a/", "t": text[:100]},
            ADMIN,
        )
        fleet.claim(answer.status < 500, f"document {text[:20]!r}: {answer.status}")
    fleet.claim(isinstance(fleet.listed(), list), "the agents are listed")
    for line in fleet.controller.log.splitlines():
        fleet.claim(
            line.startswith("{") and isinstance(json.loads(line), dict), f"a line of the log is JSON: {line[:80]}"
        )
