#!/bin/sh
# jax 0.10.2, CPU: a convolution with "SAME" or "VALID" padding runs on one core, however many there are; with
# one more row of padding it runs on all of them. Products of matrices use all cores either way.
#
# XLA hands convolutions whose output is as long as the input, or that have no padding, to a library that uses
# one thread (the compiled program calls it a __ynn_fusion); others go to the kernels that use its thread pool.
# So a training step of a convolutional net is hardly faster on eight cores than on one.
#
# Seen on two cores (AVX-512), 64 images of 28x28x32, a kernel of 3x3x32x32: "SAME" 7.2 ms with 1.0 core busy, a row
# more 4.6 ms with 1.9, a product 1.9. On one core the first takes 6.8 ms and the second 10.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cd "$place"
JAX_PLATFORMS=cpu "$place/venv/bin/python" - <<'END'
import os
import time

import jax
import jax.numpy as jnp

x, kernel = jnp.ones((64, 28, 28, 32)), jnp.ones((3, 3, 32, 32))


def measured(name, function, *arguments):
    compiled = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(200):
        jax.block_until_ready(compiled(*arguments))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{name}: {1000 * wall / 200:.2f} ms, {cpu / wall:.2f} cores busy")
    return cpu / wall, "__ynn_fusion" in compiled.as_text()


def convolution(padding):
    layout = ("NHWC", "HWIO", "NHWC")
    return lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), padding, dimension_numbers=layout)


print(f"jax {jax.__version__}, {len(os.sched_getaffinity(0))} cores")
same, same_library = measured("SAME", convolution("SAME"), x, kernel)
more, more_library = measured("a row more", convolution(((1, 2), (1, 1))), x, kernel)
product, _ = measured("a product", jnp.matmul, jnp.ones((2048, 1024)), jnp.ones((1024, 1024)))
assert same_library and not more_library, "changed: who computes them"
assert same < 1.3, "changed: SAME uses several cores"
if len(os.sched_getaffinity(0)) > 1 and os.getloadavg()[0] < 1:
    assert more > 1.4 and product > 1.4, "changed: the others use one core"
END
