"""The dashboard in a real browser, with real processes."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import frozen
from twisted.trial.itrial import ITestCase
from twisted.trial.runner import TestLoader
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.integration.accessibility import faults
from tests.integration.browser import MISSING, browser, visit, write_document
from tests.integration.fleet import ADMIN, AGENT, Fleet, eventually, free_port, hit, request, target
from tests.integration.launcher import fork

VIEWS = ("overview", "configuration", "history", "fleet", "freezes", "namespaces", "tokens", "audit")

#: A hostile name of a host.
HOSTILE = '<img src=x onerror="document.title=`taken`"><script>document.title=`taken`</script>\u202e' + "w" * 150
HARMLESS = HOSTILE.replace("\u202e", "\\u202e")


@frozen
class Stage:
    """A browser and a controller for tests of the dashboard."""

    browser: Any
    fleet: Fleet
    target: str


@contextmanager
def stage() -> Iterator[Stage]:
    """Yield a browser and a controller, which start at the same time."""
    with ExitStack() as stack:
        aim = stack.enter_context(target())
        fleet = Fleet(Path(stack.enter_context(TemporaryDirectory())), interval=60, launch=fork)
        stack.callback(fleet.close)
        controller = fleet.controller("--default-config", json.dumps({"url": f"{aim}/first"})).start(wait=False)
        chromium = stack.enter_context(browser())
        eventually(controller.up)
        yield Stage(chromium, fleet, aim)


@implementer(ITestCase)
@frozen(eq=False)
class Together:
    """
    Tests that share a stage, for its start takes longer than most of the tests. Each test has a namespace of its own.

    C{trial --jobs} spreads the tests of a suite over its processes. This is no suite but a test to trial, so that one
    process gets all of it by its id.

    @ivar module: The name of the module, which is the id.
    """

    module: str
    tests: tuple[Any, ...]
    failureException = AssertionError

    @classmethod
    def of(cls, module: str, *classes: type[SynchronousTestCase]) -> Together:
        """Return the tests of some classes of a module."""
        return cls(module, tuple(TestLoader().loadClass(each) for each in classes))

    def id(self) -> str:
        return self.module

    def shortDescription(self) -> str:
        return self.id()

    def countTestCases(self) -> int:
        return sum(each.countTestCases() for each in self.tests)

    def run(self, result: Any) -> None:
        """Run the tests. The first test that needs a stage sets it up."""
        with ExitStack() as stack:
            DashboardTestCase.shared = staticmethod(cache(lambda: stack.enter_context(stage())))
            stack.callback(setattr, DashboardTestCase, "shared", None)
            for each in self.tests:
                each(result)

    __call__ = run


def testSuite() -> Together:
    """Return the tests of the module, for trial."""
    return Together.of(__name__, ChangeTests, FleetTests, AppearanceTests)


class DashboardTestCase(SynchronousTestCase):
    """
    A test with a namespace of its own.

    @cvar shared: Returns the shared stage; C{None} if a test runs alone, with a stage of its own.
    """

    skip = MISSING
    shared: Any = None

    def setUp(self) -> None:
        stack = ExitStack()
        self.addCleanup(stack.close)
        found = self.shared() if self.shared else stack.enter_context(stage())
        self.browser, self.fleet, self.target = found.browser, found.fleet, found.target
        self.namespace = self._testMethodName.replace("_", "-")
        body = {"name": self.namespace, "config": self.document("first")}
        self.assertEqual(self.ask("POST", "/api/v1/namespaces", body).status, 201)

    def alone(self, *options: str) -> Fleet:
        """Return a fleet of this test alone."""
        fleet = Fleet(Path(self.mktemp()).resolve(), interval=60, launch=fork)
        fleet.folder.mkdir()
        self.addCleanup(fleet.close)
        fleet.controller(*options).start(wait=False)
        eventually(lambda: request("GET", f"{fleet.url}/health").status == 200)
        return fleet

    def ask(self, method: str, path: str, value: Any = None, auth: tuple[str, str] = ADMIN) -> Any:
        """Send a request without the browser."""
        return request(method, f"{self.fleet.url}{path}", value, auth)

    def config(self, method: str = "GET", value: Any = None, of: str = "") -> Any:
        """Send a request for the configuration of this test's namespace, or for a path below it."""
        return self.ask(method, f"/api/v1/config{of}?namespace={self.namespace}", value)

    def document(self, path: str) -> dict[str, Any]:
        """Return a document that names a page of the target."""
        return {"url": f"{self.target}/{path}"}

    def current(self) -> Any:
        """Return the current configuration."""
        return self.config().json()

    def publish(self, path: str) -> None:
        """Publish without the browser."""
        answer = self.config("POST", self.document(path))
        self.assertEqual(answer.status, 200, answer.body)

    @contextmanager
    def visiting(self, view: str = "configuration", **options: Any) -> Iterator[Any]:
        """Yield the page of a view; afterwards assert that the page caused no complaint."""
        with visit(self.browser, self.fleet.url, **options) as visiting:
            yield visiting.go(view, self.namespace)
            self.assertEqual(visiting.complaints, [])

    def signed_in(self, visiting: Any, credentials: Any) -> Any:
        """Return the page of the configuration after a sign-in without the form."""
        body = json.dumps(credentials)
        page = visiting.page
        page.goto(f"{self.fleet.url}/signin")
        page.evaluate(
            """(body) => fetch("signin", {method: "POST", headers: {"Content-Type": "application/json"}, body})""", body
        )
        visiting.go("configuration", self.namespace)
        self.shown(page.get_by_text("Live", exact=True))
        return page

    def two_keys(self, page: Any, keys: str) -> None:
        """Press two keys within the time in which the second one has to follow, however busy the machine is."""
        press = "(keys) => [...keys].forEach((key) => dispatchEvent(new KeyboardEvent('keydown', { key })))"
        page.evaluate(press, keys)

    def text(self, page: Any) -> str:
        """Return the text in the editor: the page has elements for the visible lines only."""
        page.locator(".cm-editor").wait_for()
        found: str = page.evaluate(
            """async () => {
                const { EditorView } = await import("/dashboard/codemirror.js");
                return EditorView.findFromDOM(document.querySelector(".cm-editor")).state.doc.toString();
            }"""
        )
        return found

    def shown(self, locator: Any) -> None:
        """Wait until an element is visible."""
        locator.first.wait_for(state="visible")


