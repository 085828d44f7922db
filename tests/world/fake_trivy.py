"""A scanner that answers like Trivy, honestly or not: copied as an executable by the tests.

It reads its data where Trivy has its database: ``advisories.json`` and ``behaviour`` in the cache
folder. A behaviour is a word of `BEHAVIOURS`, or ``python:`` and code to run in its place.
Standard library only, and nothing of this repository: it runs in the sandbox.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

Package = dict[str, Any]


def main(arguments: list[str]) -> None:
    options = dict(
        one[2:].split("=", 1) for one in arguments if one.startswith("--") and "=" in one
    )
    data = Path(options["cache-dir"])
    command, last = arguments[0], arguments[-1]
    if command == "version":
        print(json.dumps({"Version": "0.0.1"}))  # noqa: T201 - it is a program
        return
    if "--download-db-only" in arguments:
        try:
            shutil.copytree(options["db-repository"], data, dirs_exist_ok=True)
        except OSError as error:
            sys.exit(f"no database there: {error}")
        return
    behaviour = (data / "behaviour").read_text() if (data / "behaviour").exists() else "honest"
    if behaviour.startswith("python:"):
        exec(behaviour.removeprefix("python:"), {"data": data})  # noqa: S102 - a test's own code
        return
    if command == "convert":
        answer = _cyclonedx(json.loads(Path(last).read_bytes()))
    else:
        image, packages = (
            _image(Path(options["input"])) if command == "image" else _sbom(Path(last))
        )
        is_canary = command == "sbom" and not image
        if behaviour in BEHAVIOURS and not is_canary:
            BEHAVIOURS[behaviour]()
        silent = behaviour == "silent"
        answer = _report(image, packages, [] if silent else _advisories(data))
        if behaviour == "liar" and not is_canary:
            answer["Metadata"]["ImageID"] = "sha256:" + "0" * 64
    sys.stdout.write(json.dumps(answer))


def _advisories(data: Path) -> list[Package]:
    found: list[Package] = json.loads((data / "advisories.json").read_bytes())
    return found


def _image(layout: Path) -> tuple[str, list[Package]]:
    def blob(digest: str) -> Path:
        return layout / "blobs" / Path(*digest.split(":"))

    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_bytes())
    packages: list[Package] = []
    for layer in manifest["layers"]:
        with tarfile.open(blob(layer["digest"])) as archive:
            for entry in archive:
                file = archive.extractfile(entry)
                if file and entry.name.endswith("/package.json"):
                    found = json.loads(file.read())
                    packages.append(_package("npm", found["name"], found["version"]))
                if file and entry.name == "var/lib/dpkg/status":
                    packages += _debian(file.read().decode())
    return manifest["config"]["digest"], packages


def _debian(status: str) -> list[Package]:
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        for block in status.split("\n\n")
        if block.strip()
    ]
    return [_package("deb/debian", one["Package"], one["Version"]) for one in blocks]


def _package(kind: str, name: str, version: str) -> Package:
    return {
        "Name": name,
        "Version": version,
        "Identifier": {"PURL": f"pkg:{kind}/{name}@{version}"},
    }


def _sbom(file: Path) -> tuple[str, list[Package]]:
    document = json.loads(file.read_bytes())
    properties = document["metadata"]["component"].get("properties", [])
    image = next((p["value"] for p in properties if p["name"].endswith(":ImageID")), "")
    return image, [
        {"Name": one["name"], "Version": one["version"], "Identifier": {"PURL": one["purl"]}}
        for one in document["components"]
        if one.get("purl")
    ]


def _report(image: str, packages: list[Package], advisories: list[Package]) -> Package:
    debian = [one for one in packages if one["Identifier"]["PURL"].startswith("pkg:deb/")]
    others = [one for one in packages if one not in debian]
    return {
        "SchemaVersion": 2,
        "ArtifactType": "container_image",
        "Metadata": {"OS": {"Family": "debian", "Name": "12"}, "ImageID": image},
        "Results": [
            {
                "Target": "debian",
                "Class": "os-pkgs",
                "Type": "debian",
                "Packages": debian,
                "Vulnerabilities": _found(debian, advisories),
            },
            {
                "Target": "Node.js",
                "Class": "lang-pkgs",
                "Type": "node-pkg",
                "Packages": others,
                "Vulnerabilities": _found(others, advisories),
            },
        ],
    }


def _found(packages: list[Package], advisories: list[Package]) -> list[Package]:
    return [
        {
            "VulnerabilityID": known["vulnerability"],
            "PkgName": package["Name"],
            "PkgIdentifier": package["Identifier"],
            "InstalledVersion": package["Version"],
            "FixedVersion": known["fixed"],
            "Severity": known["severity"],
        }
        for package in packages
        for known in advisories
        if package["Identifier"]["PURL"].partition("@")[0] == known["purl"]
    ]


def _cyclonedx(report: Package) -> Package:
    image = report["Metadata"]["ImageID"]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {
            "component": {
                "type": "container",
                "name": "image",
                "properties": [{"name": "aquasecurity:trivy:ImageID", "value": image}],
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": one["Identifier"]["PURL"],
                "name": one["Name"],
                "version": one["Version"],
                "purl": one["Identifier"]["PURL"],
            }
            for result in report["Results"]
            for one in result.get("Packages", [])
        ],
    }


def _hang() -> NoReturn:
    while True:
        time.sleep(1)


def _flood() -> NoReturn:
    while True:
        os.write(1, b"x" * 2**20)


def _flood_error() -> NoReturn:
    while True:
        os.write(2, b"x" * 2**20)


def _fill() -> NoReturn:
    number = 0
    while True:
        number += 1
        Path(f"fill-{number}").write_bytes(b"x" * 2**24)


def _crash() -> NoReturn:
    os.abort()


def _partial() -> NoReturn:
    sys.stdout.write('{"SchemaVersion": 2, "Results": [{"Target"')
    sys.stderr.write("FATAL\tfatal error: the disk is on fire\n")
    sys.exit(1)


def _null() -> NoReturn:
    sys.stdout.write("null")
    sys.exit(0)


def _fork_bomb() -> NoReturn:
    while True:
        os.fork()


BEHAVIOURS: dict[str, Callable[[], NoReturn]] = {
    "hang": _hang,
    "flood": _flood,
    "flood-error": _flood_error,
    "fill": _fill,
    "crash": _crash,
    "partial": _partial,
    "null": _null,
    "fork-bomb": _fork_bomb,
}
"""What it does in place of answering; the canary is answered honestly, so that it gets there.

Besides: ``liar`` names another image, ``silent`` finds nothing, in the canary neither.
"""

if __name__ == "__main__":
    main(sys.argv[1:])
