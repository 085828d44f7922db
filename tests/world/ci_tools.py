"""Programs of a CI runner that no test machine has: docker with buildx, trivy, hadolint.

A test puts links to this file on the PATH, called as the programs are. They understand what our CI
files say to them and nothing else, and end with 64 for anything else. Registries are real; what is
"built" is an image of ours, with an entry for attestations as BuildKit makes one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import requests

from tests.world.images import (
    INDEX,
    MANIFEST,
    build_image,
    descriptor,
    digest_of,
    encoded,
    push_blob,
    push_manifest,
)

_USAGE = 64
_LOG = "CI_TOOLS_LOG"


def main(program: str, arguments: list[str]) -> int:
    """Do what the program of that name would."""
    with Path(os.environ[_LOG]).open("a") as log:
        log.write(json.dumps([program, *arguments]) + "\n")
    match [program, *arguments]:
        case ["docker", "login", *rest]:
            return _login(rest)
        case ["docker", "buildx", "imagetools", "inspect", *rest]:
            return _inspect(rest)
        case ["docker", "buildx", "imagetools", "create", *rest]:
            return _create(rest)
        case ["docker", "buildx", "build", *rest]:
            return _build(rest)
        case ["trivy", "image", *rest]:
            return _scan(rest)
        case ["hadolint", file]:
            return 0 if Path(file).read_text().startswith("FROM ") else 1
        case _:
            return _USAGE


def _login(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("--username", required=True)
    parser.add_argument("--password-stdin", action="store_true", required=True)
    parser.parse_args(arguments)
    return 0 if sys.stdin.read() == os.environ["EXPECTED_PASSWORD"] else 1


def _inspect(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--format")
    parser.add_argument("reference")
    asked = parser.parse_args(arguments)
    found = _manifest(asked.reference)
    if found is None:
        sys.stderr.write(f"ERROR: {asked.reference}: not found\n")
        return 1
    if asked.raw:
        sys.stdout.write(found.decode())
    elif asked.format == "{{.Manifest.Digest}}":
        sys.stdout.write(f"{digest_of(found)}\n")
    elif asked.format is not None:
        return _USAGE
    return 0


def _create(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tag", action="append", required=True)
    parser.add_argument("source")
    asked = parser.parse_args(arguments)
    content = _manifest(asked.source)
    if content is None:
        return 1
    for tag in asked.tag:
        repository, _, name = tag.rpartition(":")
        host, _, path = repository.partition("/")
        with requests.Session() as session:
            push_manifest(session, f"http://{host}/v2/{path}", name, content, INDEX)
    return 0


def _build(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    for name in ("--platform", "--label", "--output", "--metadata-file", "--tag"):
        parser.add_argument(name)
    parser.add_argument("--file", required=True)
    parser.add_argument("--sbom")
    parser.add_argument("--provenance")
    parser.add_argument("--load", action="store_true")
    parser.add_argument("context")
    asked = parser.parse_args(arguments)
    if not (Path(asked.file).is_file() and Path(asked.context).is_dir()):
        return 1
    if asked.load:
        return 0 if asked.tag and not asked.output else _USAGE
    if (asked.sbom, asked.provenance) != ("true", "mode=max"):
        return _USAGE
    wanted = dict(part.split("=", 1) for part in asked.output.split(","))
    if (wanted["type"], wanted["push"], wanted["push-by-digest"]) != ("image", "true", "true"):
        return _USAGE
    digest = _push(wanted["name"], asked.platform.split(","), *asked.label.split("=", 1))
    Path(asked.metadata_file).write_text(json.dumps({"containerimage.digest": digest}))
    return 0


def _push(name: str, platforms: list[str], label: str, value: str) -> str:
    """Push an image without a tag; its digest. Time makes each build another one."""
    built = build_image(platforms, labels={label: value}, seed=int(os.environ.get("CI_SEED", "1")))
    host, _, path = name.partition("/")
    built.push(host, path)
    index = json.loads(built.index)
    config = b"{}"
    about = encoded(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [],
        }
    )
    entry = descriptor(MANIFEST, about, platform={"os": "unknown", "architecture": "unknown"})
    index["manifests"].append(entry)
    content = encoded(index)
    base = f"http://{host}/v2/{path}"
    with requests.Session() as session:
        push_blob(session, base, digest_of(config), config)
        push_manifest(session, base, digest_of(about), about, MANIFEST)
        push_manifest(session, base, digest_of(content), content, INDEX)
    return digest_of(content)


def _scan(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    for name in ("--scanners", "--format", "--output", "--severity"):
        parser.add_argument(name)
    parser.add_argument("--ignore-unfixed", action="store_true")
    parser.add_argument("--exit-code", type=int, default=0)
    parser.add_argument("image")
    asked = parser.parse_args(arguments)
    if asked.output:
        kinds = {
            "cosign-vuln": {
                "invocation": {},
                "scanner": {"uri": "x", "result": {}},
                "metadata": {},
            },
            "cyclonedx": {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []},
        }
        Path(asked.output).write_text(json.dumps(kinds[asked.format]))
    return asked.exit_code if os.environ.get("CI_FINDINGS") else 0


def _manifest(reference: str) -> bytes | None:
    repository, joint, name = reference.partition("@")
    if not joint:
        repository, _, name = reference.rpartition(":")
    host, _, path = repository.partition("/")
    answer = requests.request(
        "GET",
        f"http://{host}/v2/{path}/manifests/{name}",
        headers={"Accept": f"{INDEX}, {MANIFEST}"},
        timeout=10,
    )
    return answer.content if answer.ok else None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
