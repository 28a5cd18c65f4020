"""Tests of C{confd.agent.outputs.file.templates}."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.file.ownership import Untrusted
from confd.agent.outputs.file.templates import Template, TemplateError

FACTS = {"version": 7, "tag": "1a2b3c4d.1.7", "namespace": "default", "checksum": "sha256:00"}


class TemplateTests(SynchronousTestCase):
    """What a template can reach, and what it cannot."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o755)

    def template(self, text: str, name: str = "x.j2") -> Template:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o644)
        return Template(str(path), "web-1", {"region": "eu"})

    def render(self, text: str, document: object = None) -> str:
        return self.template(text).render({} if document is None else document, FACTS).decode()

    def reason(self, text: str, document: object = None) -> str:
        return str(self.assertRaises(TemplateError, self.render, text, document))

    def test_names_of_a_template(self) -> None:
        text = "{{ doc.port }} {{ confd.version }} {{ confd.tag }} {{ host }} {{ meta.region }}\n"
        self.assertEqual(self.render(text, {"port": 80}), "80 7 1a2b3c4d.1.7 web-1 eu\n")

    def test_keys_come_before_methods(self) -> None:
        self.assertEqual(self.render("{{ doc.items }} {{ doc.get }}", {"items": 1, "get": 2}), "1 2")
        self.assertEqual(self.render("{% for k, v in doc.items() %}{{ k }}={{ v }} {% endfor %}", {"a": 1}), "a=1 ")

    def test_an_undefined_name_is_named_with_its_line(self) -> None:
        path = self.folder / "x.j2"
        self.assertEqual(self.reason("\n{{ doc.port }}"), f"line 2 of {path}: 'doc.port' is undefined")
        self.assertEqual(self.reason("{{ doc.a[0].b }}", {"a": [{}]}), f"line 1 of {path}: 'doc.a[0].b' is undefined")
        self.assertIn("'doc.x' is undefined", self.reason("{{ doc.x | json }}"))
        self.assertEqual(self.render("{{ doc.x | default('d') }}"), "d")

    def test_a_publisher_cannot_add_a_line(self) -> None:
        for value in ("a\nb", "a\rb", "a\x00b", "a\u2028b", "a\x85b", ["a\nb"], {"k\n": 1}):
            with self.subTest(value=value):
                # A list is shown by its representation, which escapes what it contains.
                if isinstance(value, str):
                    self.assertIn("multiline", self.reason("{{ doc.v }}", {"v": value}))
                    self.assertIn("multiline", self.reason("{{ doc.v | upper }}", {"v": value}))
                    self.assertIn("multiline", self.reason("{{ doc.v | sh }}", {"v": value}))
                else:
                    self.assertNotIn("\n", self.render("{{ doc.v }}", {"v": value}))
        self.assertEqual(self.render("{{ doc.v | multiline }}", {"v": "a\nb"}), "a\nb")
        self.assertIn("multiline", self.reason("{% for each in doc.v %}{{ each }}{% endfor %}", {"v": ["a\nb"]}))
        self.assertIn("multiline", self.reason("{% set x = 'k=' ~ doc.v %}{{ x }}", {"v": "a\nb"}))

    def test_filters(self) -> None:
        for text, expected in (
            ("{{ doc | json }}", '{"b": [1], "ö": null}'),
            ("{{ 'a b' | sh }}", "'a b'"),
            ("{{ 'ä' | b64encode }}", "w6Q="),
            ("{{ 'w6Q=' | b64decode }}", "ä"),
            ("{{ 'a' | sha256 }}", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
            ("{{ 'a-b' | regex_replace('-', '_') }}", "a_b"),
            ("{{ {'b': 1, 'a': 2} | dictsort }}", "[('a', 2), ('b', 1)]"),
            ("{{ doc.b | yaml }}", "- 1\n"),
            ("{{ {'a': {'b': 1}} | ini }}", "[a]\nb = 1\n"),
            ("{{ {'a': 1} | toml }}", "a = 1\n"),
        ):
            with self.subTest(text=text):
                self.assertEqual(self.render(text, {"b": [1], "ö": None}), expected)
        for text, part in (
            ("{{ '%' | b64decode }}", "Base64"),
            ("{{ 'a' | regex_replace('(') }}", "regular expression"),
            ("{{ {'a': None} | toml }}", "null"),
            ("{{ none }}", "null"),
        ):
            with self.subTest(text=text):
                self.assertIn(part, self.reason(text))

    def test_the_sandbox_holds(self) -> None:
        for text in (
            "{{ ''.__class__.__mro__ }}",
            "{{ doc.__class__ }}",
            "{{ doc['__class__'].__mro__ }}",
            "{{ host.format.__globals__ }}",
            "{{ '{0.__class__}'.format(host) }}",
            "{{ self.__init__.__globals__ }}",
            "{{ cycler.__init__.__globals__.os }}",
            "{{ lipsum.__globals__ }}",
            "{{ namespace.__init__.__globals__ }}",
            "{% for i in range(10**9) %}{% endfor %}",
            "{{ 'x' * 10**9 }}",
            "{{ 10 ** 9999999 }}",
            "{% set _ = doc.update({'a': 1}) %}",
            "{% set _ = doc.list.append(1) %}",
            "{% include '../x.j2' %}",
            "{% include '/etc/passwd' %}",
            "{% include 'x.j2' %}",
        ):
            with self.subTest(text=text):
                self.assertTrue(self.reason(text, {"list": []}))

    def test_a_template_includes_its_neighbours(self) -> None:
        self.template("port {{ doc.port }}\n", "part.j2")
        self.assertEqual(self.render("{% include 'part.j2' %}", {"port": 1}), "port 1\n")
        self.assertIn("gone.j2 does not exist", self.reason("{% include 'gone.j2' %}"))

    def test_an_endless_output_ends(self) -> None:
        text = "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}"
        self.assertIn("renders more than", self.reason(text))

    def test_a_mistake_of_syntax_is_found_at_the_start(self) -> None:
        template = self.template("a\n{% if %}")
        self.assertIn(f"line 2 of {template.path}: ", str(self.assertRaises(TemplateError, template.check)))

    def test_a_template_that_others_may_change_is_not_used(self) -> None:
        template = self.template("a")
        os.chmod(template.path, 0o666)
        self.assertIn("can be changed by others", str(self.assertRaises(Untrusted, template.render, {}, FACTS)))
        os.chmod(template.path, 0o644)
        os.chmod(self.folder, 0o777)
        self.assertIn(str(self.folder), str(self.assertRaises(Untrusted, template.check)))
