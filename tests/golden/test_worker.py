"""What the worker puts on the wire: answers and metrics."""

from __future__ import annotations

from tests.golden.recording import GoldenTestCase
from tests.worker.test_api import WorkerCase

TAG, OLDER, BROKEN = "0a1b2c3d.1.7", "0a1b2c3d.1.6", "seven"


class WorkerGoldenTests(WorkerCase, GoldenTestCase):
    """The worker, with an upstream of the tests."""

    def test_answers(self) -> None:
        """Each answer: status, headers, body."""
        json, document = {"Content-Type": "application/json"}, b'{"url": "https://example.com"}'
        lines: list[str] = []
        for method, path, headers, body in (
            ("GET", "/health", {}, b""),
            ("GET", "/ready", {}, b""),
            ("GET", "/config", {}, b""),
            ("GET", "/hit", {}, b""),
            ("POST", "/config", {**json, "X-Config-Version": TAG}, document),
            ("POST", "/config", {**json, "X-Config-Version": TAG}, document),
            ("POST", "/config", {**json, "X-Config-Version": OLDER}, document),
            ("POST", "/config", {**json, "X-Config-Version": BROKEN}, document),
            ("POST", "/config", json, b'{"url": 1}'),
            ("POST", "/config", json, b"{"),
            ("POST", "/config", {"Content-Type": "text/plain"}, document),
            ("GET", "/config", {}, b""),
            ("GET", "/hit", {}, b""),
            ("GET", "/health", {}, b""),
            ("GET", "/ready", {}, b""),
            ("PUT", "/config", {}, b""),
            ("POST", "/config", {**json, "Prefer": "return=representation"}, document),
        ):
            reply = self.connect().request(method, path, headers=headers, body=body)
            lines += [f"> {method} {path} {headers.get('X-Config-Version', '')}", f"{reply.status} {reply.phrase}"]
            lines += [f"{name}: {value}" for name, value in sorted(reply.headers.items())]
            lines += [reply.body.decode("utf-8"), ""]
        self.assert_golden("worker-answers.txt", "\n".join(lines))
