"""Tests of L{confd.cli.profile}: precedence and refusals."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import CommandError, Exit
from confd.cli.profile import Profile, config_file, resolve


class Case(SynchronousTestCase):
    """A home directory with a file of profiles."""

    def setUp(self):
        self.home = Path(self.mktemp()).resolve()
        self.folder = self.home / ".config" / "confd"
        self.folder.mkdir(parents=True)

    def profiles(self, text, mode=0o600):
        """Write the file of profiles."""
        file = self.folder / "config.toml"
        file.write_text(text)
        file.chmod(mode)

    def secret(self, name, text, mode=0o600):
        """Write a file with a password."""
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(mode)
        return str(self.folder / name)

    def resolve(self, given=None, **environ) -> Profile:
        """Return the profile of some options and variables."""
        return resolve(given or {}, {"HOME": str(self.home), **environ})

    def refused(self, given=None, **environ) -> str:
        """Return the sentence of the refusal."""
        failure = self.assertRaises(CommandError, self.resolve, given, **environ)
        self.assertIs(failure.status, Exit.USAGE)
        return failure.sentence


class SourcesTests(Case):
    """The precedence of options, environment, profiles and defaults."""

    def test_builtin_password_is_for_loopback_only(self):
        target = self.resolve()
        self.assertEqual((target.url, target.username, target.namespace), ("http://localhost:8080", "admin", "default"))
        self.assertEqual((target.password, target.ca_file), ("admin123", None))
        self.assertNotIn("admin123", repr(target))
        for url in ("http://127.0.0.1:1", "http://[::1]:1"):
            self.assertEqual(self.resolve({"url": url}).password, "admin123")
        self.assertIsNone(self.resolve({"url": "http://localhost.example.com"}).password)

    def test_prefixed_names_win(self):
        target = self.resolve(CONFD_ADMIN_USERNAME="eve", ADMIN_USERNAME="ann", CONFD_ADMIN_PASSWORD="x",
                              ADMIN_PASSWORD_FILE="/nowhere")  # fmt: skip
        self.assertEqual((target.username, target.password), ("eve", "x"))

    def test_prefixed_proxy_replaces_the_bare_one(self):
        """It hides both bare names: that of the value and that of the file."""
        given, file = {"url": "http://far.example"}, self.secret("proxy", "http://ann:pw@filed.example:2\n")
        for environ, host in (
            ({"CONTROLLER_PROXY": "http://bare.example:1"}, "bare.example"),
            ({"CONFD_CONTROLLER_PROXY": "http://new.example:1", "CONTROLLER_PROXY": "http://b.example"}, "new.example"),
            ({"CONFD_CONTROLLER_PROXY": "http://new.example:1", "CONTROLLER_PROXY_FILE": "/nowhere"}, "new.example"),
            ({"CONTROLLER_PROXY_FILE": file}, "filed.example"),
            ({"CONFD_CONTROLLER_PROXY_FILE": file, "CONTROLLER_PROXY": "http://b.example"}, "filed.example"),
        ):
            with self.subTest(environ=environ):
                self.assertEqual(self.resolve(given, **environ).proxy.host, host)
        environ = {"CONFD_CONTROLLER_PROXY": "none", "HTTP_PROXY": "http://shared.example"}
        self.assertIsNone(self.resolve(given, **environ).proxy)

    def test_mistakes_name_the_variable_that_was_set(self):
        for environ, words in (
            ({"CONFD_ADMIN_USERNAME": "a:b", "ADMIN_USERNAME": "ann"}, "CONFD_ADMIN_USERNAME: "),
            ({"CONFD_ADMIN_PASSWORD_FILE": "/nowhere"}, "CONFD_ADMIN_PASSWORD_FILE names"),
            ({"CONFD_ADMIN_PASSWORD": "x", "CONFD_ADMIN_PASSWORD_FILE": "/nowhere"},
             "CONFD_ADMIN_PASSWORD: is set, and CONFD_ADMIN_PASSWORD_FILE too"),
            ({"CONFD_CONTROLLER_PROXY": "ftp://x"}, "CONFD_CONTROLLER_PROXY: must begin with http://"),
            ({"CONFD_CONTROLLER_PROXY_FILE": "/nowhere"}, "CONFD_CONTROLLER_PROXY_FILE names"),
            ({"CONTROLLER_PROXY": "http://x", "CONTROLLER_PROXY_FILE": "/nowhere"},
             "CONTROLLER_PROXY: is set, and CONTROLLER_PROXY_FILE too"),
        ):  # fmt: skip
            self.assertTrue(self.refused(**environ).startswith(words), self.refused(**environ))
        self.assertIn("--username: ", self.refused({"username": "a:b"}, CONFD_ADMIN_USERNAME="x"))

    def test_profiles_may_begin_with_a_byte_order_mark_and_secrets_may_not(self):
        self.profiles('\ufeff[profiles.default]\nurl = "http://p"\n')
        self.assertEqual(self.resolve().url, "http://p")
        self.assertIn("byte order mark", self.refused(ADMIN_PASSWORD_FILE=self.secret("pw", "\ufeffx")))

    def test_a_name_that_begins_like_loopback_is_not_loopback(self):
        self.assertIsNone(self.resolve({"url": "http://127.evil.example"}).password)

    def test_environment_wins_over_an_unnamed_profile(self):
        self.profiles('[profiles.default]\nurl = "http://p"\nnamespace = "edge"\n')
        target = self.resolve(CONFD_URL="https://e/", ADMIN_USERNAME="ann", ADMIN_PASSWORD="pw", CONFD_CA_FILE="")
        self.assertEqual((target.url, target.username, target.password), ("https://e", "ann", "pw"))
        self.assertEqual((target.namespace, target.origins["namespace"]), ("edge", "namespace of profile default"))

    def test_options_win_over_everything(self):
        file = self.secret("pw", "typed\n")
        target = self.resolve({"url": "http://o", "password_file": file}, CONFD_URL="http://e", ADMIN_PASSWORD="x")
        self.assertEqual(
            (target.url, target.password, target.origins["password"]), ("http://o", "typed", "--password-file")
        )

    def test_profile_named_by_an_option_wins_over_the_environment(self):
        self.secret("prod.pw", "prodpw")
        self.profiles(
            '[profiles.prod]\nurl = "https://prod"\nusername = "op"\npassword_file = "prod.pw"\nca_file = "/ca.pem"\n'
            '[profiles.stage]\nurl = "https://stage"\n'
        )
        target = self.resolve({"profile": "prod"}, CONFD_URL="http://e", ADMIN_PASSWORD="x")
        self.assertEqual((target.url, target.username, target.password), ("https://prod", "op", "prodpw"))
        self.assertEqual(target.ca_file, "/ca.pem")
        self.assertEqual(self.resolve(CONFD_PROFILE="stage").url, "https://stage")
        self.assertEqual(self.resolve(CONFD_PROFILE="stage", ADMIN_PASSWORD="x").password, "x")

    def test_credentials_stay_with_their_url(self):
        self.secret("pw", "secret")
        self.profiles(
            '[profiles.default]\nurl = "https://home"\nusername = "op"\npassword_file = "pw"\nnamespace = "n"\n'
        )
        target = self.resolve({"url": "https://elsewhere"})
        self.assertEqual((target.username, target.password, target.namespace), ("admin", None, "n"))
        self.assertEqual(self.resolve(CONFD_URL="https://elsewhere").password, None)
        self.assertEqual(self.resolve().password, "secret")

    def test_config_file_follows_xdg(self):
        self.assertEqual(config_file({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}), Path("/x/confd/config.toml"))
        self.assertEqual(config_file({"HOME": "/h"}), Path("/h/.config/confd/config.toml"))


class RefusalTests(Case):
    """Refused settings and files."""

    def test_urls_with_credentials_or_another_scheme_are_refused_without_showing_them(self):
        said = self.refused({"url": "https://me:hunter2@host"})
        self.assertIn("--url", said)
        self.assertNotIn("hunter2", said)
        self.assertIn("CONFD_URL", self.refused(CONFD_URL="ftp://x"))
        self.assertIn("CONFD_NAMESPACE", self.refused(CONFD_NAMESPACE="NO"))
        self.assertIn("--username", self.refused({"username": "a:b"}))

    def test_first_line_of_a_pipe_is_the_password(self):
        for written, rest in ((b"piped\n", b""), (b"piped\r\n{}", b"{}")):
            reader, writer = os.pipe()
            self.addCleanup(os.close, reader)
            self.addCleanup(os.close, writer)
            os.write(writer, written)
            target = self.resolve({"password_file": f"/dev/fd/{reader}"})
            self.assertEqual((target.password, target.remarks), ("piped", ()))
            os.set_blocking(reader, False)
            if rest:
                self.assertEqual(os.read(reader, 99), rest)
            self.assertRaises(BlockingIOError, os.read, reader, 1)

    def test_pipes_without_a_line_are_refused(self):
        reader, writer = os.pipe()
        os.close(writer)
        self.addCleanup(os.close, reader)
        self.assertIn("which is empty", self.refused({"password_file": f"/dev/fd/{reader}"}))
        self.assertIn("which is empty", self.refused({"password_file": os.devnull}))
        self.assertIn("longer than", self.refused({"password_file": "/dev/zero"}))

    def test_missing_empty_and_doubled_passwords_are_refused(self):
        self.assertIn("cannot be read", self.refused({"password_file": "/nonexistent"}))
        self.assertIn("empty", self.refused(ADMIN_PASSWORD_FILE=self.secret("none", "\n")))
        self.assertIn("remove one", self.refused(ADMIN_PASSWORD="x", ADMIN_PASSWORD_FILE=self.secret("pw", "y")))

    def test_readable_password_file_is_used_with_a_warning(self):
        (remark,) = self.resolve(ADMIN_PASSWORD_FILE=self.secret("pw", "y", 0o644)).remarks
        self.assertIn("chmod 600", remark)

    def test_malformed_profile_files_are_refused_in_one_sentence(self):
        for text, words in (
            ("[profiles.a]\npassword = 'hunter2'", "password_file"),
            ("[profiles.a]\nuri = 'x'", "uri"),
            ("[profiles.a]\nurl = 7", "string"),
            ("[profile.a]\nurl = 'x'", "profile"),
            ("profiles = 3", "[profiles.NAME]"),
            ("[profiles.a", "TOML"),
            ("#" * 70000, "longer"),
        ):
            with self.subTest(text=text[:20]):
                self.profiles(text)
                said = self.refused()
                self.assertIn("config.toml", said)
                self.assertIn(words, said)
                self.assertNotIn("hunter2", said)
        self.profiles("[profiles.a]\n[profiles.b]\n")
        self.assertIn("use one of a, b.", self.refused({"profile": "c"}))
        self.profiles("[profiles.a]\n", 0o666)
        self.assertIn("chmod go-w", self.refused())

    def test_profile_without_a_file(self):
        self.assertIn("config.toml: has no profile prod; add [profiles.prod] to it.", self.refused({"profile": "prod"}))
