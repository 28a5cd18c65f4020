"""Tests of L{confd.runtime.options}."""

import io
import os
from contextlib import redirect_stdout

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError
from confd.runtime import setting_types
from confd.runtime.options import RoleOptions, read
from confd.runtime.setting import setting, settings_of


@frozen
class Role:
    """A role with one setting of each kind."""

    port: int = setting("TEST_PORT", "A port.", "8080", setting_types.whole(1, 65535))
    path: str = setting("TEST_PATH", "A path.", "./db")
    target: str | None = setting("TEST_TARGET", "A URL.", None, setting_types.url)
    password: str = setting("TEST_PASSWORD", "A password.", "built-in", secret=True)
    token: str | None = setting("TEST_TOKEN", "A token.", None, secret=True)

    def mistakes(self):
        """What is wrong with two settings together."""
        return ["TEST_PATH: must not be the port."] if self.path == str(self.port) else []


@frozen
class Sibling:
    """Another role in the same environment."""

    host: str = setting("TEST_PORTS", "Ports.", "")


class Options(RoleOptions):
    """Its options."""

    role = Role
    siblings = staticmethod(lambda: (Sibling,))


def reasons(given=(), environ=(), siblings=()):
    """The mistakes of these settings."""
    try:
        read(Role, dict(given), dict(environ), lambda: siblings)
    except StartError as error:
        return error.reasons
    return ()


class ReadTests(SynchronousTestCase):
    """From texts to a role."""

    def test_without_any_source_every_default_is_parsed(self):
        self.assertEqual(read(Role, {}, {}), Role(8080, "./db", None, "built-in", None))

    def test_an_empty_variable_counts_as_unset(self):
        self.assertEqual(read(Role, {}, {"TEST_PORT": "", "TEST_TOKEN": "", "TEST_PASSWORD": ""}), read(Role, {}, {}))

    def test_an_option_wins_over_an_invalid_variable(self):
        self.assertEqual(read(Role, {"TEST_PORT": "1"}, {"TEST_PORT": "2"}).port, 1)
        self.assertEqual(read(Role, {"TEST_PORT": "1"}, {"TEST_PORT": "x"}).port, 1)

    def test_all_mistakes_are_reported_at_once(self):
        found = reasons({"TEST_TARGET": "ftp://x"}, {"TEST_PORT": "x", "TEST_TOKEN_FILE": "/nowhere"})
        self.assertEqual([reason.partition(":")[0] for reason in found], ["TEST_PORT", "TEST_TARGET", "TEST_TOKEN"])
        for reason in found:
            self.assertRegex(reason, r"\A[A-Z_]+: [^\n]+\.\Z")

    def test_contradictions_are_checked_once_each_setting_is_valid(self):
        self.assertEqual(reasons({"TEST_PATH": "8080"}), ("TEST_PATH: must not be the port.",))

    def test_a_variable_that_is_not_utf_8_is_refused(self):
        self.assertEqual(reasons({}, {"TEST_PATH": os.fsdecode(b"\xff")}), ("TEST_PATH: is not UTF-8 text.",))
        self.assertEqual(reasons({}, {"TEST_PASSWORD": os.fsdecode(b"\xff")}), ("TEST_PASSWORD: is not UTF-8 text.",))

    @given(
        st.dictionaries(st.sampled_from(["TEST_PORT", "TEST_PATH", "TEST_TARGET", "TEST_TOKEN"]), st.text(max_size=30))
    )
    def test_any_text_gives_settings_or_sentences(self, environ):
        for reason in reasons({}, environ):
            self.assertRegex(reason, r"\A[A-Z_]+: [^\n]+\.\Z")


