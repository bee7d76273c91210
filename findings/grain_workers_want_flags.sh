#!/bin/sh
# grain 0.2.18: with jax installed beside it, `mp_prefetch` fails in a plain script; without jax it works.
#
# A data set of grain is iterated without any set-up, in threads. With worker processes the same data set raises
# absl's UnparsedFlagAccessError, in a script that begins as Python scripts do: where jax can be imported, grain offers
# to profile its workers, looks a command-line flag of its own up for that, and absl refuses flags that no one has
# parsed, as absl's `app.run` does. Nothing in the arguments of `mp_prefetch` says so.
# `absl.flags.FLAGS.mark_as_parsed()` before the first iteration mends it.
#
# Seen, with jax 0.10.2: [0, 1, 2, 3] in one process; UnparsedFlagAccessError with one worker; [0, 1, 2, 3] with one
# worker once the flags are marked as parsed. (Without jax: [0, 1, 2, 3] three times.)
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q grain==0.2.18 jax==0.10.2
cd "$place"
cat > script.py <<'END'
import grain
from absl import flags


def numbers(workers):
    dataset = grain.MapDataset.range(4).to_iter_dataset()
    if workers:
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    try:
        return [int(number) for number in dataset]
    except flags.Error as error:
        return type(error).__name__


if __name__ == "__main__":
    seen = numbers(0), numbers(1)
    flags.FLAGS.mark_as_parsed()
    seen = (*seen, numbers(1))
    print(f"in one process {seen[0]}; one worker {seen[1]}; once flags are parsed {seen[2]}")
    assert seen == ([0, 1, 2, 3], "UnparsedFlagAccessError", [0, 1, 2, 3]), "changed: what workers of grain want"
END
"$place/venv/bin/python" script.py