class ChangeTests(DashboardTestCase):
    """The way of a change from the editor to the worker and back."""

    def test_publish_and_roll_back(self) -> None:
        """A change is edited, reviewed, published with a comment, applied by a real agent, and rolled back."""
        worker = self.fleet.worker()
        options = ("--distribution-strategy", "STREAM", "--namespace", self.namespace)
        for process in (worker, self.fleet.agent(worker, "agent", *options)):
            self.addCleanup(process.stop)
            process.start()
        eventually(lambda: hit(worker) == "/first")
        with self.visiting() as page:
            write_document(page, json.dumps(self.document("second")))
            page.get_by_role("button", name="Review and publish").click()
            self.assertIn("/second", page.locator("dialog .added").first.inner_text())
            self.assertIn("/first", page.locator("dialog .removed").first.inner_text())
            self.shown(page.get_by_text("1 agent will receive it."))
            page.get_by_label("Comment").fill("A better page")
            page.get_by_role("button", name="Publish as version 2").click()
            page.get_by_role("link", name="Watch it arrive").click()
            self.shown(page.get_by_text("1 of 1 agent has version 2"))
            self.shown(page.locator("svg.chart"))
            self.shown(page.get_by_text("A better page"))
            eventually(lambda: hit(worker) == "/second")
            page.get_by_role("link", name="History").first.click()
            page.get_by_role("button", name="Roll back to version 1").click()
            page.get_by_role("button", name="Publish as version 3").click()
            self.shown(page.get_by_text("with the document of version 1"))
            eventually(lambda: hit(worker) == "/first")
            page.get_by_role("link", name="Audit").click()
            self.shown(page.get_by_role("rowheader", name="rolled back"))
        lines = self.config(of="/history").json()["items"]
        self.assertEqual([each.get("rollback_of") for each in lines], [1, None, None])
        self.assertEqual(lines[1]["comment"], "A better page")

    def test_page_of_a_version(self) -> None:
        """The page of a version has its facts, its document and what it changed; it is copied, saved and published."""
        self.publish("second")
        self.publish("third")
        with self.visiting("history") as page:
            page.get_by_role("link", name="2", exact=True).click()
            self.shown(page.get_by_role("heading", name="Changes since version 1"))
            self.shown(page.get_by_role("heading", name="Changes until the current version 3"))
            self.assertIn("/second", page.get_by_label("Document", exact=True).inner_text())
            with page.expect_download() as saving:
                page.get_by_role("button", name="Download").click()
            self.assertEqual(json.loads(Path(saving.value.path()).read_text("utf-8")), self.document("second"))
            page.get_by_role("button", name="Copy the document").click()
            self.shown(page.get_by_role("button", name=re.compile("Copied|Ctrl")))
            page.get_by_role("button", name="Roll back…").click()
            page.get_by_role("button", name="Publish as version 4").click()
            self.shown(page.get_by_text("Version 4 is published, with the document of version 2."))

    def test_undo(self) -> None:
        """Undo and redo go through typing, Format and Discard, one step each."""
        typed, laid_out = '{"url": "http://typed/"}', '{\n  "url": "http://typed/"\n}'
        with self.visiting() as page:
            self.shown(page.get_by_text("Valid JSON"))
            before = self.text(page)
            page.get_by_label("The document, as JSON").focus()
            page.keyboard.press("Control+a")
            page.keyboard.insert_text(typed)
            page.get_by_role("button", name="Format").click()
            self.assertEqual(self.text(page), laid_out)
            page.keyboard.press("Control+z")
            self.assertEqual(self.text(page), typed)
            page.keyboard.press("Control+z")
            self.assertEqual(self.text(page), before)
            page.keyboard.press("Control+Shift+z")
            page.keyboard.press("Control+y")
            self.assertEqual(self.text(page), laid_out)
            page.get_by_role("button", name="Discard changes").click()
            self.assertEqual(self.text(page), before)
            page.keyboard.press("Control+z")
            self.assertEqual(self.text(page), laid_out)
            page.keyboard.press("Control+End")
            page.keyboard.type("xyz")
            page.keyboard.press("Control+z")
            self.assertEqual(self.text(page), laid_out)

    def test_compare(self) -> None:
        """The page compares any two versions."""
        self.publish("second")
        self.publish("third")
        with self.visiting("history") as page:
            self.shown(page.get_by_role("button", name="Changes of version 3"))
            page.get_by_role("spinbutton", name="From version").fill("1")
            page.get_by_role("spinbutton", name="to version").fill("3")
            page.get_by_role("button", name="Compare").click()
            self.assertIn("/first", page.locator("dialog .removed").inner_text())
            self.assertIn("/third", page.locator("dialog .added").inner_text())

    def test_keyboard(self) -> None:
        """A user publishes without a mouse, and Tab leaves the editor."""
        with self.visiting() as page:
            write_document(page, "")
            page.evaluate("document.activeElement.blur()")
            for _ in range(40):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.classList.contains('cm-content')"):
                    break
            page.keyboard.type('{\n"url":')
            page.keyboard.press("Tab")
            page.keyboard.type(json.dumps(f"{self.target}/typed") + "}")
            self.assertIn('"url":  "', self.text(page))
            # Before, the link to the mistake is one more stop of Tab.
            self.shown(page.get_by_text("Valid JSON"))
            # The editor lets Tab go for two seconds after Escape; on a busy machine a later Tab adds two spaces.
            for _ in range(5):
                page.keyboard.press("Escape")
                page.keyboard.press("Tab")
                if not page.evaluate("document.activeElement.classList.contains('cm-content')"):
                    break
            self.assertEqual(page.evaluate("document.activeElement.textContent"), "Review and publish…")
            page.keyboard.press("Enter")
            self.shown(page.get_by_role("dialog"))
            page.keyboard.type("By hand")
            page.keyboard.press("Enter")
            self.shown(page.get_by_text("Version 2 is published."))
        self.assertEqual(self.current()["data"], self.document("typed"))

    def test_lost_race(self) -> None:
        """After the publish of another admin nothing is published, and the text is kept, over a reload too."""
        mine = json.dumps(self.document("mine"))
        with self.visiting() as page:
            page.route("**/api/v1/events*", lambda route: route.abort())
            page.reload()
            write_document(page, mine)
            self.publish("theirs")
            page.get_by_role("button", name="Review and publish").click()
            self.shown(page.get_by_text("Version 2 was published while you were editing version 1."))
            self.assertEqual(self.text(page), mine)
            page.reload()
            self.shown(page.get_by_text("Your text is kept"))
            self.assertEqual(self.text(page), mine)
            page.get_by_role("button", name="Look at version 2").click()
            self.assertIn("/theirs", page.locator("dialog .added").inner_text())
            page.keyboard.press("Escape")
            self.assertEqual(self.current()["version"], 2)
            page.get_by_role("button", name="Keep mine").click()
            page.get_by_role("button", name="Review and publish").click()
            page.get_by_role("button", name="Publish as version 3").click()
            self.shown(page.get_by_text("Version 3 is published."))
        self.assertEqual(self.current()["data"], self.document("mine"))

    def test_poll_interval(self) -> None:
        """It is shown, changed without the document, previewed, and named in the history."""
        with self.visiting() as page:
            field = page.get_by_label("Poll interval of the agents")
            eventually(lambda: field.input_value() == "60")
            field.fill("120")
            page.get_by_role("button", name="Review and publish").click()
            self.assertEqual(page.locator("dialog .added").inner_text().strip(), "+120 s")
            page.get_by_role("button", name="Publish as version 2").click()
            self.shown(page.get_by_text("Version 2 is published."))
            page.get_by_role("link", name="History").first.click()
            self.shown(page.get_by_text("poll interval 120 s"))
        self.assertEqual(self.current()["poll_interval_seconds"], 120)

    def test_unchanged(self) -> None:
        """A document that is current already is not published again."""
        with self.visiting() as page:
            write_document(page, json.dumps(self.document("first"), indent=4))
            page.get_by_role("button", name="Review and publish").click()
            self.shown(page.locator("#editor .problem").get_by_text("Nothing to publish: version 1 has this document"))
        self.assertEqual(self.current()["version"], 1)

    def test_bad_documents(self) -> None:
        """A text that is no JSON, breaks the schema, or is too large gives a sentence, and is kept."""
        large = json.dumps(self.document("large") | {"filling": "x" * 1100000})
        with self.visiting() as page:
            for text, sentence in (
                ('{\n  "url": "http://a",\n}', "Line 3, column 1: expected a name in double quotes."),
                ('{"url": 01}', "Line 1, column 9: expected a value."),
                ('{"URL": "http://a"}', '"url" is a required property'),
                (large, "too large|larger than|at most"),
            ):
                write_document(page, text)
                page.get_by_role("button", name="Review and publish").click()
                self.shown(page.locator("#editor .problem, #editor .wrong").filter(has_text=re.compile(sentence)))
                self.assertEqual(self.text(page), text)
        self.assertEqual(self.current()["version"], 1)

    def test_marks(self) -> None:
        """The editor marks what the controller would refuse, leads to it, completes names by the schema, and finds."""
        with self.visiting(width=320) as page:
            write_document(page, '{\n  "x": 1,\n  "x": 2,\n  "url": 7\n}')
            self.shown(page.get_by_text('The object has the name "x" twice.'))
            field = page.locator(".cm-content[aria-invalid=true]")
            self.assertIn("twice", page.locator(f"#{field.get_attribute('aria-errormessage')}").inner_text())
            page.get_by_role("button", name="Go to it").click()
            page.keyboard.insert_text('"y"')
            self.shown(page.get_by_text('/url: 7 is not of type "string".'))
            self.assertEqual(page.locator(".cm-lintRange-error").inner_text(), '"url"')
            write_document(page, "{}")
            page.keyboard.press("ArrowLeft")
            page.keyboard.type('"u')
            # The editor takes no Enter for an offer that has just opened; a click names the offer.
            page.get_by_role("option", name='"url"').click()
            self.assertEqual(self.text(page), '{"url"}')
            page.keyboard.press("Control+f")
            self.shown(page.get_by_label("Find", exact=True))
            self.assertEqual(faults(page, phone=False), [])

    def test_large_document(self) -> None:
        """A megabyte is edited at once: only visible lines have elements, and no key stroke parses the rest."""
        items = [{"name": f"item-{number}", "value": number} for number in range(24000)]
        self.assertEqual(self.config("POST", self.document("large") | {"items": items}).status, 200)
        with self.visiting() as page:
            self.shown(page.locator(".cm-content[aria-readonly=false]"))
            parsed = """async () => {
                const { EditorView, ensureSyntaxTree } = await import("/dashboard/codemirror.js");
                const { state } = EditorView.findFromDOM(document.querySelector(".cm-editor"));
                return ensureSyntaxTree(state, state.doc.length, 0) !== null;
            }"""
            eventually(lambda: page.evaluate(parsed))
            page.get_by_label("The document, as JSON").focus()
            page.keyboard.press("Control+End")
            page.keyboard.type(" ")
            self.assertTrue(page.evaluate(parsed))
            self.assertLess(page.locator(".cm-line").count(), 200)
            self.assertTrue(self.text(page).endswith("} "))
            self.shown(page.get_by_text("edited"))

    def test_numbers_keep_their_digits(self) -> None:
        """Numbers that JavaScript would round or rewrite are published as typed."""
        document = f'{{"url": "{self.target}/n", "exact": 1.0, "tiny": 1e-7, "text": "\\u00e9"}}'.encode()
        self.config("POST", document)
        with self.visiting() as page:
            self.shown(page.get_by_text("Valid JSON"))
            text = self.text(page)
        self.assertEqual(json.loads(text), json.loads(document))
        sent = self.config().body.decode()
        for each in ("exact", "tiny"):
            value = sent.partition(f'"{each}":')[2].strip().split(",")[0].split("}")[0]
            self.assertIn(f'"{each}": {value}', text)


