"""Rollouts on the dashboard, in a real browser before a real controller."""

from __future__ import annotations

import json
import re
from typing import Any
from unittest import skipUnless

from tests.budgets import budget
from tests.integration.accessibility import faults
from tests.integration.browser import write_document
from tests.integration.first_minutes import ROOT, shop, walk
from tests.integration.fleet import AGENT, eventually
from tests.integration.test_dashboard import VIEWS, DashboardTestCase, Together

#: Pairs of a theme and a width in pixels.
LOOKS = budget(
    [("light", 1280), ("dark", 320)], [(scheme, width) for scheme in ("light", "dark") for width in (320, 390, 1280)]
)

#: The looks in which the forms are measured, too.
THOROUGH = budget(LOOKS[-1:], LOOKS)

#: A button that opens a form, by its view.
FORMS = {"tokens": "New token…", "freezes": "New freeze…", "namespaces": "Policy of"}


def testSuite() -> Together:
    """Return the tests of the module, for trial."""
    return Together.of(__name__, RolloutTests)


class RolloutTests(DashboardTestCase):
    """The strip of a rollout, and the dialogs that start and steer it."""

    def setUp(self) -> None:
        super().setUp()
        self.ids = [f"{self.namespace}-{number}" for number in range(4)]
        self.sequence = 0
        for agent_id in self.ids:
            body = {"agent_id": agent_id, "namespace": self.namespace, "hostname": f"host-of-{agent_id}"}
            self.assertEqual(self.ask("POST", "/api/v1/register", body, AGENT).status, 200)
            self.report(agent_id, 1)

    def report(self, agent_id: str, version: int, state: str = "applied", error: str = "") -> None:
        """Report as an agent."""
        self.sequence += 1
        body = {"agent_id": agent_id, "namespace": self.namespace, "version": version, "state": state, "error": error}
        answer = self.ask("POST", "/api/v1/report", body | {"session": "s", "sequence": self.sequence}, AGENT)
        self.assertEqual(answer.status, 200, answer.body)

    def start(self, plan: dict[str, Any]) -> int:
        """Start a rollout past the browser; return its id."""
        body = {"config": self.document("second"), "plan": {"bake": 3000, "patience": 9000, **plan}}
        answer = self.ask("POST", f"/api/v1/rollouts?namespace={self.namespace}", body)
        self.assertEqual(answer.status, 202, answer.body)
        number: int = answer.json()["rollout"]["id"]
        return number

    def verb(self, number: int, name: str, **body: Any) -> None:
        """Steer a rollout past the browser."""
        self.assertEqual(self.ask("POST", f"/api/v1/rollouts/{number}/{name}", body).status, 200)

    def members(self, number: int) -> list[str]:
        """Return the ids of the members of a rollout."""
        return [each["id"] for each in self.ask("GET", f"/api/v1/rollouts/{number}/agents").json()["items"]]

    def test_from_the_dialog_to_the_end(self) -> None:
        """The plan is chosen and its waves are shown; then the strip follows, and its buttons work by keyboard."""
        with self.visiting() as page:
            write_document(page, json.dumps(self.document("second")))
            page.get_by_role("button", name="Review and publish").click()
            page.get_by_label("Deliver").select_option("careful")
            self.shown(page.locator("dialog .plan li").get_by_text("All agents"))
            self.shown(page.locator("dialog .plan li").get_by_text(re.compile("^1 agent: ")))
            page.get_by_role("button", name="Start the rollout of version 2").click()
            page.get_by_role("link", name="Watch it").click()
            strip = page.locator("#rollout")
            self.shown(strip.get_by_text(re.compile("is in wave 1 of 4")))
            number = int(strip.locator("h2").inner_text().split()[-1])
            self.assertEqual(strip.locator("li[aria-current=step] p").first.inner_text(), "Wave 1 · 1 agent")
            (member,) = self.members(number)
            self.report(member, 2, "failed", "the worker said no")
            self.shown(strip.get_by_text(re.compile("was aborted in wave 1 of 4: too many members failed")))
            strip.get_by_role("button", name="failed").click()
            self.shown(page.locator("dialog td").get_by_text("the worker said no"))
            page.keyboard.press("Escape")
            self.shown(
                strip.get_by_text("Version 3, with the document of version 1, is current; 0 of 1 member have it.")
            )
            self.report(member, 3)
            self.shown(strip.get_by_text("1 of 1 member has it."))
            strip.get_by_role("button", name="Close").click()
            self.assertTrue(strip.is_hidden())
            page.get_by_role("link", name="History").first.click()
            self.shown(page.get_by_text(f"dropped, rollout {number}"))
            self.assertEqual(page.locator("tr", has_text="current").locator("th").inner_text(), "3")

    def test_buttons(self) -> None:
        """A person steers by keyboard alone; events do not take the focus away."""
        number = self.start({"waves": [{"count": 1}, {"count": 2}]})
        with self.visiting("overview") as page:
            strip = page.locator("#rollout")
            strip.get_by_role("button", name="Pause").focus()
            page.keyboard.press("Enter")
            self.shown(strip.get_by_text(re.compile("is paused in wave 1 of 3: a person asked for it")))
            self.assertEqual(page.evaluate("document.activeElement.textContent"), "Resume")
            page.keyboard.press("Enter")
            self.shown(strip.get_by_text(re.compile("is in wave 1 of 3")))
            self.assertEqual(page.evaluate("document.activeElement.textContent"), "Pause")
            self.report(self.members(number)[0], 2)
            self.shown(strip.get_by_role("button", name="applied 1"))
            self.assertEqual(page.evaluate("document.activeElement.textContent"), "Pause")
            self.shown(page.locator("#convergence").get_by_text("1 member of rollout"))
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            page.keyboard.type("It looks good")
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("ArrowDown")
            page.keyboard.press("Enter")
            self.shown(strip.get_by_text(re.compile("is in the last wave")))
            self.assertEqual(strip.get_by_role("button", name="Promote…").count(), 0)
            for agent_id in self.ids:
                self.report(agent_id, 2)
            self.shown(strip.get_by_role("button", name="applied 4"))
        detail = self.ask("GET", "/api/v1/audit?limit=1").json()["items"][0]["detail"]
        self.assertIn("It looks good", detail)
        self.verb(number, "abort")

    def test_stale_click(self) -> None:
        """A click on an old state of a rollout changes nothing, and the page shows the current state."""
        number = self.start({"waves": [{"count": 1}, {"count": 2}]})
        with self.visiting("overview") as page:
            strip = page.locator("#rollout")
            strip.get_by_role("button", name="Abort…").click()
            self.verb(number, "pause")
            page.get_by_role("button", name="Abort the rollout").click()
            said = f"Nothing was done: meanwhile rollout {number} is paused in wave 1 of 3: a person asked for it."
            self.shown(strip.get_by_text(said))
            strip.get_by_role("button", name="Promote…").click()
            self.verb(number, "abort")
            page.get_by_role("button", name="Promote", exact=True).click()
            self.shown(strip.get_by_text(f"Nothing was done: meanwhile rollout {number} was aborted in wave 1 of 3"))

    def test_publish_during_a_rollout(self) -> None:
        """A publish ends the rollout, and the dialog says so before."""
        self.start({"waves": [{"count": 1}]})
        with self.visiting(width=320, height=700) as page:
            write_document(page, json.dumps(self.document("urgent")))
            page.get_by_role("button", name="Review and publish").click()
            self.shown(page.locator("dialog").get_by_text("A rollout is open. This publish ends it"))
            page.get_by_role("button", name="End the rollout and publish version 3").click()
            self.shown(page.get_by_text("Version 3 is published."))
        self.assertEqual(self.current()["data"], self.document("urgent"))

    def test_narrow(self) -> None:
        """On 320 pixels nothing of the strip or its dialogs sticks out, in either theme."""
        number = self.start({"waves": [{"count": 1, "select": "hostname!=x"}, {"count": 2}, {"percent": 90}]})
        for scheme in ("light", "dark"):
            with self.visiting("overview", width=320, height=740, color_scheme=scheme) as page:
                self.shown(page.locator("#rollout .wave.later"))
                self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 320)
                for name in ("pending", "Promote…", "Abort…"):
                    page.locator("#rollout").get_by_role("button", name=name).click()
                    box = page.locator("dialog").bounding_box()
                    self.assertLessEqual(box["x"] + box["width"], 320, name)
                    page.keyboard.press("Escape")
                    eventually(lambda: page.locator("dialog").count() == 0)
        self.verb(number, "abort")

    @skipUnless(budget(False, True), "only make test-full goes the way of the pictures")
    def test_first_minutes(self) -> None:
        """A person publishes, sees a rollout fail without harm, and rolls back, as the quickstart shows."""
        shown: list[str] = []
        with shop(self.fleet, "shop"), self.visiting("overview") as page:
            walk(page, "shop", shown.append)
        text = (ROOT / "docs/quickstart.rst").read_text("utf-8")
        self.assertEqual([name for name in shown if f"images/{name}.png" not in text], [])

    def test_accessible(self) -> None:
        """No view and no dialog breaks a rule of WCAG 2.2 A or AA, in either theme, at 320, 390 and 1280 pixels."""
        self.report(self.ids[0], 1, "failed", "The worker answered 422: /features/preview is not known here.")
        self.start({"waves": [{"count": 1}, {"count": 2}]})
        change = {"config": self.document("third"), "comment": "the third"}
        self.assertEqual(self.ask("POST", f"/api/v1/changes?namespace={self.namespace}", change).status, 201)
        for scheme, width in LOOKS:
            with self.visiting("overview", width=width, height=800, color_scheme=scheme) as page:
                self.shown(page.get_by_text("Live", exact=True))
                for view in (*VIEWS, "changes"):
                    page.get_by_role("navigation").get_by_role("link", name=view.title()).click()
                    self.shown(page.locator(f"#view-{view} :is(li, td, .cm-line, .cell .link)"))
                    self.assertEqual(faults(page, width < 500), [], f"{view}, {scheme}, {width} px")
                page.get_by_text("Help", exact=True).click()
                self.assertEqual(faults(page, width < 500), [], f"help, {scheme}, {width} px")
                page.keyboard.press("Escape")
                page.keyboard.press("Control+k")
                self.shown(page.locator("dialog li"))
                self.assertEqual(faults(page, width < 500), [], f"palette, {scheme}, {width} px")
                page.keyboard.press("Escape")
                page.get_by_role("button", name="Read change").click()
                self.shown(page.locator("dialog pre"))
                self.assertEqual(faults(page, width < 500), [], f"dialog, {scheme}, {width} px")
                page.keyboard.press("Escape")
                for view, name in FORMS.items() if (scheme, width) in THOROUGH else ():
                    page.goto(f"{self.fleet.url}/#{view}/{self.namespace}")
                    page.get_by_role("button", name=name).first.click()
                    self.shown(page.locator("dialog footer .primary"))
                    self.assertEqual(faults(page, width < 500), [], f"{name}, {scheme}, {width} px")
                    page.keyboard.press("Escape")
                page.goto(f"{self.fleet.url}/#version/{self.namespace}?number=1")
                self.shown(page.get_by_role("heading", name="Document"))
                self.assertEqual(faults(page, width < 500), [], f"version, {scheme}, {width} px")
                page.goto(f"{self.fleet.url}/signin")
                self.assertEqual(faults(page, width < 500), [], f"sign-in, {scheme}, {width} px")
        # The measures see what they are for.
        with self.visiting("audit", width=320) as page:
            page.evaluate("""() => {
                const [button, link] = ["button", "a"].map((each) => document.createElement(each));
                button.style.borderColor = "#eee";
                link.href = "#";
                document.querySelector("main").append(button, link);
                link.append("a link");
            }""")
            found = "\n".join(faults(page, phone=True))
            for each in ("button-name", "px high", "a border of"):
                self.assertIn(each, found)
