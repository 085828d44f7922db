"""A database is renewed while a scanner uses it; what does not count never takes its place."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from bot.adapters.clock import SystemClock
from bot.adapters.scanning import renewal_of, scanner_of
from bot.adapters.scanning.renewal import Renewed
from bot.adapters.scanning.rooms import check_readable
from bot.cli.main import lockkeeper
from bot.domain.errors import UnavailableError
from tests.world.clients import HandClock
from tests.world.images import (
    MANIFEST,
    descriptor,
    digest_of,
    encoded,
    push_blob,
    push_manifest,
)
from tests.world.registry import Registry
from tests.world.scanners import (
    BUILT,
    CANARY,
    open_folder,
    placed,
    write_fake_advisories,
    write_fake_trivy,
    write_grype_database,
    write_trivy_database,
)
from tests.world.tools import tool

LATER = BUILT + timedelta(hours=6)


@dataclass
class Bench:
    program: Path
    database: Path
    mirror: Path

    def renew(self, *mirrors: Path) -> Renewed:
        return renewal_of(
            str(self.program),
            self.database,
            clock=HandClock(),
            mirrors=[str(one) for one in mirrors or (self.mirror,)],
            environment={"LOCKKEEPER_APP_KEY": "secret"},
        )

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.database)): path.read_bytes()
            for path in self.database.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def bench() -> Iterator[Bench]:
    with open_folder() as folder:
        program, database = write_fake_trivy(folder)
        mirror = write_trivy_database(folder / "mirror", [], LATER)
        write_fake_advisories(mirror, CANARY)
        yield Bench(program, database, mirror)


def test_a_running_scanner_takes_the_new_database_over(bench: Bench) -> None:
    running = scanner_of(str(bench.program), clock=HandClock(), database=bench.database)
    assert running
    assert running.facts().database == BUILT

    done = bench.renew()

    assert (done.before, done.after) == (BUILT, LATER)
    assert running.facts().database == LATER
    assert [path.name for path in bench.database.parent.iterdir() if path.name[0] == "."] == []


def test_the_first_one_needs_no_folder(bench: Bench) -> None:
    shutil.rmtree(bench.database)

    assert bench.renew() == Renewed(None, LATER)
    assert (bench.database / "db" / "metadata.json").is_file()


def test_another_mirror_is_asked_where_the_first_gives_nothing(bench: Bench) -> None:
    assert bench.renew(bench.mirror.parent / "nowhere", bench.mirror).after == LATER


def blind(bench: Bench) -> None:
    write_fake_advisories(bench.mirror, CANARY[:1])


def older(bench: Bench) -> None:
    write_trivy_database(bench.mirror, [], BUILT - timedelta(days=1))


def smaller(bench: Bench) -> None:
    (bench.database / "more").write_bytes(b"x" * 10_000_000)


def gone(bench: Bench) -> None:
    shutil.rmtree(bench.mirror)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (blind, "misses 4 of 5"),
        (older, "older than the one"),
        (smaller, "which stays"),
        (gone, "no database could be fetched"),
    ],
)
def test_what_does_not_count_changes_nothing(bench: Bench, spoil: object, words: str) -> None:
    assert callable(spoil)
    spoil(bench)
    before = bench.files()

    with pytest.raises(UnavailableError, match=words):
        bench.renew()

    assert bench.files() == before
    assert [path.name for path in bench.database.parent.iterdir() if path.name[0] == "."] == []


def test_the_command(bench: Bench) -> None:
    now = SystemClock().now().replace(microsecond=0)
    write_trivy_database(bench.mirror, [], now)
    write_fake_advisories(bench.mirror, CANARY)
    arguments = ["scanner", "renew", "--mirror", str(bench.mirror)]
    settings = {
        "LOCKKEEPER_SCANNER": str(bench.program),
        "LOCKKEEPER_SCANNER_DATABASE": str(bench.database),
    }

    first = CliRunner().invoke(lockkeeper, [*arguments, "--json"], env=settings)
    again = CliRunner().invoke(lockkeeper, arguments, env=settings)
    wrong = CliRunner().invoke(lockkeeper, [*arguments[:3], "/nowhere"], env=settings)

    assert json.loads(first.stdout) == {"before": BUILT.isoformat(), "after": now.isoformat()}
    assert f"{now:%Y-%m-%d %H:%M} UTC -> {now:%Y-%m-%d %H:%M} UTC" in again.stdout
    assert (wrong.exit_code, "/nowhere" in wrong.stderr) == (1, True)


def published_to(host: str, database: Path) -> str:
    """A Trivy database as its makers publish it: an OCI artifact of one archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as packed:
        for name in ("trivy.db", "metadata.json"):
            packed.add(database / "db" / name, arcname=name)
    content = archive.getvalue()
    layer = descriptor("application/vnd.aquasec.trivy.db.layer.v1.tar+gzip", content)
    layer["annotations"] = {"org.opencontainers.image.title": "db.tar.gz"}
    config = descriptor("application/vnd.aquasec.trivy.config.v1+json", b"{}")
    manifest = encoded(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    )
    base = f"http://{host}/v2/trivy-db"
    with requests.Session() as session:
        for blob in (b"{}", content):
            push_blob(session, base, digest_of(blob), blob)
        push_manifest(session, base, "2", manifest, MANIFEST)
    return f"{host}/trivy-db:2"


