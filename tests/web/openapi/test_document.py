"""Tests of L{confd.web.openapi.document}."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.trial.unittest import SynchronousTestCase

from confd.codec import strict_json
from confd.errors import Conflict
from confd.web.api.endpoint import ANYONE, Answer, AnyDocument, AnyQuery, Call, NamespaceQuery, endpoint
from confd.web.auth.principals import POLL, Permission
from confd.web.openapi.docs import ANY_STATUS, ETAG, IDEMPOTENCY_KEY, Docs, MessageBody
from confd.web.openapi.document import describe

DOCUMENT = {"type": "object", "required": ["url"]}


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    """A thing; see L{Shop}."""

    name: str


class ThingsQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    Which things.

    @ivar limit: how many, with C{0} for none at all,
        or so.
    @ivar ratio: of them.
    """

    limit: Annotated[int, msgspec.Meta(ge=0, le=9)] | None = None
    ratio: Annotated[int, msgspec.Meta(le=2)] | float | None = None
    color: str = "red"


class Shop:
    """Declares one of each kind, and is never asked."""

    @endpoint(
        "GET",
        "/things",
        POLL,
        "All of them.",
        query=ThingsQuery,
        docs=Docs(gives=(ETAG,), tag="things"),
    )
    async def things(self, call: Call) -> list[Thing]:
        """
        As C{Thing}.

        @raise NotFound: never.
        """
        raise NotImplementedError

    @endpoint(
        "POST", "/things/<int:number>/<name>", Permission.AGENT_SERVE, "Make one.", body=Thing, optional_body=True
    )
    async def make(self, call: Call, number: int, name: str) -> MessageBody:
        raise NotImplementedError

    @endpoint(
        "PUT",
        "/things",
        Permission.ADMIN,
        "Take a document.",
        body=AnyDocument.OBJECT,
        docs=Docs(
            {200: (Thing, MessageBody), 202: None, ANY_STATUS: "text/plain"},
            (Conflict,),
            takes=(IDEMPOTENCY_KEY,),
            example={"url": "x"},
        ),
    )
    async def take(self, call: Call) -> Answer:
        raise NotImplementedError

    @endpoint("GET", "/open", ANYONE, "For anyone.", query=AnyQuery, docs=Docs(tag="ops"))
    async def open(self, call: Call) -> Thing:
        raise NotImplementedError


class DescribeTests(SynchronousTestCase):
    """L{describe}, for the API of a shop."""

    def setUp(self) -> None:
        self.document = strict_json.decode(strict_json.encode(describe("shop", [Shop()], DOCUMENT)))

    def operation(self, method: str, path: str) -> Any:
        return self.document["paths"][path][method]

    def test_document_is_valid_openapi_3_1(self) -> None:
        OpenAPIV31SpecValidator(self.document).validate()
        self.assertEqual(self.document["info"]["title"], "shop")
        self.assertEqual(set(self.document["paths"]), {"/things", "/things/{number}/{name}", "/open"})

    def test_tags_are_sorted_with_ops_and_pages_last(self) -> None:
        names = [each["name"] for each in self.document["tags"]]
        self.assertEqual(names, ["other", "things", "ops"])

    def test_responses_follow_from_docs_or_the_return_annotation(self) -> None:
        answer = self.operation("get", "/things")["responses"]["200"]
        ref = {"$ref": "#/components/schemas/Thing"}
        self.assertEqual(answer["content"], {"application/json": {"schema": {"type": "array", "items": ref}}})
        self.assertEqual(list(answer["headers"]), ["ETag"])
        found = self.operation("put", "/things")["responses"]
        done = {"$ref": "#/components/schemas/MessageBody"}
        self.assertEqual(found["200"]["content"], {"application/json": {"schema": {"anyOf": [ref, done]}}})
        self.assertNotIn("content", found["202"])
        self.assertEqual(found["default"]["content"], {"text/plain": {}})

    def test_errors_follow_from_role_query_body_path_and_docs(self) -> None:
        for method, path, statuses in (
            ("get", "/things", "200 400 401 403 404 429 503"),
            ("post", "/things/{number}/{name}", "200 400 401 403 404 413 415 429 503"),
            ("put", "/things", "200 202 400 401 403 409 413 415 422 429 503 default"),
            ("get", "/open", "200"),
        ):
            self.assertEqual(" ".join(self.operation(method, path)["responses"]), statuses, (method, path))
        refusal = self.document["components"]["responses"]["Unauthenticated"]
        self.assertEqual(refusal["content"]["application/json"]["schema"], {"$ref": "#/components/schemas/ErrorBody"})
        self.assertEqual(list(refusal["headers"]), ["WWW-Authenticate"])

    def test_security_follows_from_the_role(self) -> None:
        for method, path, who in (
            ("get", "/things", ["agent", "admin"]),
            ("post", "/things/{number}/{name}", ["agent"]),
            ("put", "/things", ["admin"]),
            ("get", "/open", []),
        ):
            self.assertEqual([name for each in self.operation(method, path)["security"] for name in each], who)

    def test_parameters_have_descriptions_and_are_never_null(self) -> None:
        limit, ratio, color, namespace = (
            {each["name"]: each for each in self.operation("get", "/things")["parameters"]}[name]
            for name in ("limit", "ratio", "color", "namespace")
        )
        self.assertEqual(limit["schema"], {"type": "integer", "minimum": 0, "maximum": 9})
        self.assertEqual(limit["description"], "how many, with `0` for none at all, or so.")
        self.assertEqual(ratio["schema"], {"anyOf": [{"type": "integer", "maximum": 2}, {"type": "number"}]})
        self.assertEqual(ratio["description"], "of them.")
        self.assertEqual(color["schema"], {"type": "string", "default": "red"})
        self.assertEqual(namespace["description"], "its name.")
        number, name = self.operation("post", "/things/{number}/{name}")["parameters"]
        self.assertEqual((number["schema"]["type"], name["schema"]["type"]), ("integer", "string"))
        self.assertTrue(number["required"])
        [key] = self.operation("put", "/things")["parameters"]
        self.assertEqual(
            (key["name"], key["in"], key["schema"]["pattern"]), ("Idempotency-Key", "header", "^[!-~]{1,255}$")
        )

    def test_body_is_a_type_or_the_document_schema_of_the_role(self) -> None:
        made, taken = self.operation("post", "/things/{number}/{name}"), self.operation("put", "/things")
        self.assertFalse(made["requestBody"]["required"])
        self.assertTrue(taken["requestBody"]["required"])
        self.assertEqual(
            taken["requestBody"]["content"]["application/json"],
            {"schema": {"$ref": "#/components/schemas/Document"}, "example": {"url": "x"}},
        )
        self.assertEqual(self.document["components"]["schemas"]["Document"], DOCUMENT)

    def test_descriptions_have_no_markup_and_no_fields(self) -> None:
        self.assertEqual(self.operation("get", "/things")["description"], "As `Thing`.")
        self.assertEqual(self.operation("put", "/things")["description"], "")
        self.assertEqual(self.document["components"]["schemas"]["Thing"]["description"], "A thing; see `Shop`.")

    def test_endpoint_without_a_described_response_raises_type_error(self) -> None:

        class Silent:
            @endpoint("GET", "/x", ANYONE, "Something.")
            async def answer(self, call: Call) -> Answer:
                raise NotImplementedError

        error = self.assertRaises(TypeError, describe, "shop", [Silent()], DOCUMENT)
        self.assertIn("GET /x", str(error))
