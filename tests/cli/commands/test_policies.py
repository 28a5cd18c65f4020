"""Tests of C{policy}, and of C{--break-glass}."""

from confd.cli.errors import Exit
from tests.cli.commands.test_admin import Case
from tests.cli.harness import answer

POLICY = {
    "plan": "careful",
    "approvals": 1,
    "self_approval": False,
    "rollback_free": True,
    "freeze_exempt": False,
}


class PolicyTests(Case):
    """C{policy}"""

    def test_show_names_the_namespace_in_the_path(self):
        self.table["GET /api/v1/namespaces/edge/policy"] = answer(POLICY)
        out = self.cli.type("policy", "-n", "edge").out
        self.assertRegex(out, r"plan +careful")
        self.assertRegex(out, r"rollback_free +yes")

    def test_set_sends_the_given_fields_only(self):
        self.table["POST /api/v1/namespaces/default/policy"] = answer(POLICY)
        ended = self.cli.type("policy", "set", "--plan", "careful", "--approvals", "1", "--no-freeze-exempt")
        self.assertEqual(self.body(), {"plan": "careful", "approvals": 1, "freeze_exempt": False})
        self.assertRegex(ended.out, r"approvals +1")

    def test_wrong_options_are_named_before_a_request(self):
        for words in ([], ["--approvals", "6"], ["--approvals", "-1"]):
            self.assertEqual(self.cli.type("policy", "set", *words).status, Exit.USAGE, words)
        self.assertEqual(self.cli.controller.asked, [])


class BreakGlassTests(Case):
    """C{--break-glass}"""

    def test_reason_goes_into_the_query(self):
        made = {"name": "edge", "version": 1}
        self.table["POST /api/v1/namespaces"] = answer(made, 201)
        self.cli.type("namespaces", "create", "edge", "url=x", "--break-glass", "the shop is down")
        self.assertEqual(self.cli.controller.asked[-1].query, {"break_glass": "the shop is down"})
