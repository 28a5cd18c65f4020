"""Troubles on the dashboard: each one is named, and its message goes with its cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.integration.dashboard_access import AccessTests
from tests.integration.fleet import AGENT, eventually
from tests.integration.test_dashboard import DashboardTestCase, Together


def testSuite() -> Together:
    """Return the tests of the module, for trial."""
    return Together.of(__name__, TroubleTests, EmptyTests, AccessTests)


def answering(status: int, body: Any) -> Callable[[Any], None]:
    """Return a handler that answers each request alike."""
    return lambda route: route.fulfill(status=status, json=body)


class TroubleTests(DashboardTestCase):
    """The word in the bar, the notice, and the grey of old figures."""

    def grey(self, page: Any) -> bool:
        """Return whether the page marks its figures as old."""
        return bool(page.locator("main[data-stale]").count())

    def test_causes(self) -> None:
        """Each answer to the request for events has a word of its own; all go once events arrive."""
        causes = (
            (401, {}, "Signed out", "You are signed out"),
            (403, {"error": "Admins only.", "code": "forbidden"}, "No access", "Admins only. The page is as of"),
            (429, {"error": "100 watch already.", "code": "too_many_watchers"}, "Too many", "100 watch already."),
            (503, {"error": "The disk is full.", "code": "x"}, "Unavailable", "The disk is full."),
        )
        with self.visiting("overview") as page:
            self.shown(page.get_by_text("Live", exact=True))
            for status, body, word, sentence in causes:
                page.route("**/api/v1/events*", answering(status, body))
                page.reload()
                self.shown(page.locator("#connection").get_by_text(re.compile(f"^{word}, ")))
                self.shown(page.locator("#notice").get_by_text(sentence))
                self.assertTrue(self.grey(page))
                page.unroute("**/api/v1/events*")
                self.shown(page.get_by_text("Live", exact=True))
                self.assertTrue(page.locator("#notice").is_hidden())
                self.assertFalse(self.grey(page))

    def test_unknown_caller(self) -> None:
        """A page that could not learn who the caller is asks again, and lets the person edit then."""
        with self.visiting() as page:
            page.route("**/api/v1/whoami", answering(503, {"error": "The disk is full.", "code": "x"}), times=1)
            page.reload()
            self.shown(page.locator(".cm-content[aria-readonly=false]"))

    def test_countdown(self) -> None:
        """Without an answer, the bar says when the next attempt is due."""
        with self.visiting("overview") as page:
            page.route("**/api/v1/events*", lambda route: route.abort())
            page.reload()
            self.shown(page.locator("#connection").get_by_text(re.compile(r"^Unreachable, next attempt in \d+ s$")))
            self.shown(page.locator("#notice").get_by_text("The controller cannot be reached."))

    def test_namespace_is_gone(self) -> None:
        """A namespace that was retired is named, with a list of the others."""
        with self.visiting("overview") as page:
            self.shown(page.get_by_text("Live", exact=True))
            self.assertEqual(self.ask("DELETE", f"/api/v1/namespaces/{self.namespace}").status, 200)
            self.shown(page.locator("#notice").get_by_text(f"Namespace {self.namespace} does not exist"))
            page.locator("#notice").get_by_role("link", name="default").click()
            self.shown(page.get_by_text("Live", exact=True))
            self.assertTrue(page.url.endswith("#overview/default"))
            self.assertTrue(page.locator("#notice").is_hidden())


class EmptyTests(DashboardTestCase):
    """The fleet without rows."""

    def test_first_agent(self) -> None:
        """An empty namespace shows the command that starts an agent for it, until an agent comes."""
        with self.visiting("fleet") as page:
            command = f"confd-agent --controller-url {self.fleet.url} --namespace {self.namespace}"
            self.shown(page.locator("#agents code").get_by_text(command))
            page.get_by_role("button", name="Copy").click()
            self.shown(page.get_by_role("button", name=re.compile("Copied|Ctrl")))
            body = {"agent_id": f"{self.namespace}-x", "hostname": "first", "namespace": self.namespace}
            self.assertEqual(self.ask("POST", "/api/v1/register", body, AGENT).status, 200)
            self.shown(page.get_by_role("link", name="first"))
            page.get_by_label("Filter the agents").fill("no such agent")
            self.shown(page.get_by_text("Nothing matches."))
            page.get_by_role("button", name="Clear filters").click()
            self.shown(page.get_by_role("link", name="first"))

    def test_loading(self) -> None:
        """Until all agents are there, the fleet says so, in place of a wrong number."""
        with self.visiting("overview") as page:
            self.shown(page.get_by_text("Live", exact=True))
            waiting: list[Any] = []
            page.route("**/api/v1/agents?*", lambda route: waiting.append(route))
            page.get_by_role("link", name="Fleet").click()
            eventually(lambda: page.wait_for_timeout(20) or waiting)
            self.shown(page.get_by_text("Loading…"))
            agent = {"id": "1", "hostname": "one", "metadata": "", "labels": {}, "strategy": "", "state": "applied"}
            link = {"Link": f'<{self.fleet.url}/api/v1/agents?after=1>; rel="next"'}
            waiting.pop().fulfill(json=[agent], headers=link)
            self.shown(page.get_by_text("Loading 1"))
            eventually(lambda: page.wait_for_timeout(20) or waiting)
            waiting.pop().fulfill(json=[agent | {"id": "2", "hostname": "two"}])
            self.shown(page.get_by_text("2 agents"))

    def test_silent(self) -> None:
        """The overview counts silent agents as the fleet does, whatever they reported before, and leads to them."""
        with self.visiting("overview") as page:
            some = {"name": self.namespace, "version": 1, "agents": 5, "live_agents": 4}
            page.route("**/api/v1/namespaces", lambda route: route.fulfill(json=[some]))
            page.reload()
            page.get_by_role("link", name="1 agent is silent now").click()
            self.shown(page.get_by_role("heading", name="Fleet"))
            self.assertTrue(page.url.endswith(f"#fleet/{self.namespace}?state=silent"), page.url)
