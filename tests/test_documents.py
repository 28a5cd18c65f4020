"""The pages build without a warning, tell all that there is, and name nothing that is not there."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.settings import all_roles

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

MISSING = (
    None
    if importlib.util.find_spec("sphinx") and importlib.util.find_spec("furo")
    else "SPHINX IS MISSING: nothing is known of the documents; install the extra 'docs'"
)

#: What is named on a page, and is of something else.
OTHER_NAMES = {
    "X_FILE": "stands for any",
    "FILEWATCH_FILE": "of the example",
    "WEBSOCKET_URL": "of the example",
    "GATEWAY_LISTEN": "of the example",
    "RELEASES_FOLDER": "of the example",
    "CONFD_SEED": "of the tests",
    "CONFD_LONG": "of the tests",
    "CONFD_ROUNDS": "of the tests",
    "CONFD_GOLDEN": "of the tests",
    "SyncRep": "of PostgreSQL",
    "DEFAULT_GROUP": "of Nacos",
    "CONTROLLER_DB_PATH": "of the Go system",
    "CONTROLLER_ADMIN_USER": "of the Go system",
    "CONTROLLER_AGENT_USER": "of the Go system",
    "CONTROLLER_USER": "of the Go system",
    "HTTP_PROXY": "of every program",
    "HTTPS_PROXY": "of every program",
    "NO_PROXY": "of every program",
    "FLAG_NOT_FOUND": "of OFREP",
    "NoTransition": "of Automat",
    "RETRY_MAX_SECONDS": "a constant",
}

_LITERAL = re.compile(r"``([^`]+)``")
_BLOCK = re.compile(r"^\.\. code-block:: .*\n\n(?:   .*\n|\n)+", re.MULTILINE)
_TERM = re.compile(r"^``(.+)``$", re.MULTILINE)


@cache
def reference() -> Any:
    """The extension that writes the reference."""
    spec = importlib.util.spec_from_file_location("confd_reference", DOCS / "_ext/confd_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages() -> dict[str, str]:
    """Every page that somebody wrote, by its path."""
    found = [ROOT / "README.rst", ROOT / "CONTRIBUTING.rst", *DOCS.rglob("*.rst")]
    return {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in found if "_build" not in page.parts}


def names(pattern: str) -> Iterator[tuple[str, str]]:
    """Page and name, for all names of one kind."""
    for page, text in pages().items():
        for name in re.findall(pattern, text):
            yield page, name


@cache
def code() -> str:
    """All that names could be of: what is run, configured or shipped."""
    folders = (
        "confd",
        "twisted",
        "tests",
        "deploy",
        "scripts",
        "benchmarks",
        "docs/examples",
        "docs/_ext",
        "docs/diagrams",
    )
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in _TEXTS]
    files += [ROOT / name for name in ("Makefile", "setup.cfg", "docker-compose.yml", "docker-compose.edge.yml")]
    return "\n".join(path.read_text("utf-8") for path in files if path.name != "test_documents.py")


_TEXTS = {".py", ".sh", ".sql", ".yml", ".env", ".service", ".socket", ".cfg"}


@cache
def sentences() -> str:
    """The texts of the code, each on a line, with a gap where a value goes."""
    found = []
    for path in (ROOT / "confd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"\{\w+\}", "\0", node.value))
    return "\n".join(found)


class BuildTests(SynchronousTestCase):
    """C{make docs}."""

    skip = MISSING

    def test_builds(self) -> None:
        """Without a warning; and what the code has is on the pages of the reference."""
        out = Path(self.mktemp()).resolve()
        command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", str(DOCS), str(out)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        mentioned = {
            page: unescape(re.sub(r"<[^>]+>", "", (out / f"reference/{page}.html").read_text("utf-8")))
            for page in ("settings", "api", "metrics", "confdctl")
        }
        wanted = {
            "settings": [name for role in all_roles() for name in reference().setting_names(role)],
            "api": [f"{method} {path}" for method, path in self.routes()],
            "metrics": [name for name in metrics() if name.startswith("confd_")],
            "confdctl": [f"confdctl {name}" for name in reference().cli.commands],
        }
        for page, wanted_names in wanted.items():
            self.assertTrue(wanted_names)
            self.assertEqual([name for name in wanted_names if name not in mentioned[page]], [], page)

    def routes(self) -> Iterator[tuple[str, str]]:
        """Methods and paths of both roles."""
        for role in ("controller", "worker"):
            for path, item in reference().api_document(role)["paths"].items():
                for method in item:
                    yield method.upper(), path

    def test_front_door(self) -> None:
        """A viewer without Sphinx shows the README whole: its links lead to files."""
        from docutils.core import publish_doctree
        from docutils.nodes import image, reference

        readme = (ROOT / "README.rst").read_text("utf-8")
        tree = publish_doctree(readme, settings_overrides={"halt_level": 2, "report_level": 2})
        targets = [node["refuri"] for node in tree.findall(reference)] + [node["uri"] for node in tree.findall(image)]
        files = [target for target in targets if "://" not in target]
        self.assertGreater(len(files), 8)
        self.assertEqual([file for file in files if not (ROOT / file).exists()], [])


def metrics() -> set[str]:
    """The names of all figures."""
    families = [family for role in ("controller", "agent", "worker") for family in reference().metric_families(role)]
    return {reference().metric_name(family) for family in families}


class NamesTests(SynchronousTestCase):
    """The documents name only what exists."""

    skip = MISSING

    def wrong(self, pattern: str, known: Any) -> None:
        """Fail with the names of a kind that are not C{known}."""
        found = list(names(pattern))
        self.assertTrue(found, pattern)
        self.assertEqual([(page, name) for page, name in found if not known(name)], [])

    def test_settings(self) -> None:
        compose = set(re.findall(r"\$\{([A-Z_]+)", code()))
        theirs = {name for role in all_roles() for name in reference().setting_names(role)}
        confdctl = set(re.findall(r'"((?:CONFD|ADMIN)_[A-Z_]+)"', (ROOT / "confd/cli/profile.py").read_text("utf-8")))
        prefixed = {f"CONFD_{name}" for name in theirs}
        output = (ROOT / "confd/agent/outputs/file/output.py").read_text("utf-8")
        commands = set(re.findall(r'"(CONFD_[A-Z_]+)"', output))
        known = theirs | prefixed | confdctl | compose | commands | {"CONFD_PROFILE"} | OTHER_NAMES.keys()
        self.wrong(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", known.__contains__)
        # The exceptions, too, are on a page.
        self.assertEqual(OTHER_NAMES.keys() - {name for _, name in names(r"\b[A-Z]\w+\b")}, set())

    def test_paths(self) -> None:
        there = [
            re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))
            for role in ("controller", "worker")
            for path in reference().api_document(role)["paths"]
        ]
        self.wrong(r"(/api/v1/[a-z][\w/{}$-]*)", re.compile("|".join(there)).fullmatch)

    def test_metrics(self) -> None:
        known = metrics() | {path.stem for path in DOCS.rglob("*.py")} | {"confd_ctl"}
        self.wrong(
            r"(?<![/\w])confd_[a-z_]+\b(?!\.py)",
            lambda name: name in known or name.startswith(("confd_filewatch", "confd_releases", "confd_websocket")),
        )

    def test_files(self) -> None:
        self.wrong(
            r"(?<![\w/.])((?:docs(?!/_build)|tests|deploy|scripts|benchmarks|confd)/[\w/.-]*\w)",
            # Or a page, which a list of pages names from where it stands.
            lambda name: (ROOT / name).exists() or (DOCS / f"{name}.rst").exists(),
        )

    def test_targets(self) -> None:
        makefile = (ROOT / "Makefile").read_text("utf-8")
        self.wrong(r"(?:``|\$ )make ([a-z][a-z-]*)", lambda name: re.search(rf"^{name}:", makefile, re.MULTILINE))

    def test_words(self) -> None:
        """Each word that is set as code is in the code."""
        settings = {name for role in all_roles() for name in reference().setting_names(role)}
        words = {*re.findall(r"\w+", code()), *OTHER_NAMES, *metrics(), *settings}
        wrong = [
            (page, literal)
            for page, text in pages().items()
            for literal in _LITERAL.findall(_BLOCK.sub("", text))
            if re.fullmatch(r"[a-zA-Z_]\w+", literal) and literal not in words
        ]
        self.assertEqual(wrong, [])

    def test_modules(self) -> None:
        """Each module and folder that the architecture page names exists."""
        page = (DOCS / "architecture.rst").read_text("utf-8")
        dotted = re.findall(r"``((?:web|brokers|controller|agent|worker|cli|client|codec|runtime)(?:\.\w+)+)``", page)
        self.assertTrue(dotted)
        for name in dotted:
            path = ROOT / "confd" / name.replace(".", "/")
            self.assertTrue(path.is_dir() or path.with_suffix(".py").is_file(), name)

    def test_modules_of_a_folder(self) -> None:
        """Each short name in the entry of a folder on the architecture page is a module in that folder."""
        entries = re.split(r"\n\n|\n\* ", (DOCS / "architecture.rst").read_text("utf-8"))
        seen = 0
        for folder, text in (found for each in entries for found in re.findall(r"(?s)^``([\w.]+)``: (.*)", each)):
            path = ROOT / "confd" / folder.replace(".", "/")
            for name in re.findall(r"``([a-z_]+)``", text) if path.is_dir() else ():
                self.assertTrue([*path.rglob(f"{name}.py"), *path.rglob(f"{name}/__init__.py")], f"{folder}: {name}")
                seen += 1
        self.assertGreater(seen, 20)

    def test_module_map(self) -> None:
        """The architecture page names each folder of confd, or a module in it."""
        page = (DOCS / "architecture.rst").read_text("utf-8")
        folders = [each.parent.relative_to(ROOT / "confd") for each in (ROOT / "confd").glob("*/*/__init__.py")]
        self.assertGreater(len(folders), 10)
        self.assertEqual([each for each in folders if not re.search(rf"``{each.parent}\.{each.name}\b", page)], [])

    def test_tests(self) -> None:
        """Each test that a page names by its dotted name exists."""
        dotted = {name for _, name in names(r"``(tests(?:\.\w+)+)``")}
        self.assertGreater(len(dotted), 20)
        for name in dotted:
            path, _, rest = name.partition(".test_")
            module, *parts = f"test_{rest}".split(".")
            tree = ast.parse((ROOT / path.replace(".", "/") / f"{module}.py").read_text("utf-8"))
            for part in parts:
                found = [each for each in ast.walk(tree) if getattr(each, "name", None) == part]
                self.assertTrue(found, name)
                tree = found[0]

    def test_promises(self) -> None:
        """The code names promises by codes that the page has; and a code is always called a promise."""
        page = (DOCS / "promises.rst").read_text("utf-8")
        self.assertEqual(re.findall(r"^G(\d+): ", page, re.MULTILINE), [str(number) for number in range(1, 13)])
        for folder in ("confd", "tests", "benchmarks"):
            for path in (ROOT / folder).rglob("*.py"):
                text = path.read_text("utf-8")
                for code in re.finditer(r"(?<![\w\"])G(\d+)\b(?!\")", text):
                    if path.name != "test_documents.py":
                        self.assertIn("romise", text[max(0, code.start() - 25) : code.start()], f"{path}: {code[0]}")
                        self.assertIn(f"\nG{code[1]}: ", page, path)

    def test_diagrams(self) -> None:
        """Each diagram is drawn from its text as it is now, and a wrong line is refused."""
        spec = importlib.util.spec_from_file_location("draw", DOCS / "diagrams/draw.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        texts = sorted((DOCS / "diagrams").glob("*.txt"))
        self.assertEqual([path.stem for path in texts], ["publish", "report"])
        for path in texts:
            picture = (DOCS / f"images/{path.stem}-sequence.svg").read_text("utf-8")
            self.assertEqual(module.draw(path.read_text("utf-8")), picture, f"run python {DOCS}/diagrams/draw.py")
        self.assertRaises(ValueError, module.draw, "title: T\nparties: A | B\nA -> C: call\n")

    def test_sentences(self) -> None:
        """What troubleshooting quotes is what is said, but for what stands for a value."""
        quoted = [
            quote
            for quote in _TERM.findall((DOCS / "troubleshooting.rst").read_text("utf-8"))
            if len(quote.split()) > 3
        ]
        self.assertGreater(len(quoted), 20)
        said = sentences()
        for quote in quoted:
            for piece in quote.split("…"):
                self.assertIn(re.sub(r"^[A-Z_]+: ", "", piece).strip(), said, quote)
