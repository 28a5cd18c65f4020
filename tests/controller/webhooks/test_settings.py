"""Tests of the settings of webhooks: an error never shows a URL, which may hold a token."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError
from confd.runtime.options import read
from confd.runtime.settings import ControllerSettings

SECRET = "sixteen letters.."


class SettingsTests(SynchronousTestCase):
    def reason(self, **environ: str) -> str:
        """Return the one mistake in an environment."""
        error = self.assertRaises(StartError, read, ControllerSettings, {}, environ)
        [reason] = error.reasons
        self.assertNotIn("T0KEN", reason)
        return str(reason)

    def test_values(self) -> None:
        urls = "https://hooks.test/T0KEN?a=b, http://[::1]:8080"
        settings = read(ControllerSettings, {}, {"WEBHOOK_URLS": urls, "WEBHOOK_SECRET": SECRET})
        self.assertEqual(settings.webhook_urls, ("https://hooks.test/T0KEN?a=b", "http://[::1]:8080/"))
        self.assertNotIn("T0KEN", repr(settings))
        self.assertNotIn(SECRET, repr(settings))

    def test_mistakes(self) -> None:
        good = "https://hooks.test/T0KEN"
        for urls, words in (
            (good + ",T0KEN", "URL number 2 must begin with http:// or https://"),
            ("ftp://hooks.test/T0KEN", "URL number 1 must begin"),
            ("https://name:T0KEN@hooks.test/", "URL number 1 must not contain credentials"),
            ("https://hooks.test/T0KEN\x01", "URL number 1 must be ASCII"),
            ("https:///T0KEN", "URL number 1 must contain a host"),
            (",".join([good] * 9), "at most 8 URLs"),
        ):
            reason = self.reason(WEBHOOK_URLS=urls, WEBHOOK_SECRET=SECRET)
            self.assertTrue(reason.startswith("WEBHOOK_URLS: "), reason)
            self.assertIn(words, reason)

    def test_secret_and_urls_go_together(self) -> None:
        for environ in ({}, {"WEBHOOK_SECRET": "short"}):
            self.assertIn("at least 16 characters", self.reason(WEBHOOK_URLS="https://hooks.test/", **environ))
        self.assertIn("without WEBHOOK_URLS", self.reason(WEBHOOK_SECRET=SECRET))

    def test_unknown_event(self) -> None:
        reason = self.reason(WEBHOOK_EVENTS="published,deleted")
        self.assertIn("WEBHOOK_EVENTS: 'deleted' is not one of published, rolled_back", reason)
