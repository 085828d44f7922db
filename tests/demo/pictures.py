"""``python -m tests.demo.pictures``: the demo's bodies for README and for the tests.

After ``python -m tests.demo --no-tools``. The bodies go to tests/golden without what differs from
run to run, the pictures to docs/pictures; these need ``chromium``.
"""

from __future__ import annotations

from tests.demo.bodies import BUILD, GOLDEN, SHOWN, normalised
from tests.golden.render import PICTURES, picture


def main() -> None:
    """Write both."""
    for name, height in SHOWN.items():
        body = (BUILD / f"{name}.md").read_text(encoding="utf-8")
        (GOLDEN / f"demo-{name}.md").write_text(normalised(body), encoding="utf-8")
        picture(body, "light", PICTURES / f"demo-{name}.png", height)


if __name__ == "__main__":
    main()
