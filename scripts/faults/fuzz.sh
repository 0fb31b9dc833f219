#!/usr/bin/env bash
# Gives the program's readers random and damaged inputs, with libFuzzer and sanitizers (clang).
#
#   scripts/faults/fuzz.sh [--minutes M] [TARGET...]     M minutes for each target (default 0.5); targets: files of tests/fuzz/targets
#
# Inputs that reached something new are kept in build-fuzz/corpus/TARGET, findings in build-fuzz/findings, counts of runs in
# build-fuzz/runs.txt. An input that takes more than a second or makes an allocation of more than 64 MB is a finding, too.
# Exit code 1 when there was a finding.
set -euo pipefail
cd "$(dirname "$0")/../.."

minutes=0.5
targets=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --minutes) minutes=${2:?minutes}; shift ;;
    -*) echo "fuzz.sh: unknown argument '$1' (known: --minutes M, names of targets)" >&2; exit 2 ;;
    *) targets+=("$1") ;;
  esac
  shift
done
if [[ ${#targets[@]} == 0 ]]; then
  for source in tests/fuzz/targets/*.cpp; do targets+=("$(basename "$source" .cpp)"); done
fi

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "$(nproc)"
corpus=build-fuzz/corpus
if [[ ! -d $corpus ]]; then
  build-fuzz/fuzz_seeds "$corpus"
  mkdir -p "$corpus/task_file"
  cp configs/*.yaml "$corpus/config"
  cp configs/tasks/*.yaml "$corpus/task_file"
  cp "$corpus/config.dict" "$corpus/task_file.dict"
fi
mkdir -p build-fuzz/findings

seconds=$(awk -v m="$minutes" 'BEGIN {print int(m * 60)}')
failed=0
for target in "${targets[@]}"; do
  dictionary=()
  [[ -f $corpus/$target.dict ]] && dictionary=("-dict=$corpus/$target.dict")
  case $target in
    units) longest=64 ;;
    utf8 | overrides) longest=512 ;;
    *) longest=16384 ;;
  esac
  log=build-fuzz/findings/$target.log
  start=$(date +%s)
  status=0
  "build-fuzz/fuzz_$target" "$corpus/$target" "${dictionary[@]}" -max_total_time="$seconds" -max_len=$longest -timeout=1 -malloc_limit_mb=64 \
    -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="build-fuzz/findings/$target-" >"$log" 2>&1 || status=$?
  runs=$(awk '/stat::number_of_executed_units/ {print $2}' "$log")
  echo "$target: ${runs:-0} runs in $(($(date +%s) - start)) s, $(find "$corpus/$target" -type f | wc -l) inputs kept$([[ $status == 0 ]] || echo ", FINDING: $log")"
  echo "$target ${runs:-0}" >>build-fuzz/runs.txt
  [[ $status == 0 ]] || failed=1
done
echo "all runs so far: $(awk '{sum += $2} END {print sum}' build-fuzz/runs.txt)"
exit $failed
