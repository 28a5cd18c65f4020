"""Tests of C{freeze}."""

from confd.cli.errors import Exit
from tests.cli.commands.test_admin import Case
from tests.cli.harness import answer, refusal

FREEZE = {
    "id": 3,
    "namespaces": ["pay-*"],
    "reason": "week\x1bend",
    "created_by": "admin",
    "created_at": "2026-11-24T12:00:00.000Z",
    "weekly": {"days": ["fri", "sat"], "from": "16:00", "until": "08:00", "zone": "Europe/Berlin"},
    "active": False,
    "next_from": "2026-11-27T15:00:00Z",
    "next_until": "2026-11-28T07:00:00Z",
    "local": None,
}


class FreezeTests(Case):
    """C{freeze}"""

    def test_add_sends_a_freeze_that_happens_once(self):
        self.table["POST /api/v1/freezes"] = answer({**FREEZE, "active": True}, 201)
        until = "2026-12-27T08:00:00+01:00"
        ended = self.cli.type("freeze", "add", "--until", until, "-m", "holidays")
        self.assertIn("Freeze 3 of pay-* is active until 2026-11-28", ended.out)
        self.assertEqual(self.body(), {"namespaces": ["*"], "reason": "holidays", "until": until})

    def test_add_sends_a_weekly_freeze(self):
        self.table["POST /api/v1/freezes"] = answer(FREEZE, 201)
        words = ("--namespaces", "pay-*,qa", "--weekly", "fri,sat", "--from", "16:00", "--until", "08:00")
        ended = self.cli.type("freeze", "add", *words, "--zone", "Europe/Berlin", "-m", "x")
        self.assertIn("it begins 2026-11-27", ended.out)
        self.assertEqual(self.body(), {"namespaces": ["pay-*", "qa"], "reason": "x", "weekly": FREEZE["weekly"]})

    def test_wrong_options_are_named_before_a_request(self):
        for words in (
            ["--until", "08:00", "--weekly", "fri", "-m", "x"],
            ["--until", "08:00", "--weekly", "fri", "--from", "16:00", "-m", "x"],
            ["--until", "2026-12-27T08:00:00Z", "--zone", "UTC", "-m", "x"],
            ["-m", "x"],
            ["--until", "2026-12-27T08:00:00Z"],
        ):
            self.assertEqual(self.cli.type("freeze", "add", *words).status, Exit.USAGE, words)
        self.assertEqual(self.cli.controller.asked, [])

    def test_list_and_remove(self):
        self.table["GET /api/v1/freezes"] = answer({"items": [FREEZE]})
        self.table["DELETE /api/v1/freezes/3"] = answer({"message": "Freeze 3 is removed"})
        out = self.cli.type("freeze").out
        self.assertIn("fri,sat 16:00-08:00 Europe/Berlin", out)
        self.assertIn("week\\x1bend", out)
        self.assertEqual(self.cli.type("freeze", "remove", "3").out, "Freeze 3 is removed\n")

    def test_refusal_of_a_change_shows_the_sentence_of_the_freeze(self):
        sentence = "Freeze 3 holds the namespace 'default' until 2026-11-28T07:00:00Z: weekend"
        self.table["DELETE /api/v1/freezes/3"] = refusal(409, "frozen", sentence)
        ended = self.cli.type("freeze", "remove", "3")
        self.assertEqual(ended.status, Exit.CONFLICT)
        self.assertIn(sentence, ended.err)
