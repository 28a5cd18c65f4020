"""Tests of L{confd.cli.listing}, L{confd.cli.forms} and L{confd.cli.json_path}: lists in each form."""

import csv
import io
import json
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from confd.cli.forms import Form
from confd.cli.json_path import JsonPath
from confd.cli.listing import Kind, column
from confd.cli.output import Output
from confd.cli.text import format_age
from tests.cli.harness import NOW, CliHarness, answer
from tests.cli.test_output import Terminal, plain

UUID = "5f3c2a1e-7c1f-4a7e-9a30-0d5a4f9c1b2d"
COLUMNS = [
    column("ID", "id", Kind.ID),
    column("HOST", "host"),
    column("SEEN", "seen", Kind.TIME, spare=1),
    column("LABELS", "labels", spare=2),
    column("ERROR", "error", Kind.WORDS),
]
ITEM = {"id": UUID, "host": "web-17.example.net", "seen": "2026-11-24T11:55:00.5Z", "labels": "region=eu", "error": ""}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


class ListingTests(SynchronousTestCase):
    """L{Output.listing}."""

    def listed(self, items, form="table", out=None, **how):
        """Return what is printed for items."""
        out = out or Terminal()
        Output(out, io.StringIO(), lambda: NOW, Form(form), **how).listing(items, COLUMNS)
        return plain(out.getvalue()).splitlines()

    def test_people_get_short_ids_and_ages(self):
        [head, row] = self.listed([ITEM])
        self.assertEqual(head.split(), ["ID", "HOST", "SEEN", "LABELS"])
        self.assertEqual(row, f"{UUID[:8]}  web-17.example.net  4 min ago  region=eu")

    def test_wide_and_a_pipe_give_everything(self):
        for how in ({"form": "wide"}, {"out": io.StringIO()}):
            lines = self.listed([ITEM | {"error": "one two " * 40}], **how)
            self.assertEqual(len(lines), 2)
            for each in (UUID, "2026-11-24 11:55:00Z", "region=eu", "one two one two"):
                self.assertIn(each, lines[1])

    def test_spare_columns_go_before_a_value_breaks(self):
        for length, gone in ((20, []), (30, ["LABELS"]), (40, ["SEEN", "LABELS"])):
            lines = self.listed([ITEM | {"host": "h" * length, "labels": "l" * 10, "error": "a few words " * 5}])
            self.assertEqual(lines[0].split(), [each.title for each in COLUMNS if each.title not in gone])
            self.assertTrue(all(len(each) <= 80 for each in lines))
            self.assertIn("h" * length, lines[1])

    def test_sorts_every_form_by_a_column(self):
        items = [{**ITEM, "host": host} for host in ("b", "C", None, "a")]
        for key, wanted in (("host", ["a", "b", "C", None]), ("-HOST", ["C", "b", "a", None])):
            for form in ("json", "csv"):
                out = io.StringIO()
                lines = self.listed(items, form, out, sort_by=key)
                read = json.loads(out.getvalue()) if form == "json" else csv.DictReader(lines)
                self.assertEqual([each["host"] or None for each in read], wanted, form)

    def test_csv_names_columns_and_disarms_formulas(self):
        lines = self.listed([ITEM | {"host": "=1+1", "error": 'a "b", c\nd'}], "csv", io.StringIO())
        [row] = csv.DictReader(lines)
        self.assertEqual((row["id"], row["seen"]), (UUID, ITEM["seen"]))
        self.assertEqual((row["host"], row["error"]), ("'=1+1", 'a "b", c\\nd'))

    def test_titles_can_be_left_out(self):
        for form in ("table", "wide", "csv"):
            self.assertEqual(len(self.listed([ITEM], form, headers=False)), 1, form)
            self.assertEqual(self.listed([], form, headers=False), [])

    def test_command_refuses_unknown_columns_and_foreign_forms(self):
        cli = CliHarness()
        cli.controller.table["GET /api/v1/agents"] = answer([])
        for words, said in (
            (["agents", "--sort-by", "hostnme"], "use one of id, hostname, state"),
            (["whoami", "-o", "csv"], "csv is no form of this command; use table, wide, json, yaml, jsonpath="),
            (["-o", "csv", "whoami"], "csv is no form of this command"),
            (["get", "-o", "jsonpath=a[b"], "'a[b' is no path of names"),
            (["get", "-o", "xml"], "'xml' is no form; use table"),
        ):
            ended = cli.type(*words)
            self.assertEqual(ended.status, Exit.USAGE, words)
            self.assertIn(said, ended.err)


class JsonPathTests(SynchronousTestCase):
    """L{JsonPath}."""

    def test_finds_names_indexes_and_all_members(self):
        value = {"items": [{"id": "a", "x.y": 1}, {"id": "b"}], "0": "zero", "n": None}
        for path, wanted in (
            ("$", [value]), ("{.items[*].id}", ["a", "b"]), ("items[0].id", ["a"]), (".items[-1]", [{"id": "b"}]),
            ("$.items[0]['x.y']", [1]), (r".items[0].x\.y", [1]), ("$[0]", ["zero"]), (".n", [None]),
            (".items[7].id", []), (".items.id", []), ("$.*", list(value.values())), ('["n"]', [None]),
        ):  # fmt: skip
            self.assertEqual(list(JsonPath(path).find(value)), wanted, path)

    def test_refuses_more_of_jsonpath(self):
        for path in ("..id", "$.a[?(@.b)]", "a b", "[1:2]", "a[", "{.a", "$.a}"):
            with self.assertRaises(ValueError):
                JsonPath(path)

    @given(VALUES)
    def test_each_member_has_a_path(self, value):
        self.assertEqual(list(JsonPath("$").find(value)), [value])
        if isinstance(value, dict):
            for name in (each for each in value if "'" not in each):
                self.assertEqual(list(JsonPath(f"$['{name}']").find(value)), [value[name]])
        if isinstance(value, list):
            self.assertEqual(list(JsonPath("[*]").find(value)), value)


class AgeTests(SynchronousTestCase):
    """L{format_age}."""

    def test_largest_unit_counts(self):
        for seconds, wanted in (
            (0, "now"), (0.9, "now"), (-0.5, "now"), (1, "1 s ago"), (59.9, "59 s ago"), (60, "1 min ago"),
            (3599, "59 min ago"), (7200, "2 h ago"), (47 * 3600, "47 h ago"), (48 * 3600, "2 d ago"), (-90, "in 1 min"),
            (99.5 * 86400, "99 d ago"),
        ):  # fmt: skip
            self.assertEqual(format_age((NOW - timedelta(seconds=seconds)).isoformat(), NOW), wanted)

    def test_other_texts_stay(self):
        self.assertEqual(format_age(None, NOW), "never")
        self.assertEqual(format_age("2025-01-01T00:00:00Z", NOW), "2025-01-01 00:00:00Z")
        for text in ("soon", "2026-11-24T12:00:00"):
            self.assertEqual(format_age(text, NOW), text.replace("T", " "))
