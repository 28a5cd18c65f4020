"""Installations of the sdist, of the wheel, and of the clone in editable form."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

from twisted.trial.unittest import SynchronousTestCase

import confd
from tests.integration.fleet import PATIENCE, clean_environment, eventually, free_port

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("confd-controller", "confd-agent", "confd-worker", "confd-dev")


def run(*command, cwd=None):
    """
    Run a command outside the clone.

    @raise AssertionError: with its output, if it failed.
    """
    environ = {name: text for name, text in clean_environment().items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise AssertionError(f"{command} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def copy_of_clone(folder):
    """Copy the clone without the files that git ignores, so that a build leaves nothing in the clone."""
    ignored = shutil.ignore_patterns(
        ".*", "__pycache__", "build", "dist", "*.egg-info", "dropin.cache", "confd-data", "_trial*"
    )
    return Path(shutil.copytree(ROOT, folder / "clone", ignore=ignored))


class Installation:
    """A virtual environment that borrows the dependencies of this one, but not its confd."""

    def __init__(self, folder):
        self.folder = folder.resolve()
        venv.create(self.folder, with_pip=False, symlinks=True)
        self.python = self.folder / "bin" / "python"
        # Python searches a folder in a .pth file, and ignores the .pth files in it, such as that of an editable confd.
        (self.packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.twistd = self.folder / "bin" / "twistd"
        self.twistd.write_text(f"#!{self.python}\nfrom twisted.scripts.twistd import run\nrun()\n")
        self.twistd.chmod(0o755)

    @property
    def packages(self):
        """The folder of its own packages."""
        return next((self.folder / "lib").glob("python*")) / "site-packages"

    def install(self, *what):
        """Install without dependencies, and without asking a network."""
        pip = (
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.python,
            "--disable-pip-version-check",
            "install",
            "--quiet",
        )
        run(*pip, "--no-index", "--no-deps", "--no-build-isolation", *what)

    def located(self, folder):
        """Return the file of confd that Python imports in C{folder}."""
        return run(self.python, "-c", "import confd; print(confd.__file__)", cwd=folder).strip()

    def commands(self, folder):
        """Return the commands of confd that twistd lists in C{folder}."""
        return {word for word in run(self.twistd, "--help", cwd=folder).split() if word in COMMANDS}


class Case(SynchronousTestCase):
    """A test with a folder for an installation, and an unrelated folder."""

    def setUp(self):
        self.folder = Path(self.mktemp()).resolve()
        self.elsewhere = self.folder / "elsewhere"
        self.elsewhere.mkdir(parents=True)


class DistributionTests(Case):
    """C{make dist}, and C{pip install} of both files."""

    def setUp(self):
        super().setUp()
        out = self.folder / "wheels"
        # The wheel is built from the sdist, as for a user who has only the sdist.
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy_of_clone(self.folder))
        (self.wheel,), (self.sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")

    def test_wheel(self):
        """The wheel holds what it should; its commands run from an unrelated folder, and end with status 0."""
        self._holds_the_packages()
        installation = Installation(self.folder / "installation")
        installation.install(self.wheel)
        self.assertTrue(installation.located(self.elsewhere).startswith(str(installation.packages)))
        self.assertEqual(installation.commands(self.elsewhere), set(COMMANDS))
        for command in COMMANDS:
            with self.subTest(command=command):
                self._starts(installation, command)
        ctl = installation.folder / "bin" / "confdctl"
        self.assertIn("confdctl COMMAND --help", run(ctl, "--help", cwd=self.elsewhere))
        self.assertEqual(run(ctl, "--version", cwd=self.elsewhere), f"confdctl {confd.__version__}\n")
        self._kafka_is_an_extra(installation)

    def test_sdist(self):
        """The sdist installs the same files and version as the wheel."""
        for file in (self.wheel, self.sdist):
            self.assertIn(f"-{confd.__version__}", file.name)
        installation = Installation(self.folder / "installation")
        installation.install(self.sdist)
        self.assertEqual(installation.commands(self.elsewhere), set(COMMANDS))
        installed = {str(path.relative_to(installation.packages)) for path in installation.packages.rglob("confd/**/*")}
        self.assertEqual({n for n in ZipFile(self.wheel).namelist() if n.startswith("confd/")} - installed, set())

    def _holds_the_packages(self):
        """Check that the wheel holds all files of the packages: schemas, pages and licenses; and no tests."""
        names = set(ZipFile(self.wheel).namelist())
        paths = [path for each in ("confd", "twisted") for path in (ROOT / each).rglob("*") if path.is_file()]
        made = {path for path in paths if path.name == "dropin.cache" or "__pycache__" in path.parts}
        self.assertEqual({str(path.relative_to(ROOT)) for path in paths if path not in made} - names, set())
        self.assertLessEqual({"confd/py.typed", "twisted/plugins/confd_services.py"}, names)
        self.assertTrue(any(name.startswith("confd/controller/store/sqlite/schema/") for name in names))
        tops = {name.partition("/")[0] for name in names}
        self.assertEqual({top for top in tops if not top.endswith(".dist-info")}, {"confd", "twisted"})
        self.assertFalse([name for name in names if name.startswith("twisted/") and name.endswith("__init__.py")])
        self.assertTrue(any(name.endswith("/LICENSE") for name in names))

    def _kafka_is_an_extra(self, installation):
        """Check that KAFKA works with aiokafka, and without it names the command that installs it."""
        with ZipFile(self.wheel) as wheel:
            (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            self.assertRegex(wheel.read(metadata).decode(), r"Requires-Dist: aiokafka\b.*; extra == .kafka.")
        kafka = ("--distribution-strategy", "KAFKA", "--kafka-bootstrap", f"127.0.0.1:{free_port()}")
        self._starts(installation, "confd-controller", *kafka)
        # The folder of the installation comes before the borrowed one.
        (installation.packages / "aiokafka.py").write_text("raise ModuleNotFoundError\n")
        for setting, option in (
            ("DISTRIBUTION_STRATEGY: KAFKA", kafka),
            ("KAFKA_AUDIT_TOPIC: it", ("--kafka-audit-topic", "audit")),
        ):
            with self.assertRaises(AssertionError) as caught:
                self._starts(installation, "confd-controller", *option)
            self.assertIn(
                f"{setting} needs aiokafka; install it with: pip install 'confd[kafka]'.", str(caught.exception)
            )
            self.assertNotIn("Traceback", str(caught.exception))

    def _starts(self, installation, command, *more):
        options = {
            "confd-controller": ["--port", str(free_port())],
            "confd-agent": ["--controller-url", f"http://127.0.0.1:{free_port()}"],
            "confd-worker": ["--port", str(free_port())],
            "confd-dev": ["--port", str(free_port()), "--worker-port", str(free_port())],
        }[command]
        log = self.folder / f"{command}.log"
        log.unlink(missing_ok=True)
        environ = {name: text for name, text in clean_environment().items() if name != "PYTHONPATH"}
        with log.open("wb") as file:
            child = subprocess.Popen(
                [str(installation.twistd), "-n", "--pidfile=", command, *options, *more],
                cwd=self.elsewhere,
                env=environ,
                stdout=file,
                stderr=file,
            )
        try:
            eventually(lambda: f"{command} is up" in log.read_text() or child.poll() is not None)
            child.send_signal(signal.SIGTERM)
            self.assertEqual(child.wait(PATIENCE), 0, log.read_text())
        finally:
            child.kill()
            child.wait()


class EditableTests(Case):
    """C{pip install -e .}"""

    def test_commands(self):
        """twistd finds the commands from any folder, and imports them from the clone."""
        installation = Installation(self.folder / "installation")
        clone = copy_of_clone(self.folder)
        installation.install("--editable", clone)
        for folder in (self.elsewhere, clone, os.sep):
            self.assertEqual(installation.commands(folder), set(COMMANDS))
            self.assertEqual(installation.located(folder), str(clone / "confd" / "__init__.py"))
