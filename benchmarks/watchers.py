"""The bench of a fan-out through etcd."""

from __future__ import annotations

import base64
import time

from attrs import define

from benchmarks.crowd import Crowd
from benchmarks.figures import Sample
from benchmarks.host import Invalid, on_core, resident
from benchmarks.peers import ETCD_KEY, EtcdServer
from confd.codec import bodies, headers, strict_json
from confd.model import DEFAULT_NAMESPACE, Configuration

_NOBODY, _MOMENT = "00000000-0000-4000-8000-000000000000", "2026-01-01T00:00:00Z"


@define(eq=False)
class EtcdBench:
    """Like L{benchmarks.fanout.Bench}, with etcd in place of the controller, and watchers in place of the agents."""

    agents: int
    etcd: EtcdServer
    crowd: Crowd
    _commit: int = 0
    _resident: int = 0

    def start(self) -> None:
        """Start all processes."""
        with on_core(0):
            self.etcd.start()
        self.publish()
        self._resident = resident(self.etcd.pid)
        with on_core(-1):
            self.crowd.start()

    def stop(self) -> None:
        """End all processes."""
        self.crowd.stop()
        self.etcd.stop()

    def grown(self) -> float:
        """Return the growth of etcd for each watcher, in kilobytes of 1000 bytes."""
        return (resident(self.etcd.pid) - self._resident) / 1000 / self.agents

    def publish(self) -> tuple[int, float, float]:
        """Put a document as a controller would answer it; see L{Bench.publish}."""
        self._commit += 1
        document = strict_json.document({"url": "https://ip.me", "round": self._commit, "pad": "x" * 400})
        made = Configuration(_NOBODY, 1, self._commit, DEFAULT_NAMESPACE, document, 30, headers.parse_rfc3339(_MOMENT))
        value = base64.b64encode(bodies.configuration_body(made)).decode()
        began = time.monotonic()
        response = self.etcd.call("put", key=ETCD_KEY, value=value)
        answered = time.monotonic()
        if response.status != 200:
            raise Invalid(f"a put was answered with {response.status}")
        return self._commit, answered - began, answered

    def round(self, number: int) -> tuple[Sample, None]:
        """Put once."""
        made, took, answered = self.publish()
        self.crowd.expect(f"PUSHED {made}")
        return Sample(took, [each - answered for each in self.crowd.hear()["times"]]), None
