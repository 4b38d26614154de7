#!/usr/bin/env bash
# Everything that a real GPU can tell of this checkout, in one go of less than eight minutes:
#
#     benchmarks/on_a_gpu.sh OUT [--backend cuda|rocm|cpu] [--python PYTHON] [--wheels FOLDER] [--seconds N]
#                                [--quickest] [--dry-run]
#
# The device's tests, portbev bench ops and step, a few training steps of the laptop recipes on the device and on the CPU,
# and a parity report about them. OUT gets a folder for each, a log for each stage, and summary.txt. A stage that fails or
# takes too long does not stop the next one; the exit status is 0 if all of them passed.
#
# PYTHON (default: python3) should have torch; what else is missing is installed into OUT/venv, from FOLDER alone if one is
# given. Nothing is changed outside OUT. --quickest is for trying the script: tiny models, one test.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)

usage() { sed -n '2,/^set -u/p' "$0" | sed '$d; s/^# \{0,1\}//'; }
die() { echo "on_a_gpu.sh: $1" >&2; exit 2; }

out="" backend="" python=python3 wheels="" total=460 quickest="" dry=""
while [ $# -gt 0 ]; do
  case $1 in
    --backend | --python | --wheels | --seconds)
      [ $# -gt 1 ] || die "$1: a value is missing"
      case $1 in --backend) backend=$2 ;; --python) python=$2 ;; --wheels) wheels=$2 ;; --seconds) total=$2 ;; esac
      shift ;;
    --quickest) quickest=1 ;;
    --dry-run) dry=1 ;;
    -h | --help) usage; exit 0 ;;
    -*) die "unknown option $1. See --help" ;;
    *) [ -z "$out" ] || die "one folder for the results, not $out and $1"; out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || die "no folder for the results. For example: benchmarks/on_a_gpu.sh results"
case $total in '' | *[!0-9]*) die "--seconds: $total is no whole number" ;; esac
if [ -z "$backend" ]; then
  backend=cuda
  [ -e /dev/kfd ] && backend=rocm
fi
case $backend in cuda | rocm | cpu) ;; *) die "--backend: $backend is not cuda, rocm or cpu" ;; esac

started=$SECONDS failures=0 summary=()
left() { echo $((total - (SECONDS - started))); }

# stage NAME LIMIT COMMAND...: runs it with a limit in seconds; its output goes to a log, its state to the summary.
stage() {
  local name=$1 limit=$2 status state begun=$SECONDS
  shift 2
  if [ -n "$dry" ]; then printf '%-18s at most %3s s  %s\n' "$name" "$limit" "$*"; return 0; fi
  [ "$(left)" -lt "$limit" ] && limit=$(left)
  if [ "$limit" -lt 3 ]; then note "$name" "left out: no time is left" 0; failures=$((failures + 1)); return 1; fi
  # An interruption first: what was measured until then is written.
  { timeout --signal=INT --kill-after=8 "$limit" "$@" >"$out/logs/$name.log" 2>&1 </dev/null; } 2>/dev/null
  status=$?
  case $status in
    0) state=passed ;;
    124 | 137) state="took longer than $limit s" ;;
    *) state="failed with status $status" ;;
  esac
  [ "$status" -eq 0 ] || failures=$((failures + 1))
  note "$name" "$state" $((SECONDS - begun))
  [ "$status" -eq 0 ] || tail -n 3 "$out/logs/$name.log" | sed 's/^/    /'
  return "$status"
}
note() { summary+=("$(printf '%-18s %4s s  %s' "$1" "$3" "$2")"); echo "${summary[-1]}"; }

# The packages, as if installed: their folders, and a description with the plugins' entry points.
lay_out() {
  local site=$out/site/portbev-0.dist-info
  mkdir -p "$site"
  printf 'Metadata-Version: 2.1\nName: portbev\nVersion: 0\n' >"$site/METADATA"
  awk '/^\[project.entry-points.portbev\]/ {print "[portbev]"; on = 1; next} /^\[/ {on = 0} on && NF {gsub(/"/, ""); print}' \
    "$here/pyproject.toml" >"$site/entry_points.txt"
  export PYTHONPATH=$out/site:$here:$here/backends:$here/plugins${PYTHONPATH:+:$PYTHONPATH}
}

NEEDED="torch numpy pandas pluggy pydantic yaml typer rich PIL cv2 matplotlib scipy safetensors msgspec platformdirs filelock jinja2"
missing() { # modules that Python lacks, by name
  "$python" - $NEEDED "$@" <<'END'
import importlib.util, sys
print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))
END
}

