#!/usr/bin/env bash
# Compares the files the C++ tests wrote (FOLDER/*.safetensors) with the independent implementation; exit code 77 without a Python that
# has torch and safetensors.   run.sh FOLDER [PYTHON]
set -u
here=$(dirname "$0")

shopt -s nullglob
files=("$1"/*.safetensors)
if [[ ${#files[@]} == 0 ]]; then
  echo "no files in $1: did the golden test of tests/torch run?"
  exit 1
fi
for python in "${ISOBATH_PYTHON:-}" "${2:-}" python3 "$here/../../.venv/bin/python"; do
  if [[ -n $python ]] && "$python" -c 'import torch, safetensors' 2>/dev/null; then
    exec "$python" "$here/model.py" "${files[@]}"
  fi
done
echo "skipped: no Python with torch and safetensors (set ISOBATH_PYTHON to one); tests/golden/reference.safetensors was still compared"
exit 77
