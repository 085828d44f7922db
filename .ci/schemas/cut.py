# ruff: noqa: INP001 - a command, not a package
"""Take the schemas that tests use out of the packages that bring them.

python cut.py FOLDER-WITH-WHEELS NEW-FOLDER
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path
from typing import Final

WANTED: Final = {
    r"check_jsonschema/builtin_schemas/vendor/(gitlab-ci|azure-pipelines|compose-spec)\.json": "ci",
    r"kubernetes_validate/.*/v1\.(?:31|34|37)\.\d+-local-strict/[^/]+\.json": "",
}
"""The path in a package -> the folder it goes to; empty: that of its Kubernetes version."""


def cut(wheels: Path, target: Path) -> None:
    """Unpack what is wanted, and nothing else."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as package:
            for name in package.namelist():
                for pattern, folder in WANTED.items():
                    if re.fullmatch(pattern, name):
                        version = name.split("/")[-2].partition("-")[0]
                        file = target / (folder or version) / name.rpartition("/")[2]
                        file.parent.mkdir(parents=True, exist_ok=True)
                        file.write_bytes(package.read(name))


if __name__ == "__main__":
    cut(Path(sys.argv[1]), Path(sys.argv[2]))
