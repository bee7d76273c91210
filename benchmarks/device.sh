#!/usr/bin/env bash
# What vaejax does on a machine with one GPU, in at most eight minutes after the installation.
#
#     bash benchmarks/device.sh cuda12 OUT      (or cuda13: the extra that fits the driver)
#     bash benchmarks/device.sh tiny OUT        (every part at a tiny size, with the python that is there)
#
# Run it at the root of a checkout. It installs by the README's line into OUT/venv, then: the Jacobian benchmark's
# steps at the setting of the README's table, bfloat16 beside float32, a resident split beside a streamed one,
# and a thousand steps of the flagship's preset `small`. OUT/device.json has all of it; a part that fails or takes
# too long is null in it, and what it wrote is in OUT/PART.log.
set -euo pipefail

kind=${1:?expected cuda12, cuda13 or tiny}
out=${2:-device}
python=${PYTHON:-python3}
limit=480 # seconds of all parts
mkdir -p "$out"

case $kind in
cuda12 | cuda13)
    "$python" -m venv "$out/venv"
    python=$out/venv/bin/python
    "$python" -m pip install --quiet -c constraints.txt -e ".[$kind]"
    "$python" -c 'import jax; assert jax.devices()[0].platform == "gpu", f"jax sees {jax.devices()}"'
    sweep=(--rounds 7 --setting 64 10 64)
    precision=(--rounds 7)
    stream=(--rounds 7 --chunk 100 --file-mib 1024 --large-gib 4 --steps 2000)
    flagship=(--preset small --steps 1000 --ramp 300 --seeds 1)
    ;;
tiny)
    sweep=(--rounds 1 --setting 16 2 4)
    precision=(--rounds 1 --steps 1 --side 16 --width 0.1 --batch-size 4)
    stream=(--rounds 1 --chunk 2 --batch-size 4 --width 0.1 --file-mib 1 --small-mib 2 --large-gib 0.01 --steps 4)
    flagship=(--preset small --steps 4 --ramp 2 --seeds 1 --side 16 --images 64 --width 0.1 --batch-size 4 --chunk 2
        --clusters 2 --samples 20 --workers 1)
    ;;
*)
    echo "expected cuda12, cuda13 or tiny; got $kind" >&2
    exit 2
    ;;
esac

SECONDS=0
part() { # NAME COMMAND...: in what is left of the time
    local name=$1
    shift
    rm -f "$out/$name.json"
    echo "$name: $*"
    if ! timeout $((limit - SECONDS > 1 ? limit - SECONDS : 1)) "$@" >"$out/$name.log" 2>&1; then
        echo "$name: failed or out of time; see $out/$name.log" >&2
        rm -f "$out/$name.json"
    fi
}

part sweep "$python" -m benchmarks.jacobian --sweep "${sweep[@]}" --output "$out/sweep.json"
part precision "$python" -m benchmarks.device --part precision "${precision[@]}" --output "$out/precision.json"
part stream "$python" -m benchmarks.stream "${stream[@]}" --output "$out/stream.json"
rm -rf "$out/flagship"
part flagship "$python" -m experiments.jl1_three_dots "${flagship[@]}" --folder "$out/flagship"
[ -f "$out/flagship/report.json" ] && cp "$out/flagship/report.json" "$out/flagship.json"
"$python" -m benchmarks.device --part collect --folder "$out" --output "$out/device.json"
