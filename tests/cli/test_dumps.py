"""Tests of the readers of dumps: F{dumps} has what real programs wrote, and what the sources of others say."""

from __future__ import annotations

import base64
import io
import json
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.file.formats import write_properties
from confd.cli.archives import read_archive
from confd.cli.dumps import ReadOptions, read_dump, read_flat
from confd.cli.errors import CommandError, Exit
from confd.cli.key_tree import inferred, namespace_named
from confd.codec.environment_file import write_env

FOLDER = Path(__file__).with_name("dumps")

#: Texts that a document can hold.
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)
_PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]))
_VARIABLES = st.from_regex("[A-Z_][A-Z0-9_]*", fullmatch=True)
_TREES = st.recursive(_TEXTS, lambda below: st.dictionaries(_KEYS, below, min_size=1), max_leaves=8)


class DumpsTestCase(SynchronousTestCase):
    def read(self, kind: str, raw: bytes, prefix: str = "", nest: bool = False) -> Any:
        """Return the document in a dump."""
        return read_flat(kind, raw, "F", ReadOptions(prefix, nest)).value

    def refused(
        self, kind: str, raw: bytes, *words: str, status: Exit = Exit.INVALID, prefix: str = ""
    ) -> CommandError:
        """Check that a dump is refused with these words."""
        read: Any = self.read if kind not in ("apollo", "nacos") else read_all
        error: CommandError = self.assertRaises(CommandError, read, kind, raw, prefix)
        self.assertEqual(error.status, status)
        for each in words:
            self.assertIn(each, "\n".join([error.sentence, *error.details]))
        return error


def read_all(kind: str, raw: bytes, prefix: str = "") -> dict[str | None, Any]:
    """Return the documents in an archive, by namespace."""
    return {each.namespace: each.value for each in read_archive(kind, raw, "F", ReadOptions(prefix))}


def consul(pairs: Mapping[str, bytes]) -> bytes:
    """Write as C{consul kv export} does."""
    entries = [{"key": key, "flags": 0, "value": base64.b64encode(raw).decode()} for key, raw in pairs.items()]
    return json.dumps(entries, indent="\t").encode()


def etcd(pairs: Mapping[str, bytes], **more: Any) -> bytes:
    """Write as C{etcdctl get -w json} does."""
    kvs = [
        {"key": base64.b64encode(key.encode()).decode(), "version": 1, "value": base64.b64encode(raw).decode()}
        for key, raw in pairs.items()
    ]
    return json.dumps({"header": {"revision": 9}, "kvs": kvs, "count": len(kvs), **more}).encode()


def leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return the texts of a tree by their paths."""
    if isinstance(tree, str):
        return {"/".join(path): tree.encode()}
    return {key: raw for name, below in tree.items() for key, raw in leaves(below, (*path, name)).items()}


class KeyTests(DumpsTestCase):
    """Dumps of Consul and etcd."""

    def test_dump_of_a_real_etcd(self) -> None:
        raw = (FOLDER / "etcd-3.4.json").read_bytes()
        app = {"empty": "", "grüße": 'ü "quoted"', "limits": {"on": "true", "rate": "100"}, "url": "http://example.com"}
        self.assertEqual(self.read("etcd", raw), {"app": app, "other": {"key": "value"}})
        self.assertEqual(self.read("etcd", raw, prefix="/app/"), app)
        self.refused("etcd", (FOLDER / "etcd-conflict.json").read_bytes(), "app/limits is a value and also has keys")

    def test_dump_of_a_real_consul(self) -> None:
        raw = (FOLDER / "consul-1.15.json").read_bytes()
        app = {"empty": "", "grüße": 'ü "quoted"', "limits": {"on": "true", "rate": "100"}, "url": "http://example.com"}
        self.assertEqual(self.read("consul", raw), {"app": app, "other": {"key": "value"}})
        self.assertEqual(self.read("consul", raw, prefix="app/"), app)
        self.refused(
            "consul", (FOLDER / "consul-conflict.json").read_bytes(), "app/limits is a value and also has keys"
        )

    def test_consul(self) -> None:
        raw = consul({"app/": b"", "app/a/b": b"1", "app/c": b"", "other": b"x"})
        self.assertEqual(self.read("consul", raw), {"app": {"a": {"b": "1"}, "c": ""}, "other": "x"})
        self.assertEqual(self.read("consul", raw, prefix="app/"), {"a": {"b": "1"}, "c": ""})
        self.refused("consul", raw, "no key that begins with nowhere", status=Exit.NOT_FOUND, prefix="nowhere")

    def test_all_conflicts_are_listed(self) -> None:
        raw = consul({"a": b"1", "a/b": b"2", "a/b/c": b"3", "d/e": b"4", "d/e/f/g": b"5", "x//y": b"1", "x/y": b"2"})
        error = self.refused("consul", raw)
        self.assertEqual(
            set(error.details),
            {
                "a is a value and also has keys below it.",
                "d/e is a value and also has keys below it.",
                "x/y is there twice.",
            },
        )

    def test_other_versions_and_half_written_files(self) -> None:
        good = consul({"a": b"1"})
        for kind, raw, words in (
            ("consul", b"", "not JSON"),
            ("consul", good[:-9], "may be incomplete"),
            ("consul", b"{}", "no dump of Consul; make one with: consul kv export"),
            ("consul", b'[{"Key": "a", "Value": "MQ==", "Flags": 0}]', "answer of the HTTP API"),
            ("consul", b"[1]", "no dump of Consul"),
            ("consul", b"[]", "holds no key"),
            ("consul", b'[{"key": "a", "value": "MQ"}]', "the value of a is not base64"),
            ("consul", consul({"a/b": b"\xff"}), "the value of a/b is not UTF-8"),
            ("etcd", etcd({"a": b"1"})[:-5], "may be incomplete"),
            ("etcd", b'{"action": "get", "node": {"key": "/"}}', "no dump of etcd 3"),
            ("etcd", b"[]", "no dump of etcd 3"),
            ("etcd", etcd({}), "holds no key"),
            ("etcd", etcd({"a": b"1"}, count=7, more=True), "holds 1 of 7 keys"),
            ("etcd", etcd({"a": b"\xff"}), "the value of a is not UTF-8"),
        ):
            with self.subTest(raw=raw):
                self.refused(kind, raw, "F", words)

    @given(st.dictionaries(_KEYS, _TREES, min_size=1))
    def test_any_tree_comes_back(self, tree: Any) -> None:
        pairs = leaves(tree)
        self.assertEqual(self.read("consul", consul(pairs)), tree)
        self.assertEqual(self.read("etcd", etcd(pairs)), tree)

    @given(st.binary())
    def test_any_bytes_are_read_or_refused(self, raw: bytes) -> None:
        for kind in ("consul", "etcd", "properties", "env", "yaml", "toml", "json"):
            try:
                self.assertIsInstance(self.read(kind, raw), dict)
            except CommandError as error:
                self.assertEqual(error.status, Exit.INVALID)


class LineTests(DumpsTestCase):
    """Properties and environment files."""

    def test_properties(self) -> None:
        raw = "# c\n! c\na.b = 1\nc:2\nd 3\n e\\ f=\\u00fc\\ud83d\\ude00\\tx\n\ng=one,\\\n   two\nh\ni=a=b\\\\\n"
        found = {"a.b": "1", "c": "2", "d": "3", "e f": "ü😀\tx", "g": "one,two", "h": "", "i": "a=b\\"}
        self.assertEqual(self.read("properties", raw.encode()), found)
        self.assertEqual(self.read("properties", b"a.b=1\r\na.c=2\r\n", nest=True), {"a": {"b": "1", "c": "2"}})
        self.assertEqual(self.read("properties", b"app.a=1\nb=2\n", prefix="app."), {"a": "1"})
        self.refused("properties", b"a=1\na=2\n", "a is there twice")
        self.refused("properties", b"ok=1\na=\xff\n", "line 2: this is not UTF-8")

    def test_env(self) -> None:
        raw = '# c\n\nA=1\nexport B=two words\nC="a \\"b\\" \\$x"\nD=\'$x\'\nE=\n'
        found = {"A": "1", "B": "two words", "C": 'a "b" $x', "D": "$x", "E": ""}
        self.assertEqual(self.read("env", raw.encode()), found)
        for wrong in ("A", "1A=2", "A B=1", 'A="x', 'A="x" y', "A='x"):
            self.refused("env", f"OK=1\n{wrong}\n".encode(), "F, line 2")

    @given(st.dictionaries(_VARIABLES, _PRINTABLE))
    def test_environment_file_of_an_agent_comes_back(self, document: dict[str, str]) -> None:
        self.assertEqual(self.read("env", write_env(document).encode()), document)

    @given(st.dictionaries(_PRINTABLE.filter(lambda key: key and "." not in key), _PRINTABLE))
    def test_properties_of_an_agent_come_back(self, document: dict[str, str]) -> None:
        self.assertEqual(self.read("properties", write_properties(document).encode()), document)

    def test_infer(self) -> None:
        value = {"a": "1", "b": {"c": "true", "d": "x", "e": '"x"', "f": "null", "g": "1e400", "h": "01"}, "i": "[1]"}
        expected = {"a": 1, "b": {"c": True, "d": "x", "e": '"x"', "f": "null", "g": "1e400", "h": "01"}, "i": [1]}
        self.assertEqual(inferred(value), (expected, 3))

    def test_names(self) -> None:
        self.assertEqual(namespace_named("TEST1.public_X ü", "F"), "test1-public-x--")
        for wrong in ("", "x" * 64):
            self.assertRaises(CommandError, namespace_named, wrong, "F")


def archive(members: Mapping[str, bytes | str]) -> bytes:
    """Write a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for path, content in members.items():
            made.writestr(path, content)
    return file.getvalue()


