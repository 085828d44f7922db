"""Cut GitHub's published descriptions to what the tests need. Standard library only.

    python cut.py NODE_MODULES/@octokit DIRECTORY

Writes ``rest.json`` (operations and schemas), ``webhooks.json`` (schemas by event and action),
``schema.graphql`` and ``examples.json``. The REST description is OpenAPI 3.0, whose ``nullable``
JSON Schema does not know: it is turned into ``null`` types here, so the validator sees plain JSON
Schema 2020-12 with references into one resource.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]

PREFIXES = (
    "/app",
    "/installation/",
    "/orgs/{org}/installation",
    "/orgs/{org}/teams",
    "/rate_limit",
    "/repos/{owner}/{repo}",
    "/users/{username}",
)
"""Beginnings of the paths that are kept."""

PROSE = {"description", "example", "examples", "title", "externalDocs", "summary"}
"""Keywords that only people read."""

REFERENCE = "#/components/schemas/"


def main() -> None:
    """Cut."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True)
    rest = json.loads((source / "openapi/generated/api.github.com.json").read_bytes())
    hooks = json.loads((source / "openapi-webhooks/generated/api.github.com.json").read_bytes())
    examples = json.loads((source / "webhooks-examples/api.github.com/index.json").read_bytes())
    _write(target / "rest.json", _rest(rest))
    _write(target / "webhooks.json", _webhooks(hooks))
    _write(
        target / "examples.json",
        [[event["name"], payload] for event in examples for payload in event["examples"]],
    )
    shutil.copyfile(source / "graphql-schema/schema.graphql", target / "schema.graphql")


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")))


def _rest(description: Json) -> Json:
    components = description["components"]
    operations = {
        f"{method.upper()} {path}": _operation(operation, components)
        for path, methods in description["paths"].items()
        if path.startswith(PREFIXES)
        for method, operation in methods.items()
    }
    schemas = {name: _plain(schema) for name, schema in components["schemas"].items()}
    return {"operations": operations, "schemas": _reachable(operations, schemas)}


def _operation(operation: Json, components: Json) -> Json:
    parameters = [_resolved(one, components) for one in operation.get("parameters", [])]
    body = operation.get("requestBody", {})
    responses = {
        status: _content(_resolved(one, components))
        for status, one in operation["responses"].items()
    }
    return {
        "query": {one["name"]: _plain(one["schema"]) for one in parameters if one["in"] == "query"},
        "body": _content(body),
        "body_required": body.get("required", False),
        "responses": responses,
    }


def _resolved(thing: Json, components: Json) -> Json:
    if "$ref" not in thing:
        return thing
    _, _, kind, name = thing["$ref"].split("/")
    found: Json = components[kind][name]
    return found


def _content(holder: Json) -> Json | None:
    """Return the JSON schema of a body; None where there is no JSON."""
    content = holder.get("content", {})
    for media_type, described in content.items():
        if media_type.startswith("application/json") and "schema" in described:
            plain: Json = _plain(described["schema"])
            return plain
    return None


def _plain(schema: Any) -> Any:  # noqa: ANN401 - JSON has any type
    """Return OpenAPI 3.0 as JSON Schema: no prose, ``nullable`` as a null type."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain: Json = {}
    for key, value in schema.items():
        if key == "properties":
            plain[key] = {name: _plain(one) for name, one in value.items()}
        elif key == "enum":
            plain[key] = value
        elif key not in PROSE and key != "nullable":
            plain[key] = _plain(value)
    return {"anyOf": [{"type": "null"}, plain]} if schema.get("nullable") is True else plain


def _reachable(roots: object, schemas: Json) -> Json:
    found: Json = {}
    waiting = list(_references(roots))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = schemas[name]
            waiting += _references(schemas[name])
    return found


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(REFERENCE)
        for one in schema.values():
            yield from _references(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _references(one)


def _webhooks(description: Json) -> Json:
    """Key each schema by ``event action``: the description's names use dashes throughout."""
    roots: Json = {}
    for name, item in description["webhooks"].items():
        operation = item["post"]
        event = operation["externalDocs"]["url"].partition("#")[2]
        action = name.removeprefix(event.replace("_", "-")).strip("-").replace("-", "_")
        roots[f"{event} {action}".strip()] = _content(operation["requestBody"])
    schemas = {n: _plain(schema) for n, schema in description["components"]["schemas"].items()}
    return {"events": roots, "schemas": _reachable(roots, schemas)}


if __name__ == "__main__":
    main()
