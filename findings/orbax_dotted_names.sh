#!/bin/sh
# orbax-checkpoint 0.12.8: of two parameters whose names meet when joined by dots, one is lost in silence.
#
# {"a": {"b": 1}, "a.b": 2} is a tree of two leaves. Both are stored under the name "a.b"; saving and restoring
# raise nothing, and both leaves come back with the values of one.
#
# Seen: saved 1.0 and 2.0, restored the same number twice.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q orbax-checkpoint==0.12.8 jax==0.10.2
cd "$place"
JAX_PLATFORMS=cpu "$place/venv/bin/python" -W ignore - "$place/checkpoint" <<'END'
import sys

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

tree = {"a": {"b": jnp.full(3, 1.0)}, "a.b": jnp.full(3, 2.0), "c": jnp.full(3, 3.0)}
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(sys.argv[1], tree)
with ocp.StandardCheckpointer() as checkpointer:
    restored = checkpointer.restore(sys.argv[1], tree)
nested, dotted, other = (float(np.unique(v).item()) for v in (restored["a"]["b"], restored["a.b"], restored["c"]))
print(f"orbax-checkpoint {ocp.__version__}: saved 1.0 and 2.0, restored {nested} and {dotted}")
assert other == 3
assert (nested, dotted) != (1, 2), "changed: both come back"
assert nested == dotted
END
