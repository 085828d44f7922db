from __future__ import annotations

import subprocess
import sys

import pytest

_THREADS = '''
from __future__ import annotations
import sys, threading, types
import msgspec
from bot.formats import structs

KINDS = """
from __future__ import annotations
import msgspec
class A(msgspec.Struct):
    b: B | None = None
class B(msgspec.Struct):
    c: list[C] | None = None
    d: dict[str, D] | None = None
class C(msgspec.Struct):
    a: A | None = None
class D(msgspec.Struct):
    e: E | None = None
class E(msgspec.Struct):
    f: list[C] | None = None
"""
DOCUMENT = {"b": {"c": [{}], "d": {"x": {"e": {"f": []}}}}}
CALLS = {
    "decode": lambda kind: structs.decode(msgspec.json.encode(DOCUMENT), kind),
    "convert": lambda kind: structs.convert(DOCUMENT, kind),
}

def use(call, kind, barrier):
    barrier.wait()
    call(kind)

sys.setswitchinterval(1e-6)
for number in range(60):
    module = types.ModuleType(f"kinds{number}")
    sys.modules[module.__name__] = module
    exec(KINDS, module.__dict__)
    barrier = threading.Barrier(8)
    given = (CALLS[sys.argv[1]], module.A, barrier)
    threads = [threading.Thread(target=use, args=given) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print("whole")
'''


@pytest.mark.parametrize("call", ["decode", "convert"])
def test_a_type_is_first_used_by_several_threads(call: str) -> None:
    """msgspec alone ends the process here with a segmentation fault."""
    done = subprocess.run(
        [sys.executable, "-c", _THREADS, call], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
