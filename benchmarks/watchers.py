"""The bench of a fan-out with etcd on it."""

from __future__ import annotations

import base64
import time

from attrs import define

from benchmarks.crowd import Crowd
from benchmarks.dialects import ETCD_KEY
from benchmarks.figures import Sample
from benchmarks.host import Invalid, on_core, resident
from benchmarks.peers import EtcdServer
from confd.codec import bodies, headers, strict_json
from confd.model import DEFAULT_NAMESPACE, Configuration

_NOBODY, _MOMENT = "00000000-0000-4000-8000-000000000000", "2026-01-01T00:00:00Z"


@define(eq=False)
class EtcdBench:
    """As L{benchmarks.fanout.Bench}, with etcd in the place of a controller, and watchers in that of agents."""

    agents: int
    etcd: EtcdServer
    crowd: Crowd
    _commit: int = 0
    _resident: int = 0

    def start(self) -> None:
        """Start everything."""
        with on_core(0):
            self.etcd.start()
        self.publish()
        self._resident = resident(self.etcd.pid)
        with on_core(-1):
            self.crowd.start()

    def stop(self) -> None:
        """End everything."""
        self.crowd.stop()
        self.etcd.stop()

    def grown(self) -> float:
        """Kilobytes of 1000 that etcd has grown by, for each watcher."""
        return (resident(self.etcd.pid) - self._resident) / 1000 / self.agents

    def publish(self) -> tuple[int, float, float]:
        """Put what a controller would answer; see L{Bench.publish}."""
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
        """One put."""
        made, took, answered = self.publish()
        self.crowd.expect(f"PUSHED {made}")
        return Sample(took, [each - answered for each in self.crowd.hear()["times"]]), None
