#!/usr/bin/env bash
# Everything about the sources that needs no build: format, the include table, limits of length. With --tidy also clang-tidy, which reads
# the compile commands of a build without merged compilations (made here in build-dev) and takes a quarter of an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
format_version=14  # others break lines elsewhere
if clang-format --version 2>/dev/null | grep -q "version $format_version\."; then
  scripts/format.sh --check && echo "format: fine" || failed=1
else
  echo "format: not checked, clang-format $format_version is not installed"
fi
python3 scripts/check_includes.py || failed=1
python3 scripts/check_limits.py || failed=1
if [[ ${1:-} == --tidy ]]; then
  cmake --preset dev >/dev/null
  mapfile -t files < <(git ls-files 'src/*.cpp' 'data/*.cpp' 'trainer/*.cpp')
  printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy -p build-dev --quiet --warnings-as-errors='*' || failed=1
fi
exit $failed
