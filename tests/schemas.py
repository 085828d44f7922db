"""Published schemas on this machine: of CI files, and of Kubernetes' objects."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import jsonschema_rs

from tests.world.tools import missing

BUILD: Final = Path(__file__).parents[1] / ".ci" / "schemas" / "build.sh"
KUBERNETES: Final = ("v1.31.0", "v1.34.0", "v1.37.0")


@functools.cache
def _directory() -> Path | None:
    done = subprocess.run(
        ["bash", str(BUILD)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def directory() -> Path:
    """Where they are; without them the test is skipped, or fails where all is demanded."""
    found = _directory()
    return found or missing("published schemas are missing and pip could not fetch them")


def mistakes_in_file(service: str, document: object) -> list[str]:
    """What a schema (``gitlab-ci``, ``azure-pipelines``, ``compose-spec``) says against a file."""
    return _mistakes(directory() / "ci" / f"{service}.json", document)


def mistakes_in_object(version: str, document: dict[str, Any]) -> list[str]:
    """What Kubernetes of that version says against an object; what it does not know is told."""
    group, _, api = document["apiVersion"].rpartition("/")
    name = "-".join(part for part in (group.partition(".")[0], api) if part)
    file = directory() / version / f"{document['kind'].lower()}-{name}.json"
    if not file.is_file():
        return [f"no {document['kind']} of {document['apiVersion']} in {version}"]
    return _mistakes(file, document)


@functools.cache
def _validator(file: Path) -> Any:  # noqa: ANN401 - the library has one class for each draft
    schema = json.loads(file.read_bytes())
    beside = file.parent / "_definitions.json"
    if not beside.is_file():
        return jsonschema_rs.validator_for(schema)
    registry = jsonschema_rs.Registry(
        [("https://schemas.invalid/api/_definitions.json", json.loads(beside.read_bytes()))]
    )
    return jsonschema_rs.validator_for(
        {**schema, "$id": f"https://schemas.invalid/{file.name}"}, registry=registry
    )


def _mistakes(file: Path, document: object) -> list[str]:
    return [
        f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
        for error in _validator(file).iter_errors(document)
    ]
