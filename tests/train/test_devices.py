"""Several devices give what one gives."""

import os
import subprocess
import sys

from tests.train import devices


def test_eight_devices_equal_one():
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.train.devices"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split(":")[0] for line in done.stdout.splitlines() if "agrees" in line]
    assert lines == devices.CASES
