from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

pytestmark = pytest.mark.slow

PROGRAM = textwrap.dedent("""
    import logging, sys, time
    from flask import Flask, request
    from bot.settings import Address
    from bot.web import serving
    from bot.web.health import create_board

    serving.READ_SECONDS = float(sys.argv[3])
    intake = Flask("lockkeeper-intake", static_folder=None)

    @intake.post("/webhook")
    def webhook():
        size = len(request.get_data())
        time.sleep(size / 10)
        return f"{size}"

    class Ports(logging.Handler):
        def emit(self, record):
            print(record.port, flush=True)

    serving._LOG.addHandler(Ports())
    serving._LOG.setLevel(logging.INFO)
    serving.serve(
        intake,
        create_board(lambda: ""),
        Address("127.0.0.1", int(sys.argv[1])),
        Address("127.0.0.1", int(sys.argv[2])),
        on_started=lambda: print("started", flush=True),
        on_stop=lambda: print("stopped", flush=True),
    )
""")


@dataclass(frozen=True, slots=True)
class Served:
    process: subprocess.Popen[str]
    intake: int
    board: int

    def post(self, body: bytes = b"") -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.intake, timeout=10)
        connection.request("POST", "/webhook", body)
        return connection


@contextmanager
def served(*, read_seconds: float = 10) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "0", "0", str(read_seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "started\n"
        yield Served(process, int(process.stdout.readline()), int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


def test_each_listener_serves_its_own_application() -> None:
    with served() as server:
        board = http.client.HTTPConnection("127.0.0.1", server.board, timeout=10)
        board.request("GET", "/healthz")
        assert board.getresponse().read() == b"alive\n"
        board.close()

        public = http.client.HTTPConnection("127.0.0.1", server.intake, timeout=10)
        public.request("GET", "/healthz")
        answer = public.getresponse()
        assert answer.status == 404
        assert answer.getheader("Server") is None
        public.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_end_and_then_stops(number: signal.Signals) -> None:
    with served() as server:
        running = server.post(b"12345678")
        time.sleep(0.2)
        os.kill(server.process.pid, number)

        assert running.getresponse().read() == b"8"
        running.close()
        assert server.process.wait(timeout=10) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == "stopped\n"


def test_a_client_that_drips_is_cut_off_and_harms_nobody() -> None:
    with served(read_seconds=0.5) as server, socket.socket() as slow:
        slow.connect(("127.0.0.1", server.intake))
        slow.sendall(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        cut_off = False
        for _ in range(40):
            try:
                slow.sendall(b"x")
            except OSError:
                cut_off = True
                break
            time.sleep(0.1)
        assert cut_off

        fast = server.post()
        assert fast.getresponse().read() == b"0"
        fast.close()


def test_520_idle_connections_touch_neither_health_nor_webhooks() -> None:
    """A stranger keeps as many open as he can and asks for a little on each."""
    with served() as server, ExitStack() as opened:
        for _ in range(520):
            one = opened.enter_context(socket.create_connection(("127.0.0.1", server.intake), 5))
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        board = http.client.HTTPConnection("127.0.0.1", server.board, timeout=5)
        board.request("GET", "/healthz")
        assert board.getresponse().read() == b"alive\n"
        board.close()
        webhook = server.post()
        assert webhook.getresponse().read() == b"0"
        webhook.close()


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    with served() as server, socket.socket() as client:
        client.connect(("127.0.0.1", server.intake))
        length = 25 * 1024 * 1024 + 1
        client.sendall(
            f"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
        )

        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_address_in_use_is_named_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, "0", str(port), "10"],
            capture_output=True,
            text=True,
            check=False,
        )

    assert "started" not in ran.stdout
    assert f"LOCKKEEPER_BOARD_LISTEN: cannot listen on 127.0.0.1:{port}" in ran.stderr
    assert ran.returncode == 1
