"""Who writes what an image says of itself, and the reports about it: text, and nothing more."""

from __future__ import annotations

from tests.world.driver import Driver
from tests.world.images import build_image

HOSTILE = (
    "@acme/release-managers ![x](https://evil.example/x) <img src=x onerror=alert(1)> "
    "\x1b[31m\u202e ```\n# Approved\n<!-- lockkeeper:promotion --> [ok](javascript:alert(1))"
)


def test_what_an_image_says_of_itself_is_never_markup(driver: Driver) -> None:
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    labels = {
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.title": HOSTILE,
        "org.opencontainers.image.version": HOSTILE,
        "org.opencontainers.image.source": "javascript:alert(1)",
        "org.opencontainers.image.licenses": HOSTILE,
        **{f"x{number}": HOSTILE for number in range(50)},
    }
    image = build_image(labels=labels, seed=int(commit[:8], 16), layer_size=2000)
    image.push(stage.hosts["dev"], "acme/payments", f"sha-{commit[:7]}")
    stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
    driver.run(driver.propose("dev"), driver.deliver("dev"), driver.publish("dev"))
    driver.run(driver.propose("stage"))

    pull = stage.open_promotion("stage")
    assert pull is not None, driver.ran[-5:]
    runs = stage.manifests.check_runs.values()
    words = [str(pull.title), str(pull.body), *(str(run.output) for run in runs)]
    for text in words:
        assert "<img" not in text
        assert "![x](" not in text
        assert "](javascript:" not in text
        assert "@acme/release-managers" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_a_commit_message_of_theirs_is_never_markup(driver: Driver) -> None:
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop", message=HOSTILE)
    driver.build(stage.source, commit)
    stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
    driver.run(driver.propose("dev"), driver.deliver("dev"), driver.publish("dev"))
    driver.run(driver.propose("stage"))

    pull = stage.open_promotion("stage")
    assert pull is not None, driver.ran[-5:]
    body = str(pull.body)
    assert "<img" not in body
    assert "![x](" not in body
    assert "](javascript:" not in body
    assert "@acme/release-managers" not in body
    assert body.count("<!-- lockkeeper:promotion") <= 1
