#!/usr/bin/env bash
# Formats every C++ file in place; with --check only says which would change (exit 1).
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t files < <(git ls-files '*.h' '*.cpp')
if [[ ${1:-} == --check ]]; then
  exec clang-format --dry-run --Werror "${files[@]}"
fi
clang-format -i "${files[@]}"
