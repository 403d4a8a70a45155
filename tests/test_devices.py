"""Reflections on eight devices and in two processes give the numbers of one device."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("devices_script.py")


def start(*arguments, devices):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def check(numbers, *, devices, processes):
    assert (numbers["devices"], numbers["processes"], numbers["shards"]) == (devices, processes, devices)
    assert numbers["share"] < 1.1 / devices
    assert numbers["steps"] > 1
    # The solver's tolerance is 1e-9; the rest is sums in another order.
    for name in ("occupancies", "target", "gradient"):
        assert numbers[name] < 1e-8, name
    # The cycles of `refine` and `refine_series` end when nothing moves by more than 1e-5.
    assert max(numbers["turnkey"], numbers["series"]) < 1e-5


def test_eight_devices():
    process = start(devices=8)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    check(json.loads(printed), devices=8, processes=1)


def test_two_processes_over_loopback():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    processes = [start(f"127.0.0.1:{port}", 2, number, devices=2) for number in range(2)]
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    except subprocess.TimeoutExpired:
        pytest.skip("two processes could not be brought together in time")
    finally:
        for process in processes:
            process.kill()
    for process, (printed, errors) in zip(processes, outputs, strict=True):
        if process.returncode and "DEADLINE_EXCEEDED" in errors:
            pytest.skip("two processes could not be brought together in time")
        assert process.returncode == 0, errors
        check(json.loads(printed.splitlines()[-1]), devices=4, processes=2)
