#!/usr/bin/env bash
# Everything about the sources that needs no build: format, the include table, limits of length. With --tidy also clang-tidy, which takes
# a few minutes; it reads merged compilations (configured in build-tidy), so that LibTorch's headers are parsed once for several files.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
version=14  # of the clang tools; others break lines elsewhere and warn of other things
if clang-format --version 2>/dev/null | grep -q "version $version\."; then
  scripts/format.sh --check && echo "format: fine" || failed=1
else
  echo "format: not checked, clang-format $version is not installed"
fi
python3 scripts/check_includes.py || failed=1
python3 scripts/check_limits.py || failed=1

# The kernels of src/nn/backend/cpu are written in the vector extensions of GCC, which clang does not know.
tidy_files() {
  python3 - <<'PYTHON'
import json
for command in json.load(open("build-tidy/compile_commands.json")):
    if not any(part in command["file"] for part in ("/tests/", "isobath_build_id", "/src/nn/backend/")):
        print(command["file"])
PYTHON
}
if [[ ${1:-} == --tidy ]]; then
  if ! clang-tidy --version 2>/dev/null | grep -q "version $version\."; then
    echo "clang-tidy: not checked, clang-tidy $version is not installed"
  else
    cmake -S . -B build-tidy -G Ninja -DISOBATH_UNITY=ON -DISOBATH_TESTS=OFF -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
    if tidy_files | xargs -P "$(nproc)" -n 1 clang-tidy -p build-tidy --quiet --warnings-as-errors='*' 2>/dev/null; then
      echo "clang-tidy: fine"
    else
      failed=1
    fi
  fi
fi
exit $failed