class FleetTests(DashboardTestCase):
    """The view of the fleet."""

    def register(self, agent_id: str, **fields: str) -> None:
        """Register an agent."""
        body = {"agent_id": agent_id, "namespace": self.namespace} | fields
        self.assertEqual(self.ask("POST", "/api/v1/register", body, AGENT).status, 200)

    def test_hostile_texts(self) -> None:
        """The names of machines are text in every view."""
        self.register("evil", hostname=HOSTILE, metadata=HOSTILE)
        report = {"agent_id": "evil", "namespace": self.namespace, "version": 1, "state": "failed", "error": HOSTILE}
        self.assertEqual(self.ask("POST", "/api/v1/report", report, AGENT).status, 200)
        with self.visiting("overview") as page:
            self.shown(page.locator("#behind td").get_by_text(HARMLESS))
            right = page.locator("#behind td.long").evaluate("cell => cell.getBoundingClientRect().right")
            self.assertLess(right, 1280, "a long name took the place of what is wrong")
            page.get_by_role("link", name="Fleet").click()
            page.get_by_role("link", name=HARMLESS).click()
            self.shown(page.locator("dialog dd").get_by_text(HARMLESS))
            self.assertEqual(page.locator("img:not(.brand img), main script").count(), 0)
            self.assertEqual(page.title(), "Fleet · confd")

    def test_ten_thousand(self) -> None:
        """The view filters and sorts 10,000 agents, and the page has only the visible rows."""
        with self.visiting("audit") as page:
            page.route("**/api/v1/agents?*", _thousands)
            page.get_by_role("link", name="Fleet").click()
            self.shown(page.get_by_text("10,000 agents"))
            rows = page.locator(".canvas .row")
            self.assertLess(rows.count(), 60)
            page.get_by_label("Filter the agents").fill("region=eu host-99")
            self.shown(page.get_by_text("56 of 10,000 agents"))
            page.get_by_label("Filter the agents").fill("")
            page.get_by_role("button", name="failed", exact=False).first.click()
            self.shown(page.get_by_text("1,000 of 10,000 agents"))
            page.get_by_role("columnheader", name="Host").get_by_role("button").click()
            self.shown(page.get_by_role("link", name="host-9990"))
            page.get_by_label("Agents; scroll").focus()
            page.keyboard.press("End")
            self.shown(page.get_by_role("link", name="host-0", exact=True))
            self.assertLess(rows.count(), 60)

    def test_selector_of_labels(self) -> None:
        """The controller selects; an agent that starts to match appears, and an error names its column."""
        for number in range(4):
            self.register(f"s{number}", hostname=f"host-{number}", metadata=f"region={('eu', 'us')[number % 2]}")
        with self.visiting("fleet") as page:
            self.shown(page.get_by_text("4 agents"))
            selector = page.get_by_label("Selector of labels")
            selector.fill("region in (eu)")
            selector.press("Enter")
            self.shown(page.get_by_text("2 agents"))
            self.shown(page.get_by_role("link", name="host-2"))
            self.assertEqual(page.get_by_role("link", name="host-1").count(), 0)
            answer = self.ask("POST", "/api/v1/agents/s1/labels", {"region": "eu"})
            self.assertEqual(answer.status, 200)
            self.shown(page.get_by_text("3 agents"))
            page.get_by_role("link", name="host-1").click()
            self.shown(page.locator("dialog dd").get_by_text("region=eu", exact=False).first)
            page.get_by_role("button", name="Close").click()
            selector.fill("region in eu")
            selector.press("Enter")
            self.shown(page.get_by_text("wrong at column 11", exact=False))
            selector.fill("")
            selector.press("Enter")
            self.shown(page.get_by_text("4 agents"))

    def test_address(self) -> None:
        """Numbers lead to agents; the address keeps filters; groups count and narrow; files hold the shown agents."""
        for number in range(5):
            labels = f"region={('eu', 'us')[number % 2]}"
            self.register(f"w{number}", hostname=f"=web-{number}", metadata=labels)
            state = {"state": "failed", "error": "no"} if number == 4 else {"state": "applied"}
            report = {"agent_id": f"w{number}", "namespace": self.namespace, "version": 1} | state
            self.assertEqual(self.ask("POST", "/api/v1/report", report, AGENT).status, 200)
        with self.visiting("overview") as page:
            page.get_by_role("link", name="applied 4").click()
            self.shown(page.locator("#agents header").get_by_text("4 of 5 agents"))
            page.get_by_label("Count by").select_option("region")
            page.get_by_role("button", name="us 2").click()
            self.shown(page.get_by_text("2 of 5 agents"))
            page.reload()
            self.shown(page.get_by_text("2 of 5 agents"))
            self.assertTrue(page.url.endswith("?version=1&by=region&is=us"), page.url)
            page.get_by_label("Last column").select_option("region")
            self.shown(page.get_by_role("columnheader", name="region"))
            self.assertEqual(page.locator(".canvas .of-metadata").all_inner_texts(), ["us", "us"])
            self.assertTrue(page.url.endswith("&is=us&label=region"), page.url)
            with page.expect_download() as saving:
                page.get_by_role("button", name="Save as CSV").click()
            lines = Path(saving.value.path()).read_text("utf-8").splitlines()
            self.assertEqual([line.split(",")[:2] for line in lines[1:]], [[f"w{n}", f"'=web-{n}"] for n in (1, 3)])
            page.get_by_role("link", name="=web-3").click()
            self.shown(page.get_by_role("dialog").get_by_text("w3", exact=False))
            page.get_by_label("key=value sets it").fill("region=eu")
            page.get_by_role("button", name="Set label").click()
            self.shown(page.locator("dialog dd").get_by_text("region=eu", exact=False))
            page.go_back()
            self.shown(page.get_by_text("1 of 5 agents"))
            self.assertEqual(page.get_by_role("dialog").count(), 0)
            page.goto(f"{self.fleet.url}/#fleet/{self.namespace}?agent=w1")
            page.get_by_role("button", name="Forget…").click()
            page.get_by_role("button", name="Forget agent").click()
            self.shown(page.get_by_text("4 agents"))
            self.assertTrue(page.url.endswith(f"#fleet/{self.namespace}"), page.url)

    def test_live(self) -> None:
        """A new agent appears by itself; the page shows a lost connection, and reconnects."""
        self.fleet = self.alone()
        self.namespace = "default"
        with self.visiting("fleet") as page:
            self.shown(page.get_by_text("Live", exact=True))
            self.register("late", hostname="late.example.net")
            self.shown(page.get_by_role("link", name="late.example.net"))
            controller = self.fleet.processes[0]
            controller.stop()
            self.shown(page.get_by_text(re.compile("^Unreachable")))
            controller.start()
            self.shown(page.get_by_text("Live", exact=True))


