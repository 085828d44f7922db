"""Blocks of README and docs say what they are, so that none escapes `tests.walked`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.walked.pages import COMMANDS, MARKS, ROOT, Block, blocks, every_block, files
from tests.walked.worlds import WORLDS
from tests.world.tools import attempt

LANGUAGES = {*COMMANDS, "yaml", "json", "text", "ini", "dotenv"}
PROGRAMS = (
    r"lockkeeper|docker|podman|git|cosign|trivy|grype|crane|make|export|pip|python3?|curl|chmod|"
    r"chown|install|openssl|systemctl|sqlite3|pg_dump|helm|kubectl|sudo|cp|mv|cat|cd|\$"
)
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{PROGRAMS})(?: |$)")


def ids(block: Block) -> str:
    return str(block)


@pytest.mark.parametrize("block", every_block(), ids=ids)
def test_every_block_says_what_it_is(block: Block) -> None:
    known = MARKS if block.language in COMMANDS else frozenset()

    assert block.language in LANGUAGES
    assert all(mark in known or mark == f"file={block.file}" for mark in block.marks)


@pytest.mark.parametrize("block", every_block(), ids=ids)
def test_no_command_hides_in_another_block(block: Block) -> None:
    if block.language in COMMANDS:
        return
    hidden = [line for line in block.text.splitlines() if COMMAND.match(line.strip())]

    assert hidden == [], "a block with commands is called sh or console"


def test_every_page_with_commands_has_a_world_to_type_them_in() -> None:
    typed = {block.page for block in every_block() if block.is_typed}

    assert typed == set(WORLDS)


@pytest.mark.parametrize("block", [one for one in every_block() if one.file], ids=ids)
def test_a_file_is_named_where_people_read(block: Block) -> None:
    before = "\n".join((ROOT / block.page).read_text().splitlines()[: block.line - 1])

    assert f"`{block.file}`" in before[-600:]


def test_blocks_are_found_whole(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n   ```sh real-network\n   x \\\n     y\n   ```\n\n```\nmake it\n```\n")

    found = blocks(page)

    assert [(one.language, one.marks, one.text) for one in found] == [
        ("sh", ("real-network",), "x \\\n  y\n"),
        ("", (), "make it\n"),
    ]
    assert [one.is_typed for one in found] == [False, False]


@pytest.mark.parametrize("page", ["docs/getting-started.md", "docs/running.md"])
def test_files_are_given_to_the_user_of_the_container(page: str) -> None:
    user = re.search(r"^USER (\d+:\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    owners = re.findall(r"^chown -R (\S+)", (ROOT / page).read_text(), re.MULTILINE)

    assert user
    assert owners == [user[1]]


def test_the_service_of_the_guide_is_one_that_systemd_reads(tmp_path: Path) -> None:
    unit = tmp_path / "lockkeeper.service"
    text = files(ROOT / "docs" / "getting-started.md")["/etc/systemd/system/lockkeeper.service"]
    unit.write_text(text.replace("/opt/lockkeeper/bin/lockkeeper", "/bin/true"))

    done = attempt("systemd-analyze", "verify", "--man=no", str(unit))

    # What it does not know it only warns of.
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "block", [one for one in every_block() if one.language == "dotenv"], ids=ids
)
def test_settings_are_written_as_systemd_and_docker_both_read_them(block: Block) -> None:
    """docker keeps quotes, and neither knows ``export``."""
    odd = [
        line for line in block.text.splitlines() if not re.fullmatch(r"[A-Z_]+=[^\s\"'$]+", line)
    ]

    assert odd == []