class SecretTests(SynchronousTestCase):
    """Secrets from files, and how they stay secret."""

    def _file(self, content):
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_a_secret_from_a_file_loses_its_final_line_breaks_only(self):
        for content, secret in (
            (b"hunter2", "hunter2"), (b"hunter2\n", "hunter2"), (b"hunter2\r\n", "hunter2"),
            (b" a b \n", " a b "), ("pässword\n".encode(), "pässword"),
        ):  # fmt: skip
            self.assertEqual(read(Role, {}, {"TEST_PASSWORD_FILE": self._file(content)}).password, secret)

    def test_a_file_that_every_user_can_change_is_refused(self):
        path = self._file(b"hunter2")
        os.chmod(path, 0o644)
        self.assertEqual(read(Role, {}, {"TEST_PASSWORD_FILE": path}).password, "hunter2")
        os.chmod(path, 0o602)
        [said] = reasons({}, {"TEST_PASSWORD_FILE": path})
        self.assertIn("every user of this machine can change", said)
        self.assertNotIn("hunter2", said)

    def test_a_readable_file_and_spaces_around_a_secret_are_remarks(self):
        path = self._file(b"hunter2 \n")
        os.chmod(path, 0o644)
        chosen = Options({"TEST_PASSWORD_FILE": path})
        chosen.parseOptions([])
        readable, spaced = chosen.remarks
        self.assertIn("can read", readable)
        self.assertIn("ends with a space", spaced)
        self.assertNotIn("hunter2", readable + spaced)
        os.chmod(path, 0o600)
        with open(path, "w") as file:
            file.write("hunter2\n")
        chosen.parseOptions([])
        self.assertEqual(chosen.remarks, [])

    def test_a_secret_that_is_set_twice_is_refused(self):
        path = self._file(b"x")
        expected = ("TEST_TOKEN: is set, and TEST_TOKEN_FILE too; remove one of them.",)
        self.assertEqual(reasons({}, {"TEST_TOKEN": "x", "TEST_TOKEN_FILE": path}), expected)
        self.assertEqual(reasons({"TEST_TOKEN": "x", "TEST_TOKEN_FILE": path}), expected)

    def test_an_option_for_the_secret_wins_over_a_variable_for_the_file(self):
        path = self._file(b"from file")
        self.assertEqual(read(Role, {"TEST_TOKEN": "x"}, {"TEST_TOKEN_FILE": path}).token, "x")
        self.assertEqual(read(Role, {"TEST_TOKEN_FILE": path}, {"TEST_TOKEN": "x"}).token, "from file")

    def test_an_unusable_file_is_named_with_its_setting(self):
        folder = self.mktemp()
        os.mkdir(folder)
        fifo = self.mktemp()
        os.mkfifo(fifo)
        for path, wrong in (
            ("/nowhere/secret", "No such file"), (folder, "Is a directory"), (self._file(b"x" * 70_000), "longer than"),
            (self._file(b""), "empty"), (fifo, "not a file"), ("/dev/zero", "not a file"), ("/dev/null", "not a file"),
            ("a\0b", "not a valid file name"), (self._file(b"one\r\ntwo"), "more than one line"),
            (self._file(b"\n"), "empty"), (self._file(b"\xff\xfe"), "UTF-8"),
        ):  # fmt: skip
            (reason,) = reasons({}, {"TEST_TOKEN_FILE": path})
            self.assertTrue(reason.startswith(f"TEST_TOKEN: TEST_TOKEN_FILE names {path!r}, which "), reason)
            self.assertIn(wrong, reason)

    def test_only_secrets_are_read_from_files(self):
        self.assertEqual(read(Role, {}, {"TEST_PATH_FILE": self._file(b"x")}).path, "./db")

    def test_no_text_shows_a_secret(self):
        self.assertNotIn("hunter2", repr(read(Role, {"TEST_PASSWORD": "hunter2", "TEST_TOKEN": "hunter2"}, {})))
        path = self._file(b"hunter2\xff")
        found = reasons({}, {"TEST_PASSWORD": "hunter2", "TEST_PASSWORD_FILE": path, "TEST_TOKEN_FILE": path})
        self.assertEqual(len(found), 2)
        self.assertNotIn("hunter2", "".join(found))


