"""Tokens, freezes and namespaces on the dashboard; the suite of C{test_dashboard_trouble} has these tests."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.browser import visit
from tests.integration.fleet import AGENT, eventually
from tests.integration.test_dashboard import DashboardTestCase


class AccessTests(DashboardTestCase):
    """The views on which people manage who may change what, where and when."""

    def status(self, secret: str, path: str = "/api/v1/whoami") -> int:
        """Return the status of a request with a token."""
        found: int = self.ask("GET", path, None, (secret.split("_")[1], secret)).status
        return found

    def token(self, role: str, *namespaces: str) -> Any:
        """Create a token past the browser."""
        body = {"name": f"{self.namespace}-{role}", "grants": [{"role": role, "namespaces": list(namespaces)}]}
        answer = self.ask("POST", "/api/v1/tokens", body)
        self.assertEqual(answer.status, 201, answer.body)
        return answer.json()

    def tabbed(self, page: Any, wanted: str) -> None:
        """Move by Tab to the element with a text, a name or a label."""
        names = "(({ textContent, name, ariaLabel }) => [textContent, name, ariaLabel])(document.activeElement)"
        for _ in range(60):
            page.keyboard.press("Tab")
            if wanted in page.evaluate(names):
                return
        self.fail(f"Tab leads to no {wanted}")

    def secret(self, page: Any) -> str:
        """Return the secret in the open dialog, which Escape does not close, and close it by its button."""
        code = page.locator("dialog code.secret")
        self.shown(code)
        found: str = code.inner_text()
        page.keyboard.press("Escape")
        self.assertEqual(code.inner_text(), found)
        page.get_by_role("button", name="I have kept it").click()
        eventually(lambda: page.locator("dialog").count() == 0)
        self.assertNotIn(found, page.content())
        return found

    def test_tokens(self) -> None:
        """A token is created by keyboard, shown once, rotated and revoked; each error keeps what the person typed."""
        name = "by-hand"
        with self.visiting("tokens") as page:
            page.route("**/api/v1/tokens", lambda route: route.fulfill(json={"items": []}))
            page.reload()
            self.shown(page.get_by_text("No token exists yet."))
            page.unroute("**/api/v1/tokens")
            self.tabbed(page, "New token…")
            page.keyboard.press("Enter")
            page.keyboard.type(name)
            self.tabbed(page, "role")
            page.keyboard.type("publisher")
            self.tabbed(page, "namespaces")
            page.keyboard.type("pay_*")
            page.keyboard.press("Enter")
            self.shown(page.locator("dialog .problem").get_by_text("/grants/0/namespaces"))
            page.keyboard.press("Control+a")
            page.keyboard.type(f"{self.namespace}, pay-*")
            page.keyboard.press("Enter")
            first = self.secret(page)
            self.assertEqual(self.status(first), 200)
            row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))
            self.shown(row.get_by_text(f"publisher in {self.namespace}, pay-*"))
            self.shown(row.get_by_text(re.compile("^expires in (90 d|89 d 23 h)$")))
            page.get_by_role("button", name=f"Rotate token {name}").click()
            page.get_by_role("button", name="Make another secret").click()
            second = self.secret(page)
            self.assertEqual([self.status(each) for each in (first, second)], [401, 200])
            page.get_by_role("button", name=f"Revoke token {name}").click()
            page.get_by_role("button", name="Cancel").click()
            self.assertEqual(self.status(second), 200)
            page.get_by_role("button", name=f"Revoke token {name}").click()
            page.get_by_role("button", name="Revoke for ever").click()
            self.shown(page.get_by_text(f"Token {name} ({second.split('_')[1]}) is revoked."))
            self.assertEqual(self.status(second), 401)
            eventually(lambda: row.count() == 0)
            page.get_by_label("Show expired and revoked tokens").check()
            self.shown(row.get_by_text("revoked", exact=True))
            self.assertEqual(row.get_by_role("button").count(), 0)

    def test_grants_of_a_token(self) -> None:
        """A token has several grants; the role admin takes every namespace, and a name in use is refused in words."""
        taken = self.token("viewer", self.namespace)["name"]
        with self.visiting("tokens") as page:
            box = page.get_by_role("dialog")
            page.get_by_role("button", name="New token…").click()
            box.get_by_label("Name").first.fill(taken)
            page.get_by_role("button", name="Add a grant").click()
            page.get_by_label("Role").nth(1).select_option("admin")
            self.assertEqual(box.get_by_label("Namespaces").nth(1).input_value(), "*")
            page.get_by_label("Valid").select_option("for ever")
            page.get_by_role("button", name="Create the token").click()
            self.shown(page.locator("dialog .problem").get_by_text(taken))
            box.get_by_label("Name").first.fill("two-grants")
            page.get_by_role("button", name="Create the token").click()
            self.secret(page)
            self.shown(page.locator("#tokens td").get_by_text("admin in every namespace"))

    def test_freezes(self) -> None:
        """A freeze holds its namespace at once; a weekly freeze names its days; a removal lets changes pass."""
        until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
        with self.visiting("freezes", timezone_id="Asia/Tokyo") as page:
            self.shown(page.get_by_text("No freeze is active or coming."))
            page.get_by_role("button", name="New freeze…").click()
            page.get_by_label("Reason").fill("the holidays")
            page.get_by_label("Until", exact=True).fill(until)
            page.get_by_role("button", name="Make the freeze").click()
            self.shown(page.get_by_text(f"of {self.namespace} is active."))
            [made] = self.ask("GET", "/api/v1/freezes").json()["items"]
            self.assertEqual(made["namespaces"], [self.namespace])
            ends = datetime.fromisoformat(f"{until}:00+09:00").astimezone(UTC)
            self.assertEqual(datetime.fromisoformat(made["next_until"].replace("Z", "+00:00")), ends)
            self.assertEqual(self.config("POST", self.document("second")).json()["code"], "frozen")
            waiting: list[Any] = []
            page.route("**/api/v1/whoami", lambda route: waiting.append(route))
            page.reload()
            self.shown(page.get_by_text("the holidays"))
            waiting.pop().continue_()
            page.unroute("**/api/v1/whoami")
            self.shown(page.get_by_role("button", name=f"Remove freeze {made['id']}"))
            page.get_by_role("button", name="New freeze…").click()
            page.get_by_role("dialog").get_by_label("Namespaces").fill("pay-*")
            page.get_by_label("Reason").fill("no changes at weekends")
            page.get_by_label("It happens").select_option("each week")
            page.get_by_role("button", name="Make the freeze").click()
            self.shown(page.locator("dialog .problem").get_by_text("Give one or more of the days").first)
            page.get_by_label("Fri").check()
            page.get_by_role("button", name="Make the freeze").click()
            self.shown(page.get_by_text("each fri from 16:00 until 08:00, Asia/Tokyo"))
            for number in (made["id"], made["id"] + 1):
                page.get_by_role("button", name=f"Remove freeze {number}").click()
                page.get_by_role("button", name="Remove the freeze").click()
                self.shown(page.get_by_text(f"Freeze {number} is removed."))
            page.get_by_role("link", name="Audit").click()
            self.shown(page.get_by_role("heading", name="Audit"))
            page.get_by_role("link", name="Freezes").click()
            self.shown(page.get_by_text("No freeze is active or coming."))
            self.assertEqual(page.locator("#freezes .done").count(), 0)
        self.assertEqual(self.config("POST", self.document("second")).status, 200)

    def test_keyboard(self) -> None:
        """Freezes and policies are made, and freezes removed, without a mouse; a confirmation begins at Cancel."""
        with self.visiting("freezes") as page:
            self.tabbed(page, "New freeze…")
            page.keyboard.press("Enter")
            self.tabbed(page, "reason")
            page.keyboard.type("by hand")
            self.tabbed(page, "kind")
            page.keyboard.press("ArrowDown")
            self.tabbed(page, "day")
            page.keyboard.press("Space")
            page.keyboard.press("Enter")
            self.shown(page.get_by_text("each mon from 16:00 until 08:00"))
            [made] = self.ask("GET", "/api/v1/freezes").json()["items"]
            self.tabbed(page, f"Remove freeze {made['id']}")
            page.keyboard.press("Enter")
            self.assertEqual(page.evaluate("document.activeElement.textContent"), "Cancel")
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            self.shown(page.get_by_text("No freeze is active or coming."))
            self.two_keys(page, "gn")
            self.shown(page.get_by_role("rowheader", name=self.namespace))
            self.tabbed(page, f"Policy of {self.namespace}")
            page.keyboard.press("Enter")
            self.shown(page.get_by_role("dialog"))
            self.tabbed(page, "approvals")
            page.keyboard.press("ArrowUp")
            page.keyboard.press("Enter")
            self.shown(page.get_by_text(f"The policy of {self.namespace} is saved."))
        self.assertEqual(self.ask("GET", f"/api/v1/namespaces/{self.namespace}/policy").json()["approvals"], 1)

    def test_namespaces(self) -> None:
        """A namespace is created with a document that keeps its digits, gets a policy, and is retired."""
        name = f"{self.namespace}-new"
        with self.visiting("namespaces") as page:
            page.get_by_role("button", name="New namespace…").click()
            page.get_by_role("dialog").get_by_label("Name").first.fill(name)
            document = page.get_by_label("Document of version 1")
            self.assertIn("/first", document.input_value())
            document.fill('{"url": "http://a", "exact": 1.0,}')
            page.get_by_role("button", name="Create the namespace").click()
            self.shown(page.locator("dialog .problem").get_by_text("Line 1, column 34"))
            document.fill('{"url": "http://a", "exact": 1.0, "tiny": 1e-7}')
            page.get_by_role("button", name="Create the namespace").click()
            self.shown(page.get_by_text(f"Namespace {name} exists, with version 1."))
            made = self.ask("GET", f"/api/v1/config?namespace={name}").body.decode()
            self.assertIn('"exact":1.0,"tiny":', made.replace(" ", ""))
            eventually(lambda: page.locator(f"#namespaces option[value={name}]").count() == 1)
            page.get_by_role("button", name=f"Policy of {name}").click()
            page.get_by_label("Rollout that each publish starts").select_option("careful")
            page.get_by_label("Approvals that each change needs").fill("2")
            page.get_by_role("button", name="Save the policy").click()
            self.shown(page.get_by_text(f"The policy of {name} is saved."))
            policy = self.ask("GET", f"/api/v1/namespaces/{name}/policy").json()
            self.assertEqual((policy["plan"], policy["approvals"], policy["rollback_free"]), ("careful", 2, True))
            body = {"agent_id": f"{name}-a", "namespace": name, "hostname": "x"}
            self.assertEqual(self.ask("POST", "/api/v1/register", body, AGENT).status, 200)
            page.get_by_role("button", name=f"Retire {name}").click()
            page.get_by_role("button", name="Retire the namespace").click()
            self.shown(page.locator("dialog .problem").get_by_text("stop or move them first"))
            page.get_by_role("button", name="Cancel").click()
            self.assertEqual(self.ask("DELETE", f"/api/v1/agents/{name}-a").status, 200)
            page.get_by_role("row").get_by_role("link", name=name, exact=True).click()
            self.shown(page.get_by_text("Version 1 is current"))
            page.get_by_role("link", name="Namespaces").click()
            page.get_by_role("button", name=f"Retire {name}").click()
            page.get_by_role("button", name="Retire the namespace").click()
            self.shown(page.get_by_text(f"Namespace {name} retired."))
            self.assertTrue(page.url.endswith("#namespaces/default"))
            eventually(lambda: page.locator(f"#namespaces option[value={name}]").count() == 0)

    def test_roles(self) -> None:
        """A viewer reads freezes and policies, sees no way to change them, and is refused the tokens in words."""
        made = self.token("viewer", self.namespace)
        until = (datetime.now(UTC) + timedelta(days=2)).isoformat()
        body = {"namespaces": [self.namespace], "until": until, "reason": "an audit"}
        freeze = self.ask("POST", "/api/v1/freezes", body).json()
        with visit(self.browser, self.fleet.url, extra_http_headers={}) as visiting:
            page = self.signed_in(visiting, {"token": made["token"]})
            visiting.go("freezes", self.namespace)
            self.shown(page.get_by_text("an audit"))
            self.assertEqual(page.get_by_role("button", name="freeze").locator("visible=true").count(), 0)
            self.assertEqual(page.get_by_role("link", name="Tokens").locator("visible=true").count(), 0)
            page.get_by_role("link", name="Namespaces").click()
            page.get_by_role("button", name=f"Policy of {self.namespace}").click()
            self.assertTrue(page.get_by_label("Approvals that each change needs").is_disabled())
            self.assertFalse(page.get_by_role("button", name="Save the policy").is_visible())
            page.keyboard.press("Escape")
            self.assertFalse(page.get_by_role("button", name="New namespace…").is_visible())
            visiting.go("tokens", self.namespace)
            self.shown(page.locator("#tokens .problem").get_by_text("admin"))
            self.assertEqual(visiting.complaints, [])
        self.assertEqual(self.ask("DELETE", f"/api/v1/freezes/{freeze['id']}").status, 200)
