"""Tests of L{confd.cli.profile}: who wins, and what is refused."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import CommandError, Exit
from confd.cli.profile import Profile, config_file, resolve


class Case(SynchronousTestCase):
    """A home with profiles in it."""

    def setUp(self):
        self.home = Path(self.mktemp()).resolve()
        self.folder = self.home / ".config" / "confd"
        self.folder.mkdir(parents=True)

    def profiles(self, text, mode=0o600):
        """Write the file."""
        file = self.folder / "config.toml"
        file.write_text(text)
        file.chmod(mode)

    def secret(self, name, text, mode=0o600):
        """Write a file with a password."""
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(mode)
        return str(self.folder / name)

    def resolve(self, given=None, **environ) -> Profile:
        """The target."""
        return resolve(given or {}, {"HOME": str(self.home), **environ})

    def refused(self, given=None, **environ) -> str:
        """What is said against it."""
        failure = self.assertRaises(CommandError, self.resolve, given, **environ)
        self.assertIs(failure.status, Exit.USAGE)
        return failure.sentence


class SourcesTests(Case):
    """Options, environment, profiles, defaults."""

    def test_defaults(self):
        """As the controller's; the built-in password is for this machine only."""
        target = self.resolve()
        self.assertEqual((target.url, target.username, target.namespace), ("http://localhost:8080", "admin", "default"))
        self.assertEqual((target.password, target.ca_file), ("admin123", None))
        self.assertNotIn("admin123", repr(target))
        for url in ("http://127.0.0.1:1", "http://[::1]:1"):
            self.assertEqual(self.resolve({"url": url}).password, "admin123")
        self.assertIsNone(self.resolve({"url": "http://localhost.example.com"}).password)

    def test_prefixed_names_win(self):
        """CONFD_ADMIN_PASSWORD and the like."""
        target = self.resolve(CONFD_ADMIN_USERNAME="eve", ADMIN_USERNAME="ann", CONFD_ADMIN_PASSWORD="x",
                              ADMIN_PASSWORD_FILE="/nowhere")  # fmt: skip
        self.assertEqual((target.username, target.password), ("eve", "x"))

    def test_prefixed_proxy_replaces_the_bare_one(self):
        """CONFD_CONTROLLER_PROXY, also from a file; none of either kind of the bare name counts beside it."""
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
        """With the prefix, where that is what counts."""
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

    def test_byte_order_marks(self):
        """A file of profiles may begin with one, as editors of Windows write it; a secret may not."""
        self.profiles('\ufeff[profiles.default]\nurl = "http://p"\n')
        self.assertEqual(self.resolve().url, "http://p")
        self.assertIn("byte order mark", self.refused(ADMIN_PASSWORD_FILE=self.secret("pw", "\ufeffx")))

    def test_a_name_that_begins_like_loopback_is_not_loopback(self):
        """No built-in password goes there."""
        self.assertIsNone(self.resolve({"url": "http://127.evil.example"}).password)

    def test_environment(self):
        """It wins over the profile that it does not name; an empty variable is none."""
        self.profiles('[profiles.default]\nurl = "http://p"\nnamespace = "edge"\n')
        target = self.resolve(CONFD_URL="https://e/", ADMIN_USERNAME="ann", ADMIN_PASSWORD="pw", CONFD_CA_FILE="")
        self.assertEqual((target.url, target.username, target.password), ("https://e", "ann", "pw"))
        self.assertEqual((target.namespace, target.origins["namespace"]), ("edge", "namespace of profile default"))

    def test_options_win(self):
        """Over all else; a password of an option hides both kinds below it."""
        file = self.secret("pw", "typed\n")
        target = self.resolve({"url": "http://o", "password_file": file}, CONFD_URL="http://e", ADMIN_PASSWORD="x")
        self.assertEqual(
            (target.url, target.password, target.origins["password"]), ("http://o", "typed", "--password-file")
        )

    def test_profiles(self):
        """One that is named by an option wins over the environment; its files are beside it."""
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
        """A password of a profile is not sent to another address."""
        self.secret("pw", "secret")
        self.profiles(
            '[profiles.default]\nurl = "https://home"\nusername = "op"\npassword_file = "pw"\nnamespace = "n"\n'
        )
        target = self.resolve({"url": "https://elsewhere"})
        self.assertEqual((target.username, target.password, target.namespace), ("admin", None, "n"))
        self.assertEqual(self.resolve(CONFD_URL="https://elsewhere").password, None)
        self.assertEqual(self.resolve().password, "secret")

    def test_folder(self):
        """Where XDG says."""
        self.assertEqual(config_file({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}), Path("/x/confd/config.toml"))
        self.assertEqual(config_file({"HOME": "/h"}), Path("/h/.config/confd/config.toml"))


class RefusalTests(Case):
    """What cannot be used is named."""

    def test_urls(self):
        """No credentials in them, and not shown; a scheme that is spoken."""
        said = self.refused({"url": "https://me:hunter2@host"})
        self.assertIn("--url", said)
        self.assertNotIn("hunter2", said)
        self.assertIn("CONFD_URL", self.refused(CONFD_URL="ftp://x"))
        self.assertIn("CONFD_NAMESPACE", self.refused(CONFD_NAMESPACE="NO"))
        self.assertIn("--username", self.refused({"username": "a:b"}))

    def test_pipes(self):
        """The first line of a pipe is the password, though its writer stays; what follows is left in it."""
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

    def test_pipes_of_no_use(self):
        """One that ends at once, one without end, and a device without lines."""
        reader, writer = os.pipe()
        os.close(writer)
        self.addCleanup(os.close, reader)
        self.assertIn("which is empty", self.refused({"password_file": f"/dev/fd/{reader}"}))
        self.assertIn("which is empty", self.refused({"password_file": os.devnull}))
        self.assertIn("longer than", self.refused({"password_file": "/dev/zero"}))

    def test_password_files(self):
        """Missing, empty, both kinds at once."""
        self.assertIn("cannot be read", self.refused({"password_file": "/nonexistent"}))
        self.assertIn("empty", self.refused(ADMIN_PASSWORD_FILE=self.secret("none", "\n")))
        self.assertIn("remove one", self.refused(ADMIN_PASSWORD="x", ADMIN_PASSWORD_FILE=self.secret("pw", "y")))

    def test_open_password_file(self):
        """A password that everybody can read is said, and used."""
        (remark,) = self.resolve(ADMIN_PASSWORD_FILE=self.secret("pw", "y", 0o644)).remarks
        self.assertIn("chmod 600", remark)

    def test_profile_files(self):
        """Each mistake in one sentence that names the file."""
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