class MisspeltTests(SynchronousTestCase):
    """Variables that nobody reads."""

    def test_a_misspelt_setting_is_refused_with_a_suggestion(self):
        for name, meant in (
            ("TEST_PASWORD", "TEST_PASSWORD"), ("TEST_PASSWD", "TEST_PASSWORD"), ("TESTPATH", "TEST_PATH"),
            ("TEST_PASSWORD_FIEL", "TEST_PASSWORD_FILE"), ("TEST_PAHT", "TEST_PATH"), ("TEST_TARGETS", "TEST_TARGET"),
            ("TEST_TOK", "TEST_TOKEN"), ("TSET_TOKEN", "TEST_TOKEN"),
        ):  # fmt: skip
            self.assertEqual(reasons({}, {name: "x"}), (f"{name}: no such setting; did you mean {meant}?",))

    def test_variables_of_other_programs_and_roles_are_ignored(self):
        for name in (
            "PATH", "HOME", "TEST", "TESTS", "TEST_OTHER", "BEST_PASSWORD", "MY_TEST_TOKEN", "DOCKER_PASSWORD",
            "TEST_PORT_8080_TCP", "TEST_SERVICE_PORT", "TEST_PORT_8080_TCP_ADDR", "TEST_PATH_FILE", "test_port",
        ):  # fmt: skip
            self.assertEqual(reasons({}, {name: "x"}), (), name)
        self.assertEqual(reasons({}, {"TEST_PORTS": "x"}, (Sibling,)), ())
        self.assertEqual(len(reasons({}, {"TEST_PORTS": "x"})), 1)


class CommandLineTests(SynchronousTestCase):
    """The options of twistd."""

    def _parse(self, *argv, **environ):
        parsed = Options(environ)
        parsed.parseOptions(list(argv))
        return parsed.settings

    def test_each_setting_has_an_option_in_lower_case_with_dashes(self):
        settings = self._parse("--test-port", "1", "--test-path=x", "--test-password=p", TEST_PORT="2", TEST_TOKEN="t")
        self.assertEqual(settings, Role(1, "x", None, "p", "t"))

    def test_an_option_can_set_an_empty_text(self):
        self.assertEqual(self._parse("--test-path=", TEST_PATH="x").path, "")

    def test_each_secret_has_an_option_for_its_file(self):
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("hunter2\n")
        self.assertEqual(self._parse("--test-password-file", path, TEST_PASSWORD="x").password, "hunter2")

    def test_plug_ins_find_options_in_the_effective_environment(self):
        parsed = Options({"TEST_TOKEN_FILE": "/x", "TEST_PASSWORD_FILE": "/y", "OTHER": "1"})
        self.assertRaises(SystemExit, parsed.parseOptions, ["--test-token=t"])
        self.assertEqual(parsed.effective, {"TEST_TOKEN": "t", "TEST_PASSWORD_FILE": "/y", "OTHER": "1"})

    def test_mistakes_end_the_process_with_one_line_each(self):
        error = self.assertRaises(SystemExit, self._parse, "--test-port=x", TEST_TARGET="y")
        self.assertEqual([line.partition(":")[0] for line in str(error).split("\n")], ["TEST_PORT", "TEST_TARGET"])

    def test_arguments_that_are_not_options_are_refused(self):
        self.assertIn("stray", str(self.assertRaises(SystemExit, self._parse, "stray")))
        self.assertRaises(UsageError, self._parse, "--no-such-thing=1")

    def test_help_shows_each_setting_with_variable_and_default(self):
        out = io.StringIO()
        with redirect_stdout(out):
            self.assertRaises(SystemExit, self._parse, "--help", TEST_PASSWORD="hunter2", TEST_PATH="/private")
        shown = " ".join(out.getvalue().split())
        for declared in settings_of(Role):
            default = "unset" if declared.default is None else declared.default
            self.assertIn(f"--{declared.option}=", shown)
            self.assertIn(f"{declared.help} ({declared.name}; default: {default})", shown)
        self.assertIn("--test-token-file=", shown)
        self.assertIn("(TEST_TOKEN_FILE)", shown)
        self.assertNotIn("hunter2", shown)
        self.assertNotIn("/private", shown)

    def test_the_default_environment_is_that_of_the_process(self):
        os.environ["TEST_PORT"] = "77"
        self.addCleanup(os.environ.pop, "TEST_PORT")
        parsed = Options()
        parsed.parseOptions([])
        self.assertEqual(parsed.settings.port, 77)
