"""The page of limits, held against the code: docs/reference/limits.rst."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.agent.local_api import composition, config, ofrep
from confd.agent.strategies import stream
from confd.client import http
from confd.client.header_limit import MAX_HEAD_BYTES
from confd.codec import bodies, labels, selectors, strict_json
from confd.controller import audit_log
from confd.controller.agents import duplicates, newcomers
from confd.controller.api import configs
from confd.controller.convergence import report_intake
from confd.controller.store import write_queue
from confd.controller.streams import event_feed
from confd.controller.webhooks.queue import RETRY_MAX_SECONDS
from confd.controller.webhooks.request import ANSWER_MAX_SECONDS
from confd.interfaces import webhooks
from confd.runtime import transport
from confd.runtime.listener import RESERVED_DESCRIPTORS
from confd.runtime.options import read
from confd.runtime.setting import settings_of
from confd.runtime.settings import AgentSettings, ControllerSettings, WorkerSettings, all_roles
from confd.web.api import endpoint, parsing, streaming
from confd.web.auth import throttle
from confd.web.server import channel, request_head
from confd.web.server.site import Limits
from confd.worker import upstream

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "limits.rst"

CONTROLLER, AGENT, WORKER = (read(role, {}, {}) for role in (ControllerSettings, AgentSettings, WorkerSettings))
SITE = Limits(body=CONTROLLER.max_config_bytes)


def seconds(number: float) -> str:
    """As the page writes it."""
    return f"{number:.0f} s"


#: What the code says, by the beginnings of the rows.
SAID = {
    "body of a configuration": f"{SITE.body} bytes",
    "body of anything else": f"{SITE.stranger} bytes",
    "headers of a request": f"{request_head.MAX_HEAD_BYTES} bytes, {request_head.MAX_HEADERS} headers",
    "from the first byte": seconds(SITE.header_seconds),
    "from there": seconds(SITE.body_seconds),
    "least rate": f"{SITE.body_rate} bytes a second",
    "trailers behind a body": f"{channel.MAX_TRAILER_BYTES} bytes",
    "silence on a connection": seconds(SITE.idle_seconds),
    "parameters of a query": str(parsing.MAX_PARAMETERS),
    "depth of a document": f"{strict_json.MAX_DEPTH}, {strict_json.MAX_INTEGER}",
    "requests in flight": seconds(SITE.drain_seconds),
    f"connections at a time; fewer where the limit of open files, less {RESERVED_DESCRIPTORS}": str(
        CONTROLLER.max_connections
    ),
    "labels of an agent": f"{labels.MAX_LABELS} of each",
    "selector of labels": f"{selectors.MAX_BYTES} bytes, {selectors.MAX_REQUIREMENTS} requirements,"
    f" {selectors.MAX_VALUES} values",
    "of these, from one address": str(CONTROLLER.max_connections_per_address),
    "agents that may register": str(CONTROLLER.max_agents),
    "new agents from one address": str(newcomers.NEW_PER_MINUTE),
    "seconds after which an agent is forgotten": f"{newcomers.EXPIRES_AFTER_SECONDS:.0f}",
    "wrong passwords": str(CONTROLLER.login_failures),
    "requests of one identity": f"{CONTROLLER.changes_per_minute} (any number)",
    "addresses that are remembered": str(throttle.MAX_FAILING_ADDRESSES),
    "events that wait for the receiver": f"{webhooks.MAX_QUEUED}, {webhooks.MAX_QUEUED_HOURS} h",
    "time for the answer of the receiver": f"{seconds(ANSWER_MAX_SECONDS)}, {seconds(RETRY_MAX_SECONDS)}",
    "time in which a reader of a stream": seconds(streaming.STALLED_MAX_SECONDS),
    "watchers": str(event_feed.MAX_SUBSCRIBERS),
    "publishes that wait": f"{configs.MAX_WAITING_PUBLISHES}, each 600 s",
    "programs that wait": f"{config.MAX_WAITING}, each 60 s",
    "connections to ``AGENT_API_LISTEN``": f"{composition.MAX_CONNECTIONS}",
    "body of an evaluation": f"{ofrep.MAX_CONTEXT_BYTES} bytes",
    "wrong tokens of one address": f"{composition.MAX_FAILURES_PER_MINUTE}",
    "items on a page": "500",
    "writes, and reports": str(write_queue.MAX_WAITING_WRITES),
    "ids that are watched": str(duplicates.MAX_IDS),
    "refusals that wait": str(audit_log.MAX_WAITING),
    "versions of a namespace": f"{CONTROLLER.history_keep} (all)",
    "connecting": seconds(transport.CONNECT_SECONDS),
    "silence within a call": seconds(http.SILENCE_MAX_SECONDS),
    "silence within a stream": seconds(stream.SILENCE_MAX_SECONDS),
    "head of an answer": f"{MAX_HEAD_BYTES} bytes",
    "body of an answer": f"{bodies.MAX_ANSWER_BYTES} bytes",
    "redirects that an agent follows": "0",
    "pause between two attempts": seconds(AGENT.backoff_max),
    "one fetch": seconds(WORKER.hit_timeout),
    "answer of an upstream": f"{WORKER.hit_max_bytes} bytes",
    "redirects, each checked": str(upstream.MAX_REDIRECTS),
    "fetches at a time": str(upstream.MAX_IN_FLIGHT),
}


class PageTests(SynchronousTestCase):
    """Every row."""

    def rows(self) -> list[list[str]]:
        """The cells of each row that names a limit."""
        found = re.findall(r"\* - (.+)\n +- (.+)\n +- (.+)\n", PAGE.read_text())
        return [list(row) for row in found[1:] if row[1].strip() != "-"]

    def test_values(self) -> None:
        """As the code has them, each once."""
        rows = self.rows()
        self.assertEqual(len(rows), len(SAID))
        for what, value in SAID.items():
            self.assertEqual([row[1] for row in rows if row[0].startswith(what)], [value], what)
        self.assertEqual(report_intake.MAX_WAITING, write_queue.MAX_WAITING_WRITES)
        self.assertEqual(SITE.stranger, endpoint.SMALL_BODY_BYTES)
        self.assertEqual({SITE.body_rate}, {http.MIN_BYTES_PER_SECOND, streaming.MIN_BYTES_PER_SECOND})

    def test_settings_and_tests(self) -> None:
        """What is named is there."""
        settings = {each.name for role in all_roles() for each in settings_of(role)}
        for *_, named in self.rows():
            *setting, test = re.findall("``(.+?)``", named)
            self.assertLessEqual(set(setting), settings)
            self.assertIsNotNone(find_spec(test), test)