# A Python that has what is needed: the given one, or a virtual environment on top of it.
prepare() {
  local lacks
  lacks=$(missing pytest) || die "$python does not run. Give another with --python"
  [ -n "$lacks" ] || { echo "$python has all that is needed"; return 0; }
  echo "$python lacks $lacks"
  "$python" -m venv --system-site-packages "$out/venv" || return 1
  local from=(--retries 1 --timeout 10)
  [ -n "$wheels" ] && from=(--no-index --find-links "$wheels")
  (cd "$here" && timeout 150 "$out/venv/bin/python" - <<'END'
import re
text = open("pyproject.toml", encoding="utf-8").read()
block = re.search(r"^dependencies = \[(.*?)^\]", text, re.S | re.M).group(1)
print(*re.findall(r'"([^"]+)"', block), "pytest>=8.3", "pytest-timeout>=2.3", "hypothesis>=6.115", sep="\n")
END
  ) >"$out/requirements.txt" || return 1
  timeout 150 "$out/venv/bin/python" -m pip install --quiet "${from[@]}" --requirement "$out/requirements.txt"
}

if [ -z "$dry" ]; then
  mkdir -p "$out/logs" || die "$out cannot be made"
  out=$(cd "$out" && pwd)
  lay_out
  prepare >"$out/logs/prepare.log" 2>&1
  [ -x "$out/venv/bin/python" ] && python=$out/venv/bin/python
  lacks=$(missing)
  if [ -n "$lacks" ]; then
    tail -n 3 "$out/logs/prepare.log" | sed 's/^/    /'
    die "$python lacks $lacks, and they cannot be installed here. Give their wheels with --wheels FOLDER"
  fi
  note prepare passed $((SECONDS - started))
fi
cd "$here" || exit 2
export PORTBEV_CACHE=$out/cache PORTBEV_TEST_BACKEND=$backend TORCH_DEVICE_BACKEND_AUTOLOAD=0 NO_COLOR=1 COLUMNS=160
portbev=("$python" -m portbev)

pick=() steps=12 tiny=()
recipes="bevdepth bevformer echofusion"
official=(bevdepth/r50_256x704_128x128_24e bevformer/base echofusion/rt_img)
generated_nuscenes="scenes=4&val_scenes=1&samples_per_scene=4&sweeps=0&reach=20&lidar_steps=540&seed=0"
declare -A root=(
  [bevdepth]="synthetic:?$generated_nuscenes&image_size=384x216"
  [bevformer]="synthetic:?$generated_nuscenes&image_size=320x180"
  [echofusion]="synthetic-radial:?sequences=4&frames=3&val_sequences=1&test_sequences=1&samples=128&chirps=64&azimuths=151&image_size=384x216&reach=60&seed=0"
)
size=laptop
if [ -n "$quickest" ]; then
  pick=(-k dropout_mask) steps=1 recipes=bevdepth size=tiny_test tiny=(bevdepth/tiny_test)
  root[bevdepth]="synthetic:?scenes=2&samples_per_scene=2&image_size=200x112&seed=0"
fi

stage backends 40 "${portbev[@]}" backends --backend "$backend"
stage tests 110 "$python" -m pytest -q -p no:cacheprovider tests/backends/test_device.py "${pick[@]}"
if [ -n "$quickest" ]; then
  stage ops 60 "${portbev[@]}" bench ops "${tiny[@]}" --only voxel_pool_lift --quick --backend "$backend" --out "$out/bench-quick"
else
  stage ops 60 "${portbev[@]}" bench ops --quick --dtype float32 --dtype float16 --backend "$backend" --out "$out/bench-quick"
  [ "$backend" = cpu ] || stage ops-official 110 "${portbev[@]}" bench ops --backend "$backend" --out "$out/bench"
fi
stage step 60 "${portbev[@]}" bench step "${tiny[@]}" --quick --backend "$backend" --out "$out/bench-quick"
if [ "$backend" != cpu ]; then # few samples of the sizes that are published
  stage step-official 110 "${portbev[@]}" bench step "${official[@]}" --quick --backend "$backend" --out "$out/bench"
fi
for recipe in $recipes; do
  train=("${portbev[@]}" train "$recipe/$size" --data-root "${root[$recipe]}" --set "train.max_steps=$steps")
  other=cpu more=()
  [ "$backend" = cpu ] && other=cpu-reference more=(--kernel all=reference)
  stage "$recipe-$backend" 50 "${train[@]}" --backend "$backend" --out "$out/runs/$recipe-$backend"
  stage "$recipe-$other" 50 "${train[@]}" --backend cpu "${more[@]}" --out "$out/runs/$recipe-$other"
  stage "$recipe-report" 30 "${portbev[@]}" parity report "$out/runs/$recipe-$other" "$out/runs/$recipe-$backend" \
    --out "$out/report-$recipe"
done
# Triton's interpreter on the host, and its compiler: in a process without the device's own kernels.
[ "$backend" = cpu ] || stage triton 100 "$python" -m pytest -q -p no:cacheprovider tests/backends/triton
[ -n "$dry" ] && exit 0

{
  echo "portbev $(git rev-parse --short HEAD 2>/dev/null || echo 'of unknown version'), backend $backend, $python"
  printf '%s\n' "${summary[@]}"
  echo "$failures of ${#summary[@]} stages did not pass, $((SECONDS - started)) s in all"
} | tee "$out/summary.txt" | tail -n 1
echo "results are in $out; the whole is in summary.txt"
[ "$failures" -eq 0 ]
