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
if ! python=$("$here/../../scripts/torch_python.sh" "${@:2}"); then
  echo "skipped: no Python with torch and safetensors (set ISOBATH_PYTHON to one); its stored answers were compared all the same"
  exit 77
fi
exec "$python" "$here/model.py" "${files[@]}"