def test_the_real_trivy_fetches_from_a_mirror() -> None:
    with open_folder() as folder, Registry() as registry:
        program = placed(tool("trivy"), folder)
        database = write_trivy_database(folder / "database", CANARY)
        newer = write_trivy_database(folder / "published", CANARY, LATER)
        running = scanner_of(str(program), clock=HandClock(), database=database)
        assert running
        assert running.facts().database == BUILT

        done = renewal_of(
            str(program),
            database,
            clock=HandClock(),
            mirrors=[f"{registry.host}/nothing:2", published_to(registry.host, newer)],
            environment={},
        )

        assert done == Renewed(BUILT, LATER)
        assert running.facts().database == LATER


def test_what_the_scanner_s_user_cannot_read_is_named_with_that_user(tmp_path: Path) -> None:
    file = tmp_path / "db" / "trivy.db"
    file.parent.mkdir()
    file.write_bytes(b"")
    file.chmod(0o600)

    with open_folder() as folder:
        shutil.copytree(tmp_path / "db", folder / "db")
        (folder / "db").chmod(0o755)
        with pytest.raises(UnavailableError) as refusal:
            check_readable(folder / "db", 10042)
        (folder / "db" / "trivy.db").chmod(0o644)
        check_readable(folder / "db", 10042)

    said = str(refusal.value)
    assert f"{folder}/db/trivy.db cannot be read by user 10042" in said
    assert "0600" in said
    assert f"chmod -R a+rX {folder}/db" in said


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A mirror of grype's database: files over HTTP."""
    handler = partial(QuietHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: the test's output is its own."""


def published_for_grype(root: Path, database: Path, built: datetime) -> None:
    """As grype-db publishes one: ``v6/latest.json`` and the archive that it names."""
    root.mkdir(parents=True)
    archive = root / "vulnerability-db.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(database / "6" / "vulnerability.db", "vulnerability.db")
    latest = {
        "status": "active",
        "schemaVersion": "v6.1.9",
        "built": f"{built:%Y-%m-%dT%H:%M:%SZ}",
        "path": archive.name,
        "checksum": digest_of(archive.read_bytes()),
    }
    (root / "latest.json").write_text(json.dumps(latest))


def test_the_real_grype_fetches_from_a_mirror() -> None:
    with open_folder() as folder, serving(folder / "www") as url:
        program = placed(tool("grype"), folder)
        database = write_grype_database(folder / "database", CANARY)
        newer = write_grype_database(folder / "published", CANARY, LATER)
        published_for_grype(folder / "www" / "good" / "v6", newer, LATER)
        published_for_grype(folder / "www" / "old" / "v6", database, BUILT)
        (folder / "www" / "old" / "v6" / "vulnerability-db.tar.gz").write_bytes(b"cut off")
        running = scanner_of(str(program), clock=HandClock(), database=database)
        assert running
        assert running.facts().database == BUILT

        done = renewal_of(
            str(program),
            database,
            clock=HandClock(),
            mirrors=[f"{url}/nothing", f"{url}/old", f"{url}/good"],
            environment={},
        )

        assert done == Renewed(BUILT, LATER)
        assert running.facts().database == LATER


def test_what_the_real_grype_did_not_fetch_is_told_with_its_mirror() -> None:
    with open_folder() as folder, serving(folder / "www") as url:
        program = placed(tool("grype"), folder)
        database = write_grype_database(folder / "database", CANARY)

        with pytest.raises(UnavailableError) as refusal:
            renewal_of(
                str(program),
                database,
                clock=HandClock(),
                mirrors=[f"{url}/nothing"],
                environment={},
            )

    assert f"{url}/nothing: " in str(refusal.value)
    assert "the one that is there stays" in str(refusal.value)
