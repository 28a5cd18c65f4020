"""Tests of L{confd.web.api.parsing}."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from confd import controller
from confd.controller import api
from confd.errors import Malformed
from confd.web.api.endpoint import Endpoint
from confd.web.api.parsing import convert, read_query


class Needed(msgspec.Struct):
    """A query with a parameter that has no default."""

    name: str


def _queries() -> Iterator[type[msgspec.Struct]]:
    """Yield the type of the query of each endpoint of the controller."""
    for module in iter_modules(api.__path__, f"{controller.__name__}.api."):
        for each in vars(import_module(module.name)).values():
            if isinstance(each, type):
                for handler in vars(each).values():
                    for declared in getattr(handler, "__dict__", {}).values():
                        if isinstance(declared, Endpoint):
                            yield declared.query


class QueryTests(SynchronousTestCase):
    """L{read_query}."""

    def test_a_uri_without_a_query_has_all_defaults(self) -> None:
        kinds = set(_queries())
        self.assertGreater(len(kinds), 10)
        for kind in kinds:
            try:
                expected: object = convert({}, kind, strict=False)
            except Malformed as error:
                self.assertEqual(self.assertRaises(Malformed, read_query, b"/x", kind).message, error.message)
            else:
                self.assertEqual(read_query(b"/x", kind), expected)
                self.assertEqual(read_query(b"/x?", kind), expected)

    def test_a_parameter_without_a_default_is_asked_for(self) -> None:
        error = self.assertRaises(Malformed, read_query, b"/x", Needed)
        self.assertEqual(error.code, "bad_field")
        self.assertIn("`name`", error.message)