class AppearanceTests(DashboardTestCase):
    """Access to the page, and its look."""

    def test_sign_in(self) -> None:
        """Without credentials, with wrong ones, or with those of an agent, the page shows nothing."""
        for auth, status in ((None, 401), (("admin", "wrong"), 401), (AGENT, 403), (ADMIN, 200)):
            for path in ("/", "/dashboard/app.js", "/dashboard/editor.js"):
                self.assertEqual(request("GET", f"{self.fleet.url}{path}", auth=auth).status, status)
        policy = self.ask("GET", "/").headers["content-security-policy"]
        self.assertIn("default-src 'self'", policy)
        self.assertNotIn("unsafe", policy)

    def test_sign_in_page(self) -> None:
        """A person without a session signs in, keeps the view that the address names, sees the name, and signs out."""
        with visit(self.browser, self.fleet.url, extra_http_headers={}) as visiting:
            page = visiting.go("fleet", self.namespace)
            page.get_by_label("User name").fill(ADMIN[0])
            page.get_by_label("Password").fill("wrong")
            page.keyboard.press("Enter")
            self.shown(page.get_by_role("alert").get_by_text("The user name or the password is wrong."))
            self.assertTrue(page.evaluate("document.activeElement.name") == "password")
            page.keyboard.type(ADMIN[1])
            page.keyboard.press("Enter")
            self.shown(page.get_by_text("Live", exact=True))
            self.assertTrue(page.url.endswith(f"/#fleet/{self.namespace}"))
            page.locator("summary").get_by_text(ADMIN[0]).click()
            self.shown(page.get_by_text("admin in every namespace"))
            self.shown(page.get_by_text("Signed in until"))
            [cookie] = page.context.cookies()
            self.assertEqual(
                (cookie["name"], cookie["httpOnly"], cookie["sameSite"]), ("confd_session", True, "Strict")
            )
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_url("**/signin")
            self.assertEqual(page.context.cookies(), [])
            self.assertEqual(visiting.complaints, [])

    def test_session_that_ends(self) -> None:
        """The page says that the session is over, keeps the text, and leads to the page on which people sign in."""
        with visit(self.browser, self.fleet.url, extra_http_headers={}) as visiting:
            page = self.signed_in(visiting, {"username": ADMIN[0], "password": ADMIN[1]})
            write_document(page, '{"url": "http://kept"}')
            page.context.clear_cookies()
            page.evaluate("dispatchEvent(new Event('pagehide'))")
            page.reload()
            page.wait_for_url("**/signin#**")
            page.goto(f"{self.fleet.url}/signin#configuration/{self.namespace}")
            self.signed_in(visiting, {"username": ADMIN[0], "password": ADMIN[1]})
            eventually(lambda: "http://kept" in self.text(page))

    def test_reader(self) -> None:
        """A person sees only what the grants of the token allow, and begins in a namespace of the grants."""
        grants = [{"role": "viewer", "namespaces": [self.namespace]}]
        made = self.ask("POST", "/api/v1/tokens", {"name": "reader", "grants": grants}).json()
        with visit(self.browser, self.fleet.url, extra_http_headers={}) as visiting:
            page = visiting.page
            page.goto(f"{self.fleet.url}/")
            page.get_by_text("Sign in with a token", exact=True).click()
            page.get_by_label("Token").fill(made["token"])
            page.get_by_role("button", name="Sign in with the token").click()
            self.shown(page.get_by_text("Live", exact=True))
            self.assertTrue(page.url.endswith(f"#overview/{self.namespace}"))
            page.get_by_role("link", name="Configuration").click()
            self.shown(page.get_by_text("You may read this configuration"))
            self.assertFalse(page.get_by_role("button", name="Review and publish").is_visible())
            self.assertFalse(page.get_by_label("The document, as JSON").is_editable())
            page.locator("summary").get_by_text("reader").click()
            self.shown(page.get_by_text(f"viewer in {self.namespace}"))
            self.assertEqual(self.ask("DELETE", f"/api/v1/tokens/{made['id']}").status, 200)
            self.shown(page.locator("#notice").get_by_role("link", name="Sign in again"))

    def test_approver(self) -> None:
        """An approver reads the diff of a change and approves it; the page follows, and offers nothing else."""
        grants = [{"role": "approver", "namespaces": [self.namespace]}]
        made = self.ask("POST", "/api/v1/tokens", {"name": "ann", "grants": grants}).json()
        policy = self.ask("POST", f"/api/v1/namespaces/{self.namespace}/policy", {"approvals": 1})
        self.assertEqual(policy.status, 200)
        with visit(self.browser, self.fleet.url, extra_http_headers={}) as visiting:
            page = self.signed_in(visiting, {"token": made["token"]})
            page.get_by_role("link", name="Changes").click()
            self.shown(page.get_by_text("No change waits."))
            body = {"config": self.document("second"), "comment": "the second"}
            change = self.ask("POST", f"/api/v1/changes?namespace={self.namespace}", body).json()
            page.get_by_role("button", name=f"Read change {change['id']}").click()
            self.shown(page.locator("pre.diff").get_by_text("second"))
            buttons = [each for each in page.locator("dialog footer button").all() if each.is_visible()]
            self.assertEqual([each.inner_text() for each in buttons], ["Close", "Reject", "Approve"])
            comment = page.get_by_label("Comment, for the author")
            page.get_by_role("button", name="Reject").click()
            self.assertIn("Say why", comment.evaluate("(field) => field.validationMessage"))
            comment.fill("too early")
            page.get_by_role("button", name="Reject").click()
            self.shown(page.get_by_text(f"Change {change['id']} is rejected."))
            change = self.ask("POST", f"/api/v1/changes?namespace={self.namespace}", body).json()
            page.get_by_role("button", name=f"Read change {change['id']}").click()
            page.get_by_role("button", name="Approve").click()
            self.shown(page.get_by_text(f"Change {change['id']} is approved."))
            self.shown(page.get_by_text("1 of 1: ann"))
        with self.visiting("changes") as page:
            page.get_by_role("button", name=f"Read change {change['id']}").click()
            page.get_by_role("button", name="Apply now").click()
            self.shown(page.get_by_text("is published as version 2"))
            self.shown(page.get_by_text("No change waits."))
            page.get_by_role("link", name="History").click()
            self.shown(page.get_by_text(f"change {change['id']}, approved by ann"))

    def test_help(self) -> None:
        """Keys lead to views and to the filter unless a person turns them off; a theme outlives a reload."""
        background = "getComputedStyle(document.documentElement).backgroundColor"
        with self.visiting("overview") as page:
            self.shown(page.get_by_text("Live", exact=True))
            self.two_keys(page, "ga")
            self.shown(page.get_by_role("heading", name="Audit"))
            page.keyboard.press("/")
            page.keyboard.type("g o no such entry")
            self.shown(page.get_by_text(re.compile("^0 of ")))
            page.evaluate("document.activeElement.blur()")
            page.keyboard.press("?")
            page.get_by_label("Theme").select_option("dark")
            self.assertEqual(page.evaluate(background), "rgb(16, 22, 21)")
            page.get_by_label("Listen for these keys").uncheck()
            page.keyboard.press("Escape")
            page.reload()
            self.shown(page.get_by_role("heading", name="Audit"))
            self.assertEqual(page.evaluate(background), "rgb(16, 22, 21)")
            self.two_keys(page, "go")
            self.assertIn("#audit/", page.url)

    def test_palette(self) -> None:
        """The palette leads to views, namespaces, versions and agents by keyboard alone, and keeps to the grants."""
        with self.visiting("overview") as page:
            self.shown(page.get_by_text("Live", exact=True))
            for typed, end in (
                ("toke", f"#tokens/{self.namespace}"),
                ("switch default", "#tokens/default"),
                ("1", "#version/default?number=1"),
                ("no such agent", "#fleet/default?q=no+such+agent"),
            ):
                page.keyboard.press("Control+k")
                self.shown(page.get_by_role("option", name="Show Overview"))
                page.keyboard.type(typed)
                eventually(lambda: page.locator(".palette li").count() < 4)
                page.keyboard.press("Enter")
                eventually(lambda end=end: page.url.endswith(end))
            page.keyboard.press("Control+k")
            page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowUp")
            page.keyboard.press("Enter")
            self.shown(page.get_by_role("heading", name="Configuration"))
            page.evaluate("document.body.dataset.may = 'config.read'")
            page.keyboard.press("Control+k")
            page.keyboard.type("show tokens")
            self.assertEqual(page.locator(".palette li").all_inner_texts(), ["Find agents with “show tokens”"])
            page.keyboard.press("Escape")

    def test_time_zone(self) -> None:
        """Times are those of the browser, or UTC, on the page and in its forms, over a reload, too."""
        freeze = {"namespaces": [self.namespace], "until": "2026-12-24T22:30:00Z", "reason": "holidays"}
        with self.visiting("freezes", timezone_id="Asia/Tokyo") as page:
            route = "**/api/v1/freezes"
            shown = freeze | {"id": 1, "active": True, "next_from": None, "next_until": freeze["until"], "weekly": None}
            shown |= {"created_by": "ann", "created_at": "2026-11-24T12:00:00Z"}
            page.route(route, lambda each: each.fulfill(json={"items": [shown]}))
            page.reload()
            self.shown(page.get_by_text("until Dec 25, 2026, 7:30:00"))
            page.locator("summary").get_by_text("Help").click()
            page.get_by_label("Times").select_option("UTC")
            self.shown(page.get_by_text(re.compile(r"until Dec 24, 2026, 10:30:00.PM UTC")))
            page.reload()
            self.shown(page.get_by_text(re.compile(r"until Dec 24, 2026, 10:30:00.PM UTC")))
            page.get_by_role("button", name="New freeze…").click()
            self.shown(page.get_by_text("In the time of UTC."))

    def test_narrow(self) -> None:
        """On 360 pixels nothing overflows, in either theme."""
        for scheme in ("light", "dark"):
            with self.visiting("overview", width=360, height=740, color_scheme=scheme) as page:
                for view in VIEWS:
                    page.get_by_role("navigation").get_by_role("link", name=view.title()).click()
                    self.shown(page.locator(f"#view-{view}"))
                    self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360, view)
                    box = page.locator("nav a[aria-current]").bounding_box()
                    self.assertLessEqual(box["x"] + box["width"], 360, view)

    def test_phone(self) -> None:
        """Targets are large enough for a finger, errors are readable, and lists are tables for a screen reader."""
        error = "The worker answered 422: /features/preview is not known here."
        body = {"agent_id": f"{self.namespace}-a", "namespace": self.namespace, "hostname": "phone-test"}
        self.assertEqual(self.ask("POST", "/api/v1/register", body, AGENT).status, 200)
        report = {"agent_id": body["agent_id"], "namespace": self.namespace, "version": 1, "state": "failed"}
        self.assertEqual(self.ask("POST", "/api/v1/report", report | {"error": error}, AGENT).status, 200)
        with self.visiting("fleet", width=320, height=740) as page:
            shown = page.locator(".canvas .of-error").get_by_text(error)
            self.shown(shown)
            for size in page.locator("nav a, #agents .chip:not([hidden])").evaluate_all(
                "all => all.map((each) => each.offsetHeight)"
            ):
                self.assertGreaterEqual(size, 44)
            box = shown.bounding_box()
            self.assertGreater(box["height"], 20, "the error has one line only")
            self.assertLessEqual(box["x"] + box["width"], 320)
            page.get_by_role("link", name="History").click()
            self.shown(page.get_by_role("row").get_by_role("rowheader", name="version 1"))
            self.assertEqual(page.locator("#announced").inner_text(), f"History of {self.namespace}")

    def test_browser_that_hangs(self) -> None:
        """A call without an answer fails its test, and the next test has another browser."""
        with (
            self.assertRaisesRegex(AssertionError, "the browser did not answer within 1 s, and was killed"),
            visit(self.browser, self.fleet.url, seconds=1) as visiting,
        ):
            visiting.page.evaluate("() => new Promise(() => {})")
        with self.visiting("audit") as page:
            self.shown(page.get_by_role("heading", name="Audit"))

    def test_health_follows_the_connection(self) -> None:
        """The page counts a reader, and shows the loss of the controller before its next request is due."""
        self.fleet = self.alone()
        self.namespace = "default"
        with self.visiting("audit") as page:
            page.clock.install()
            page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
            page.goto(f"{self.fleet.url}/#overview/default")
            page.reload()
            watching = page.locator("#health li").filter(has_text="People watching: 1")
            # Figures are up to a second old, so a second look comes later by the clock of the page.
            eventually(lambda: page.clock.run_for(200) or watching.count() == 1)
            self.fleet.processes[0].stop()
            self.shown(page.locator("#health .problem"))

    def test_broken_broker(self) -> None:
        """The page names the broker in trouble, with the error of the controller."""
        self.fleet = self.alone("--distribution-strategy", "REDIS", "--redis-address", f"127.0.0.1:{free_port()}")
        self.namespace = "default"
        # Without a publish the controller announces nothing, and does not miss the broker.
        self.assertEqual(self.config("POST", self.document("first")).status, 200)
        with self.visiting("overview") as page:
            self.shown(page.locator("#health li").filter(has_text=re.compile("REDIS.*not ready", re.IGNORECASE)))
            self.shown(page.locator("#health li").filter(has_text="store: ready"))

    def test_namespaces(self) -> None:
        """A namespace is part of the address, and an unknown namespace gives a sentence."""
        body = {"name": "edge", "config": self.document("edge")}
        self.assertEqual(self.ask("POST", "/api/v1/namespaces", body).status, 201)
        with self.visiting() as page:
            page.get_by_role("combobox", name="Namespace").select_option("edge")
            eventually(lambda: "/edge" in self.text(page))
            self.assertTrue(page.url.endswith("#configuration/edge"))
            page.get_by_role("link", name="Overview").click()
            self.shown(page.get_by_text("Version 1 is current; no agent follows this namespace yet."))
            page.goto(f"{self.fleet.url}/#overview/nowhere")
            self.shown(page.get_by_text("Namespace nowhere does not exist"))
            self.assertEqual(self.ask("POST", "/api/v1/namespaces", body | {"name": "made-elsewhere"}).status, 201)
            page.get_by_role("combobox", name="Namespace").focus()
            eventually(lambda: page.locator("#namespaces option[value=made-elsewhere]").count() == 1)

    def test_json(self) -> None:
        """The editor accepts the JSON of RFC 8259, and rejects many texts that are nearly right."""
        dice = random.Random(20)
        whole = '{"a": [1, -0.5e+3, {}, [], {"b": null, "c\\u00e9\\n": [true, false]}], "": " \\" "}'
        texts = [whole]
        for _ in range(3000):
            text = list(whole)
            for _ in range(dice.randrange(1, 3)):
                at = dice.randrange(len(text))
                text[at : at + dice.randrange(2)] = dice.choice([*'01,]}["-e :', ""])
            texts.append("".join(text))
        with self.visiting() as page:
            laid_out = page.evaluate(
                """async (texts) => {
                    const { pretty } = await import("/dashboard/json.js");
                    return texts.map((text) => { try { return pretty(text); } catch { return null; } });
                }""",
                texts,
            )
            sliced = page.evaluate(
                """async (texts) => {
                    const { mistakes, mistakesInSlices } = await import("/dashboard/check.js");
                    const large = `[${"1,".repeat(300000)}1]`;
                    const same = async (text) =>
                        JSON.stringify(mistakes(text)) === JSON.stringify(await mistakesInSlices(text, () => false));
                    const found = await Promise.all(texts.map(same));
                    return [found.every(Boolean), await same(large), await mistakesInSlices(large, () => true)];
                }""",
                texts[:300],
            )
        self.assertEqual(sliced, [True, True, None])
        self.assertIn(None, laid_out)
        self.assertGreater(len([each for each in laid_out if each is not None]), 100)
        for text, shown in zip(texts, laid_out, strict=True):
            try:
                value = json.loads(text)
            except ValueError:
                self.assertIsNone(shown, text)
            else:
                self.assertEqual(json.loads(shown), value, text)

    def test_retry_after(self) -> None:
        """A read respects Retry-After; a change does not wait."""
        with self.visiting() as page:
            # A page without live events: a timer of theirs that ends at once would begin the next one, and so on.
            page.goto(f"{self.fleet.url}/signin")
            seen = page.evaluate(
                """async () => {
                    const { Api } = await import("/dashboard/api.js");
                    const answers = [], asked = [], waited = [];
                    window.fetch = async (url) => { asked.push(url); return answers.shift(); };
                    window.setTimeout = (call, pause) => { waited.push(pause); queueMicrotask(call); return 0; };
                    const api = new Api("x"), found = [];
                    const date = { "Date": "Sun, 29 Nov 2026 08:00:00 GMT" };
                    const ask = async (path, status, after, more = {}, options = {}) => {
                        const headers = after ? { "Retry-After": after, ...more } : more;
                        answers.push(new Response("{}", { status, headers }));
                        waited.length = asked.length = 0;
                        await api.send(path, options).catch((error) => error);
                        found.push([asked.length, ...waited.map((each) => each / 1000)]);
                        answers.length = 0;
                    };
                    await ask("/a", 503, "soon");
                    await ask("/a", 503, "-5");
                    await ask("/a", 500, "50");
                    await ask("/a", 503, "60");
                    await ask("/b", 200);
                    await ask("/a?query", 503, "Sun, 29 Nov 2026 08:01:40 GMT", date);
                    await ask("/a", 200);
                    await ask("/b", 429, "99999999999999999999");
                    await ask("/c", 200);
                    await ask("/d", 200, "", {}, { method: "POST" });
                    await ask("/e", 200, "", {}, { signal: AbortSignal.abort() });
                    return found;
                }"""
            )
        self.assertEqual([*seen[:5], seen[7]], [[1]] * 6, seen)
        for (asked, waited), seconds in ((seen[5], 60), (seen[6], 100), (seen[8], 300)):
            self.assertEqual(asked, 1)
            self.assertTrue(seconds - 10 < waited <= seconds * 1.25, seen)
        self.assertEqual(seen[9], [0], "a change does not wait")
        self.assertEqual(seen[10][0], 0, "an aborted request is not sent")

    def test_other_site(self) -> None:
        """Forms and fetches of another site in the browser of an admin change nothing."""
        with elsewhere(self.fleet.url, self.namespace) as site, visit(self.browser, site) as visiting:
            answers: list[tuple[str, int, bool]] = []
            mine = urlsplit(self.fleet.url).netloc
            page = visiting.page
            page.on("response", lambda each: answers.append((each.request.method, each.status, mine in each.url)))
            # The admin signs in, so that the browser has credentials to send.
            page.goto(f"{self.fleet.url}/")
            page.goto(site)
            eventually(lambda: page.title() == "tried")
            page.get_by_role("button").click()
            page.wait_for_url(f"{self.fleet.url}/**")
        refused = [status for method, status, ours in answers if ours and method != "GET"]
        # The browser sends the credentials with the form, and withholds them from the fetches.
        self.assertIn(403, refused)
        self.assertGreaterEqual({401, 403, 405}, set(refused))
        self.assertEqual(self.current()["version"], 1)


