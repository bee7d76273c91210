#!/bin/sh
# jax 0.10.2: a NumPy array that a program of 32 bits holds as a constant fails in every later program of 64 bits.
#
# A function closes over a NumPy array of float64, as a table of nodes or of data. Jitted with jax's default it is
# float32, as everything is. Once 64 bits are enabled in the same process (a notebook, a test), another function
# that closes over the same array does not compile: a ValueError about the types of a product's operands, from
# inside of the lowering. As long as the first function lives, jax keeps what it made of its constant by the
# identity of the array, whatever the precision is by then; a copy of the array works, and so does the other way round, 64 bits first. Enable 64 bits
# before the first program, or close over a copy.
#
# Seen: float32, then "ValueError: Cannot lower jaxpr with verifier errors", then float64 of a copy.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cd "$place"
JAX_PLATFORMS=cpu "$place/venv/bin/python" - <<'END'
import jax
import numpy as np

nodes = np.linspace(0.0, 1.0, 5)


def scaled(table):
    """A new program that holds the table as a constant."""
    return jax.jit(lambda x: x * table)


first = scaled(nodes)
narrow = first(2.0).dtype
jax.config.update("jax_enable_x64", True)
try:
    wide = str(scaled(nodes)(2.0).dtype)
except ValueError as error:
    wide = f"ValueError: {error}"
copied = scaled(nodes.copy())(2.0).dtype
print(f"jax {jax.__version__}: {narrow}; with 64 bits enabled, {wide.splitlines()[0]}; of a copy, {copied}")
assert narrow == "float32"
assert copied == "float64", "changed: what a copy gives"
assert "Cannot lower jaxpr" in wide, "changed: what a constant that was float32 gives in 64 bits"
END
