#!/bin/bash
# run.sh OUT [--smoke]: measures everything on this machine, most important first, and writes into the folder OUT:
#   doctor.json   adapters, features and limits
#   machine.txt   card, drivers, libraries, Python
#   results.jsonl a line for each case, ceiling and sweep
#   log.txt       what every step said
#   clocks.csv    clocks and power of the card, five times a second
#   table.txt     all of it in short; printed last
# Every step is a process with a time limit, and none stops the others. --smoke: tiny sizes, for a software adapter.
# TOKENLOOM_PACK_SECONDS: no new case is begun later than this (420). TOKENLOOM_PYTHON: the Python with PyTorch (python3).
# TOKENLOOM_PACK_CASES: only these, in this order, and no sweep: "s12-b1 moe-half=torch" (of moe-half only that peer, beside tokenloom).
# TOKENLOOM_PACK_SHAPES: with it, a sweep of these: "product 512;product 1024".
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?run.sh OUT [--smoke]}
mkdir -p "$out"
out=$(cd "$out" && pwd)
smoke=${2:-}
export PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
work=$(mktemp -d)
clocks=
trap '[ -z "$clocks" ] || kill "$clocks" 2>/dev/null; rm -rf "$work"' EXIT
export TMPDIR=$work HOME=${HOME:-$work} XDG_CACHE_HOME=$work/cache
python=${TOKENLOOM_PYTHON:-python3}
rounds=20
last=${TOKENLOOM_PACK_SECONDS:-420}
patience=1
if [ "$smoke" = --smoke ]; then
  export TOKENLOOM_BENCH_SMOKE=1
  rounds=3
  last=3600
  patience=5
fi

# Libraries that this machine has not got, and the driver where container images put it.
mkdir "$work/lib"
for file in "$here"/lib/*; do
  ldconfig -p 2>/dev/null | grep -q "$(basename "$file")" || ln -s "$file" "$work/lib/"
done
libraries=$work/lib
for folder in /usr/local/nvidia/lib64 /usr/local/nvidia/lib; do
  [ -d "$folder" ] && libraries=$libraries:$folder
done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
icd=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
[ -z "${VK_DRIVER_FILES:-}" ] && [ -f "$icd" ] && export VK_DRIVER_FILES=$icd

log=$out/log.txt
results=$out/results.jsonl
: >"$log"
: >"$results"
elapsed() { echo $SECONDS; }
node=$here/bin/node
app=$here/app

# step SECONDS NAME COMMAND...
step() {
  local limit=$1 name=$2
  shift 2
  echo "== $name (at $(elapsed) s)" | tee -a "$log"
  timeout -k 10 $((limit * patience)) "$@" >>"$log" 2>&1 </dev/null
  local rc=$?
  [ $rc = 0 ] || echo "== $name ended with $rc" | tee -a "$log"
  return $rc
}

{
  uname -a
  nvidia-smi
  nproc
  ls /usr/local/nvidia/lib64 /usr/local/nvidia/share/vulkan/icd.d /usr/share/vulkan/icd.d /etc/vulkan/icd.d
  cat "${VK_DRIVER_FILES:-/dev/null}"
  ls -l "$work/lib"
  ldconfig -p | grep -E 'vulkan|GLX|GLdispatch|X11|Xext'
  "$python" --version
} >"$out/machine.txt" 2>&1
# Read from disk once, so that the first case does not wait for it.
timeout 90 "$python" -c "import torch; torch.zeros(1).to('cuda' if torch.cuda.is_available() else 'cpu')" >/dev/null 2>&1 &

timeout 60 "$node" "$app/dist/cli.js" doctor --json >"$out/doctor.json" 2>>"$log"
if ! grep -q '"target"' "$out/doctor.json"; then
  echo "no adapter: nothing can be measured; doctor.json, machine.txt and log.txt say what is there" | tee -a "$log"
  VK_LOADER_DEBUG=error,warn,driver timeout 60 "$node" "$app/dist/cli.js" doctor >>"$log" 2>&1
  tail -c 6000 "$log"
  exit 3
fi
wait

survey() {
  if [ "$(elapsed)" -gt "$last" ]; then
    echo "== $1: left out, the time is over" | tee -a "$log"
    return
  fi
  local peers=()
  [ "${1#*=}" = "$1" ] || peers=(--peers "${1#*=}")
  step "$2" "$1" "$node" "$app/bench/survey.js" "${1%%=*}" --out "$results" --rounds $rounds \
    --starting $((($2 - 20) * 1000 * patience)) "${peers[@]}"
}
if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,power.draw --format=csv -lms 200 >"$out/clocks.csv" 2>&1 &
  clocks=$!
fi

step 40 ceilings "$node" "$app/bench/ceilings.js" --out "$results"
step 60 uploads "$node" "$app/bench/upload.js" --out "$results"
step 60 "ceilings of PyTorch" bash -c "'$python' '$app/bench/torch/ceilings.py' >>'$results'"
swept=${TOKENLOOM_PACK_CASES:-}
for name in ${TOKENLOOM_PACK_CASES:-$("$node" "$app/bench/survey.js" --list)}; do
  case $name in
    *-compiled*)
      # Before what takes longest.
      [ -n "$swept" ] || [ "$(elapsed)" -gt "$last" ] || step 90 sweep "$node" "$app/bench/sweep.js" --out "$results" --budget 9000
      swept=1
      survey "$name" 100
      ;;
    # Packing its weights takes long.
    moe*) survey "$name" 110 ;;
    *) survey "$name" 60 ;;
  esac
done
[ -z "${TOKENLOOM_PACK_SHAPES:-}" ] || [ "$(elapsed)" -gt "$last" ] ||
  step 60 sweep "$node" "$app/bench/sweep.js" --out "$results" --budget 9000 --shapes "$TOKENLOOM_PACK_SHAPES"
echo "== done at $(elapsed) s" | tee -a "$log"
"$node" "$app/bench/table.js" "$results" | tee "$out/table.txt"
