"""``python -m bot`` and ``lockkeeper``."""

from __future__ import annotations

from bot.cli.main import lockkeeper


def main() -> None:
    """Run the command line."""
    lockkeeper()


if __name__ == "__main__":
    main()
