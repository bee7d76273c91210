#!/bin/sh
# jax 0.10.2, CPU, Linux: a program of one addition holds 1.5 MB, and jax.clear_caches() does not give it back.
#
# Every operation outside jit is a program for each shape that it meets. After clear_caches and a garbage
# collection the process is as large as before; glibc keeps what was freed until malloc_trim(0) is called. A
# test suite or notebook that clears the caches to stay small therefore does not.
#
# Seen, for 200 shapes of `jnp.ones(n) + 1`, 400 programs: 598 MB more; after clear_caches and gc.collect() 594 MB;
# after malloc_trim(0) 45 MB.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cd "$place"
JAX_PLATFORMS=cpu "$place/venv/bin/python" - <<'END'
import ctypes
import gc
import os

import jax
import jax.numpy as jnp


def megabytes():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


jnp.ones(3) + 1
before = megabytes()
for n in range(5, 205):
    jnp.add(jnp.ones(n), 1.0)
grown = megabytes() - before
jax.clear_caches()
gc.collect()
cleared = megabytes() - before
ctypes.CDLL("libc.so.6").malloc_trim(0)
trimmed = megabytes() - before
print(f"jax {jax.__version__}: {grown:.0f} MB more, {cleared:.0f} after clear_caches, {trimmed:.0f} after malloc_trim")
assert grown > 200, "changed: programs are small"
assert cleared > 0.8 * grown, "changed: clear_caches gives memory back"
assert trimmed < 0.3 * grown, "changed: malloc_trim gives nothing back"
END
