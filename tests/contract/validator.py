"""Hold requests, answers, webhooks and GraphQL documents against GitHub's published schemas.

Stricter than GitHub in two ways that find typing errors: unknown query parameters and unknown keys
of a request body are violations, where GitHub ignores them in silence.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute,
    parse,
    validate,
)
from graphql.execution.values import get_variable_values

Json = dict[str, Any]

UNDOCUMENTED = {301, 307, 400, 401, 403, 404, 429}
"""Statuses that any operation may answer, listed or not (docs: Troubleshooting the REST API)."""

EXCUSED = {"POST /repos/{owner}/{repo}/issues/{issue_number}/labels"}
"""Requests that the description gets wrong: its text allows a bare list of names, PyGithub sends
one, its schema only knows the object."""

IMPOSSIBLE = {"GET /app/installations": "/account: "}
"""Parts of answers whose published schema no value can meet: here a user *and* an enterprise."""

SHOWN = 3
"""Defects of one body that are worth showing."""


class Schemas:
    """One set of schemas that refer to each other, compiled on first use.

    All live in one resource of one registry: embedding them in each validator would cost
    gigabytes.
    """

    def __init__(self, name: str, schemas: Json) -> None:
        """Register ``schemas`` as ``#/components/schemas/...`` of one resource."""
        self._base = f"urn:github:{name}"
        resource = {"components": {"schemas": schemas}}
        self._registry = jsonschema_rs.Registry([(self._base, resource)])
        self._compiled: dict[str, jsonschema_rs.Draft202012Validator] = {}

    def defects(self, key: str, schema: Json, instance: object) -> Iterator[str]:
        """Yield what is wrong with ``instance``; ``key`` names the schema for the cache."""
        if key not in self._compiled:
            self._compiled[key] = jsonschema_rs.Draft202012Validator(
                self._absolute(schema),
                registry=self._registry,
                validate_formats=True,
                formats={"email": _is_address, "uri": _is_uri},
            )
        for error in self._compiled[key].iter_errors(instance):
            place = "/".join(str(part) for part in error.instance_path)
            yield f"/{place}: {error.message[:300]}"

    def _absolute(self, schema: Any) -> Any:  # noqa: ANN401 - JSON has any type
        if isinstance(schema, list):
            return [self._absolute(one) for one in schema]
        if not isinstance(schema, dict):
            return schema
        return {
            key: self._base + value if key == "$ref" else self._absolute(value)
            for key, value in schema.items()
        }


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; ``template`` is the path of the OpenAPI description."""

    method: str
    path: str
    template: str | None
    query: Mapping[str, str]
    sent: Any
    status: int
    received: Any


class Contract:
    """GitHub's descriptions, read from a directory that ``cut.py`` wrote."""

    def __init__(self, directory: Path) -> None:
        """Read; nothing is compiled yet."""
        rest = json.loads((directory / "rest.json").read_bytes())
        hooks = json.loads((directory / "webhooks.json").read_bytes())
        self._operations: dict[str, Json] = rest["operations"]
        self._events: dict[str, Json] = hooks["events"]
        self._rest = Schemas("rest", rest["schemas"])
        self._hooks = Schemas("webhooks", hooks["schemas"])
        self._directory = directory

    # --- REST -------------------------------------------------------------------------------

    def check_exchange(self, exchange: Exchange) -> list[str]:
        """Return the defects of a request and of its answer."""
        name = f"{exchange.method} {exchange.template}"
        operation = self._operations.get(name)
        if operation is None:
            return [f"{exchange.method} {exchange.path}: no such operation in the local GitHub"]
        found = [
            *(f"request: {defect}" for defect in self._query(name, operation, exchange.query)),
            *(f"request: {defect}" for defect in self._sent(name, operation, exchange)),
            *(f"answer {exchange.status}: {d}" for d in self._received(name, operation, exchange)),
        ]
        return [f"{exchange.method} {exchange.path}: {defect}" for defect in found[:SHOWN]]

    def _query(self, name: str, operation: Json, query: Mapping[str, str]) -> Iterator[str]:
        for key, text in query.items():
            schema = operation["query"].get(key)
            if schema is None:
                yield f"unknown query parameter {key}"
            else:
                value = _typed(text, schema)
                yield from self._rest.defects(f"{name} ?{key}", schema, value)

    def _sent(self, name: str, operation: Json, exchange: Exchange) -> Iterator[str]:
        schema = operation["body"]
        if exchange.sent is None:
            if operation["body_required"] and exchange.status < 400:
                yield "a body is required"
        elif schema is None:
            yield "a body is not expected"
        elif (
            exchange.status != 422 and name not in EXCUSED
        ):  # A refusal of an invalid body is right.
            yield from self._rest.defects(f"{name} body", schema, exchange.sent)
            known = schema.get("properties")
            if isinstance(exchange.sent, dict) and known:
                yield from (f"unknown key {key}" for key in exchange.sent if key not in known)

    def _received(self, name: str, operation: Json, exchange: Exchange) -> Iterator[str]:
        responses, status = operation["responses"], str(exchange.status)
        if status not in responses:
            if exchange.status not in UNDOCUMENTED:
                yield "this status is not documented"
            return
        schema = responses[status]
        if schema is not None:
            impossible = IMPOSSIBLE.get(name, "\0")
            for defect in self._rest.defects(f"{name} {status}", schema, exchange.received):
                if impossible not in defect:
                    yield defect
        elif exchange.received is not None and exchange.status < 400:
            yield "no body is documented"

    # --- webhooks ---------------------------------------------------------------------------

    def check_webhook(self, event: str, payload: Json) -> list[str]:
        """Return the defects of a webhook payload."""
        name = f"{event} {payload.get('action', '')}".strip()
        schema = self._events.get(name)
        if schema is None:
            return [f"webhook {name}: there is no such event"]
        defects = self._hooks.defects(name, schema, payload)
        return [f"webhook {name}: {defect}" for defect in list(defects)[:SHOWN]]

    # --- GraphQL ----------------------------------------------------------------------------

    @functools.cached_property
    def graphql_schema(self) -> GraphQLSchema:
        """The public schema; its own rules are not checked, graphql-core is stricter than it."""
        return build_schema((self._directory / "schema.graphql").read_text(), assume_valid=True)

    def check_graphql(self, text: str, variables: Json, data: Json | None = None) -> list[str]:
        """Return the defects of a document, of its variables, and of the data of its answer."""
        try:
            document = parse(text)
        except GraphQLError as error:
            return [f"GraphQL: {error.message}"]
        errors = validate(self.graphql_schema, document)
        if not errors:
            errors = self._variables(document, variables)
        if not errors and data is not None:
            errors = self._data(document, variables, data)
        return [f"GraphQL: {error.message}" for error in errors[:SHOWN]]

    def _data(self, document: DocumentNode, variables: Json, data: Json) -> list[GraphQLError]:
        """Run the document over its own answer: types, enums and nulls have to fit the schema."""
        found = execute(
            self.graphql_schema,
            document,
            root_value=data,
            variable_values=variables,
            field_resolver=lambda source, info, **_: source[info.path.key],
            type_resolver=lambda value, *_: str(value.typename),
        )
        assert isinstance(found, ExecutionResult)
        return list(found.errors or [])

    def _variables(self, document: DocumentNode, variables: Json) -> list[GraphQLError]:
        for definition in document.definitions:
            if isinstance(definition, OperationDefinitionNode):
                found = get_variable_values(
                    self.graphql_schema, definition.variable_definitions or (), variables
                )
                return found if isinstance(found, list) else []
        return []


def _is_address(text: str) -> bool:
    """Tell whether it is an address; GitHub's own ``1+app[bot]@...`` breaks the stricter rule."""
    return "@" in text


def _is_uri(text: str) -> bool:
    """Tell whether it is an absolute address, or empty: GitHub's default for those of a status."""
    return text == "" or bool(urlsplit(text).scheme and text.isascii() and " " not in text)


def _typed(text: str, schema: Json) -> object:
    """Return a query parameter as the type that its schema names."""
    kinds = {schema.get("type"), *(one.get("type") for one in schema.get("oneOf", []))}
    if kinds & {"integer", "number"} and text.lstrip("-").isdecimal():
        return int(text)
    if "boolean" in kinds and text in {"true", "false"}:
        return text == "true"
    return text.split(",") if "array" in kinds else text
