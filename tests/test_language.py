"""
Tests of the language: docstrings, texts and pages avoid the phrases that hide who does what.

CONTRIBUTING.rst explains the rules. Most phrases have a plain replacement: name the thing, and use a verb.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.test_architecture import NO_VERB, NOUNS_YET, Module, docstrings, modules

ROOT = Path(__file__).resolve().parents[1]

#: Folders and files that still have such phrases. Remove an entry once it is clean; never add one.
UNCLEAN: tuple[str, ...] = ()

_PHRASES = re.compile(
    r"\b("
    r"those (?:that|which|who)"
    r"|(?:every|any|each|the |this |that |no )?one (?:that|which|who)"
    r"|(?:some|any|every)body"
    r"|whoever|whosoever|whose own"
    r"|of (?:which|whom)"
    r"|anew|no longer so|well again|in force|laggards?|came of (?:it|them)"
    r"|(?:is|are|was|were|be|been|being) told"
    r"|what (?:is|are)(?! (?:wrong|missing)\b)"
    r"|(?<!if )there (?:is|are|was|were)"
    r"|what became of"
    r")\b",
    re.IGNORECASE,
)

#: Literals are names of the code and of the wire.
_LITERAL = re.compile(r"(?<=\w)\.\w+|``[^`]+``|[CL]\{[^}]*\}|\"[a-z_]+\":?")

#: Blocks of code and of output in a page.
_BLOCK = re.compile(r"^\.\. code-block:: .*\n(?:   .*\n|\n)+", re.MULTILINE)


@frozen
class Text:
    """
    A text for people.

    @ivar path: of its file, below the repository.
    @ivar line: in that file, from 1.
    """

    path: str
    line: int
    text: str

    def hits(self) -> list[str]:
        """Return a line for each phrase of this text that the rules reject."""
        clean = _LITERAL.sub(lambda literal: re.sub(r"\S", "_", literal[0]), self.text)
        return [
            f"{self.path}:{self.line + clean.count(chr(10), 0, found.start())}: {found[0]!r}"
            for found in _PHRASES.finditer(clean)
        ]


def python_texts(path: str, source: str) -> Iterator[Text]:
    """Yield each string of a module that has a space in it: docstrings, help texts, errors and log lines."""
    tree = ast.parse(source)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            yield Text(path, node.lineno, "".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and id(node) not in inside and " " in str(node.value):
            yield Text(path, node.lineno, str(node.value))


def page_texts(path: str, source: str) -> Iterator[Text]:
    """Yield a page without its blocks of code, with its lines in place."""
    yield Text(path, 1, _BLOCK.sub(lambda block: "\n" * block[0].count("\n"), source))


def script_texts(path: str, source: str) -> Iterator[Text]:
    """Yield a page or a script of the dashboard, with its comments."""
    yield Text(path, 1, source)


#: How the texts are read, by folder and by suffix.
_READERS = {
    ("confd", ".py"): python_texts,
    ("confd", ".rst"): page_texts,
    ("confd", ".js"): script_texts,
    ("confd", ".html"): script_texts,
    ("docs", ".rst"): page_texts,
    ("docs", ".py"): python_texts,
    ("newsfragments", ".rst"): page_texts,
    ("deploy", ".yml"): script_texts,
    ("deploy", ".env"): script_texts,
    ("deploy", ".service"): script_texts,
    ("benchmarks", ".py"): python_texts,
    ("benchmarks", ".rst"): page_texts,
    ("tests/fuzz", ".py"): python_texts,
    ("tests/integration", ".py"): python_texts,
    ("scripts", ".sh"): script_texts,
    ("scripts", ".py"): python_texts,
}


def texts() -> Iterator[Text]:
    """Yield every text of the repository that the rules hold for."""
    for (folder, suffix), read in _READERS.items():
        for file in sorted((ROOT / folder).rglob(f"*{suffix}")):
            if not {"_build", "swagger", "__pycache__"} & set(file.parts):
                yield from read(str(file.relative_to(ROOT)), file.read_text("utf-8"))
    for name in ("README.rst", "CONTRIBUTING.rst"):
        yield from page_texts(name, (ROOT / name).read_text("utf-8"))


class PhraseTests(SynchronousTestCase):
    """The phrases that L{Text.hits} rejects."""

    def test_clean_folders_have_no_such_phrase(self) -> None:
        found = list(texts())
        self.assertGreater(len(found), 1000)
        self.assertEqual([hit for text in found if not text.path.startswith(UNCLEAN) for hit in text.hits()], [])

    def test_each_unclean_folder_still_has_one(self) -> None:
        """An entry of L{UNCLEAN} goes with its last phrase."""
        hits = [hit for text in texts() for hit in text.hits()]
        self.assertEqual([each for each in UNCLEAN if not any(hit.startswith(each) for hit in hits)], [])

    def test_each_module_of_the_noun_list_still_has_one(self) -> None:
        """An entry of L{NOUNS_YET} goes with its last docstring that begins with a noun."""
        begins = {module.name for module in modules("confd") for problem in docstrings(module) if NO_VERB in problem}
        nouns = [Module(name, "") for name in begins]
        self.assertEqual([each for each in NOUNS_YET.split() if not any(noun.among(each) for noun in nouns)], [])

    def test_rejects_each_phrase(self) -> None:
        for phrase in (
            "Keep those that answer.",
            "Return the one that won.",
            "Somebody was faster.",
            "Tell whoever asks.",
            "A list, of which the first counts.",
            "Connect anew.",
            "It is no longer so.",
            "The caller is told.",
            "Return what is there.",
            "There is a newer version.",
            "The version in force.",
            "controller: well again",
            "What became of a version.",
        ):
            with self.subTest(phrase=phrase):
                [hit] = Text("page.rst", 7, f"First line.\n{phrase}").hits()
                self.assertIn("page.rst:8: ", hit)

    def test_accepts_plain_sentences_and_literals(self) -> None:
        for text in (
            "Return the current configuration of a namespace.",
            "The error says what is wrong, where, and what to do.",
            "Return C{None} if there is no current version.",
            "The field ``laggards`` keeps its name, and so does C{anew}.",
        ):
            self.assertEqual(Text("page.rst", 1, text).hits(), [])

    def test_reads_docstrings_messages_and_pages(self) -> None:
        module = '"""Made anew."""\ndef f(n):\n    raise ValueError(f"{n} of whoever asks")\nnames = "anew"\n'
        self.assertEqual(
            [hit for text in python_texts("a.py", module) for hit in text.hits()],
            ["a.py:1: 'anew'", "a.py:3: 'whoever'"],
        )
        page = "Title\n\n.. code-block:: text\n\n   made anew\n\nMade anew.\n"
        self.assertEqual([hit for text in page_texts("p.rst", page) for hit in text.hits()], ["p.rst:7: 'anew'"])
