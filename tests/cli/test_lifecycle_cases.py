"""Pipeline files that were refused once, as `config check` sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cli.main import lockkeeper
from tests.samples import cases


@pytest.mark.parametrize("name", ["design-sample.yaml", "one_registry.yaml"])
def test_the_file_is_valid(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lockkeeper.yaml"
    file.write_text((cases("lifecycle") / name).read_text())
    (tmp_path / "policy.yaml").write_text("version: 1\nenvironments:\n  prod: { rules: [] }\n")

    result = lockkeeper.main(["config", "check", str(file)], standalone_mode=False)

    assert not result, capsys.readouterr()