#: An export of Apollo's portal, as C{ConfigFileUtils} and C{ConfigsExportService} of apolloconfig/apollo write it.
APOLLO = {
    "apollo/SampleApp/app.metadata": '{"appId":"SampleApp"}',
    "SampleApp+TEST1.public.appnamespace.metadata": "{}",
    "apollo/SampleApp/DEV/default.cluster.metadata": "{}",
    "apollo/SampleApp/DEV/SampleApp+default+application.properties": "timeout = 100\nurl=http://a\n",
    "apollo/SampleApp/DEV/SampleApp+default+TEST1.public.properties": "a=1\n",
    "apollo/SampleApp/DEV/SampleApp+default+limits.json": '{"rate": 1}',
    "apollo/SampleApp/DEV/SampleApp+default+routes.yml": "to: [a, b]\n",
    "apollo/SampleApp/DEV/SampleApp+default+notes.txt": "text",
}

#: An export of Nacos, as C{ConfigController} of alibaba/nacos writes it, with the metadata of Nacos 2.
NACOS = {
    "DEFAULT_GROUP/app.yaml": "url: http://a\n",
    "pay/limits.properties": "rate=1\n",
    "pay/plain": '{"a": 1}',
    "pay/other": "text",
    ".metadata.yml": "metadata:\n- dataId: plain\n  group: pay\n  type: json\n"
    "- group: pay\n  dataId: other\n  type: text\n",
}