def _thousands(route: Any) -> None:
    """Answer with 10 000 agents, a page at a time, as the controller does."""
    query = parse_qs(urlsplit(route.request.url).query)
    first = int(query.get("after", ["-1"])[0]) + 1
    page = [_agent(number) for number in range(first, first + 500)]
    last = first + len(page)
    rest = f'</api/v1/agents?limit=500&after={last - 1}>; rel="next"'
    route.fulfill(json=page, headers={} if last == 10000 else {"Link": rest})


def _agent(number: int) -> dict[str, Any]:
    state = "failed" if number % 10 == 0 else "applied"
    moment = "2026-11-24T12:00:00Z"
    return {
        "id": f"{number:05d}",
        "hostname": f"host-{number}",
        "metadata": f"region={'eu' if number % 2 else 'us'}",
        "labels": {"id": f"{number:05d}", "hostname": f"host-{number}", "strategy": "STREAM"},
        "strategy": "STREAM",
        "state": state,
        "applied_version": 7,
        "error": "refused" if state == "failed" else None,
        "last_poll": moment,
        "reported_at": moment,
    }


@contextmanager
def elsewhere(url: str, namespace: str) -> Iterator[str]:
    """Run another site, whose page sends every kind of request; yield its address."""
    aim = f"{url}/api/v1/config?namespace={namespace}"
    page = f"""<!doctype html><form method="post" enctype="text/plain" action="{aim}">
<input name='{{"url": "http://evil/' value='"}}'><button>Win</button></form><script>
const body = JSON.stringify({{url: "http://evil/"}});
const types = ["text/plain", "application/json"];
const tries = types.flatMap((type) => ["no-cors", "cors"].map((mode) =>
  fetch("{aim}", {{method: "POST", mode, credentials: "include", headers: {{"Content-Type": type}}, body}})));
Promise.allSettled(tries).then(() => document.title = "tried");
</script>""".encode()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
