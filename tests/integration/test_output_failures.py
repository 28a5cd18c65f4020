"""A failed output, as an operator sees it: in C{confdctl} and on the dashboard."""

from __future__ import annotations

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.browser import MISSING, browser, visit
from tests.integration.commands import confdctl
from tests.integration.file_fleet import file_fleet
from tests.integration.fleet import ADMIN, clean_environment, eventually


class FailureTests(SynchronousTestCase):
    """One of two files has a check that rejects a document."""

    def setUp(self) -> None:
        self.files = file_fleet(self)
        folder = self.files.folder
        check = self.files.place(
            "bin/check", "#!/bin/sh\n! grep -q bad \"$1\" || { echo 'line 1: bad port'; exit 3; }\n", 0o755
        )
        self.files.place("etc/x", "")
        settings = self.files.place(
            "outputs.toml",
            f'[[file]]\nname = "web"\npath = "{folder}/etc/web.json"\n'
            f'[[file]]\nname = "proxy"\npath = "{folder}/etc/proxy.json"\ncheck = ["{check}", "{{path}}"]\n',
        )
        self.files.start("--outputs-file", settings)
        self.sentence = f"proxy: The check {check} ended with status 3: line 1: bad port"
        self.files.applied(self.files.publish(n=1))

    def fail_one(self) -> None:
        self.files.publish(n="bad")
        self.assertEqual(self.files.failed("bad port"), self.sentence)

    def confdctl(self, *words: str) -> str:
        environ = clean_environment() | {"CONFD_URL": self.files.fleet.url, "COLUMNS": "400"}
        environ |= {"CONFD_USERNAME": ADMIN[0], "CONFD_PASSWORD": ADMIN[1], "HOME": str(self.files.folder)}
        done = confdctl(*words, environ=environ, folder=self.files.folder)
        return done.out + done.err

    def test_confdctl_shows_the_output_and_its_words(self) -> None:
        self.fail_one()
        identity = str(self.files.report()["id"])
        for words in (["agents"], ["status"], ["agents", "show", identity]):
            said = self.confdctl(*words)
            self.assertIn(self.sentence, said, words)
        self.files.applied(self.files.publish(n=2))
        for words in (["agents"], ["status"]):
            self.assertNotIn("bad port", self.confdctl(*words))

    def test_the_dashboard_shows_the_output_and_its_words(self) -> None:
        if MISSING is not None:
            raise SkipTest(MISSING)
        self.fail_one()
        with browser() as chromium, visit(chromium, self.files.fleet.url) as visiting:
            for view in ("fleet", "overview"):
                page = visiting.go(view)
                page.get_by_text(self.sentence).first.wait_for()
            self.files.applied(self.files.publish(n=2))
            page = visiting.go("fleet")
            eventually(lambda: page.get_by_text(self.sentence).count() == 0)
            self.assertEqual(visiting.complaints, [])