class ArchiveTests(DumpsTestCase):
    def test_apollo(self) -> None:
        found = read_archive("apollo", archive(APOLLO), "F", ReadOptions())
        self.assertEqual(
            {each.namespace: each.value for each in found},
            {
                "application": {"timeout": "100", "url": "http://a"},
                "test1-public": {"a": "1"},
                "limits": {"rate": 1},
                "routes": {"to": ["a", "b"]},
            },
        )
        [note] = [note for each in found for note in each.notes]
        self.assertIn("notes.txt is left out", note)
        self.assertEqual([each.texts for each in found], [True, False, False, True])

    def test_environments_of_apollo_collide_and_a_prefix_chooses(self) -> None:
        both = archive({**APOLLO, "apollo/SampleApp/PRO/SampleApp+default+application.properties": "timeout=200\n"})
        self.refused("apollo", both, "are both for the namespace application; choose one with --prefix")
        chosen = read_all("apollo", both, "apollo/SampleApp/PRO/")
        self.assertEqual(chosen, {"application": {"timeout": "200"}})

    def test_nacos(self) -> None:
        expected = {"app": {"url": "http://a"}, "pay-limits": {"rate": "1"}, "pay-plain": {"a": 1}}
        self.assertEqual(read_all("nacos", archive(NACOS)), expected)
        first = {key: value for key, value in NACOS.items() if key != ".metadata.yml"}
        old = archive({**first, ".meta.yml": "pay.limits~properties.app=x\r\n"})
        self.assertEqual(set(read_all("nacos", old)), {"app", "pay-limits"})

    def test_bad_archives(self) -> None:
        good = archive(APOLLO)
        linked = io.BytesIO()
        with zipfile.ZipFile(linked, "w") as made:
            link = zipfile.ZipInfo("DEFAULT_GROUP/a.json")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            made.writestr(link, "/etc/passwd")
        for kind, raw, words in (
            ("apollo", b"", "no zip archive"),
            ("apollo", good[: len(good) // 2], "no zip archive, or is incomplete"),
            ("apollo", good.replace(b"timeout", b"TIMEOUT"), ""),
            ("apollo", archive(NACOS), "no member of an export of Apollo"),
            ("nacos", good, "no member of an export of Nacos"),
            ("nacos", linked.getvalue(), "a.json is a link"),
            ("nacos", archive({"DEFAULT_GROUP/a.json": "{"}), "DEFAULT_GROUP/a.json"),
            ("nacos", archive({"DEFAULT_GROUP/a.b.json": "{}", "DEFAULT_GROUP/A_b.yaml": "{}"}), "are both for"),
            ("nacos", archive({"DEFAULT_GROUP/" + "x" * 64 + ".json": "{}"}), "cannot name a namespace"),
        ):
            if words:
                with self.subTest(words=words):
                    self.refused(kind, raw, "F", words)
        self.refused("nacos", archive({}), "holds no document", status=Exit.NOT_FOUND)

    def test_path_of_a_member_is_never_a_path_of_a_file(self) -> None:
        raw = archive({"DEFAULT_GROUP/..\\..\\etc.json": "{}"})
        self.refused("nacos", raw, "no member of an export of Nacos")
        self.assertEqual(set(read_all("nacos", archive({"../.json": "{}", "..+/x.json": "{}"}))), {"---", "----x"})

    def test_bomb_is_not_unpacked(self) -> None:
        bomb = archive({"DEFAULT_GROUP/a.json": b" " * 200_000})
        self.assertLess(len(bomb), 1000)
        two = archive({f"DEFAULT_GROUP/{name}.json": b"{}" + b" " * 60_000 for name in "ab"})
        for raw in (bomb, two):
            error = self.assertRaises(CommandError, read_archive, "nacos", raw, "F", ReadOptions(), 100_000)
            self.assertIn("larger than 100000 bytes when unpacked", error.sentence)

    @given(st.binary())
    def test_any_bytes_are_refused(self, raw: bytes) -> None:
        for kind in ("apollo", "nacos"):
            self.assertRaises(CommandError, read_all, kind, raw)


class FileTests(SynchronousTestCase):
    def test_large_and_missing_files(self) -> None:
        path = Path(self.mktemp())
        path.write_bytes(b"x" * 11)
        error = self.assertRaises(CommandError, read_dump, str(path), 10)
        self.assertIn("larger than 10 bytes", error.sentence)
        self.assertEqual(self.assertRaises(CommandError, read_dump, "/nowhere").status, Exit.USAGE)
