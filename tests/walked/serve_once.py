"""`lockkeeper`, except that `serve` ends by itself, well, as soon as it is ready."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

_SECONDS = 30.0


def main() -> int:
    """Run what was asked; `serve` until it is ready, then SIGTERM."""
    command = [sys.executable, "-m", "bot", *sys.argv[1:]]
    if sys.argv[1:2] != ["serve"]:
        return subprocess.run(command, check=False).returncode
    process = subprocess.Popen(command)
    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _is_ready():
            process.send_signal(signal.SIGTERM)
            return process.wait(timeout=30)
        time.sleep(0.1)
    process.kill()
    return process.wait() or 1


def _is_ready() -> bool:
    board = os.environ["LOCKKEEPER_BOARD_LISTEN"]
    try:
        with urllib.request.urlopen(f"http://{board}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


if __name__ == "__main__":
    sys.exit(main())
