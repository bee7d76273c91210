#!/bin/sh
# jax 0.10.2: jnp.full(n, 0.5) is float32 like jnp.ones(n), but weakly typed: state that starts with it compiles twice.
#
# Its dtype is said to be float32, and yet it gives way: times a bfloat16 array it is bfloat16, where jnp.ones(n)
# is float32. A jitted step whose result is not weak is traced and compiled a second time in its second call, since
# weakness is part of the type; for a training step that is the whole compilation. With a dtype, full(n, 0.5,
# jnp.float32), it is not weak.
#
# Seen: programs after two calls of a step, 2 from full(n, 0.5), 1 from full(n, 0.5, float32) and from ones(n).
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cd "$place"
JAX_PLATFORMS=cpu "$place/venv/bin/python" - <<'END'
import jax
import jax.numpy as jnp

starts = {
    "full(n, 0.5)": jnp.full(3, 0.5),
    "full(n, 0.5, float32)": jnp.full(3, 0.5, jnp.float32),
    "ones(n)": jnp.ones(3),
}
programs, products = {}, {}
for name, start in starts.items():
    step = jax.jit(lambda state: state * jnp.float32(0.9))
    step(step(start))
    programs[name] = step._cache_size()
    products[name] = (start * jnp.ones(3, jnp.bfloat16)).dtype.name
    print(f"jax {jax.__version__}: {name} is {start.dtype}, times bfloat16 {products[name]}; {programs[name]} programs")
assert {s.dtype.name for s in starts.values()} == {"float32"}
assert programs == {"full(n, 0.5)": 2, "full(n, 0.5, float32)": 1, "ones(n)": 1}, "changed: how often it compiles"
assert products["full(n, 0.5)"] == "bfloat16" != products["ones(n)"], "changed: what a weak float32 gives"
END
