#!/usr/bin/env bash
# Installs what a build needs and is not there yet: system packages, and a LibTorch in .venv/. Can be run again at any time.
#
#   scripts/setup.sh [--no-sudo]     --no-sudo: print the commands that need root instead of running them, and stop
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=2.11.0
packages=(g++ cmake ninja-build pkg-config python3 python3-venv ca-certificates libyaml-cpp-dev libspdlog-dev libcli11-dev
  nlohmann-json3-dev libboost-dev libsentencepiece-dev libxxhash-dev libzstd-dev zlib1g-dev liblzma-dev libbz2-dev
  libpcre2-dev libutf8proc-dev libgloo-dev
  nodejs)  # nodejs: draws the page of a report in a test

allow_sudo=yes
for argument in "$@"; do
  case $argument in
    --no-sudo) allow_sudo=no ;;
    *) echo "setup.sh: unknown argument '$argument' (known: --no-sudo)" >&2; exit 2 ;;
  esac
done

bold() { if [[ -t 1 && -z ${NO_COLOR:-} ]]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi; }
die() { echo "setup.sh: $*" >&2; exit 1; }
# Catch2 3 has this header; Catch2 2 lacks it.
has_catch2() { [[ -e /usr/include/catch2/catch_test_macros.hpp || -e /usr/local/include/catch2/catch_test_macros.hpp ]]; }
has_package() { [[ $(dpkg-query -W -f='${Status}' "$1" 2>/dev/null) == "install ok installed" ]]; }
# Prints the LibTorch that CMake would use; CMake itself is asked, so that the two never disagree.
torch_root() { command -v cmake >/dev/null && cmake -P scripts/cmake/LibTorch.cmake 2>&1; }
# An interrupted pip leaves a package without its list of files, so a package counts only when that list exists.
venv_has() {
  [[ -x .venv/bin/python ]] && .venv/bin/python - "$@" >/dev/null 2>&1 <<'PYTHON'
import importlib.metadata, sys
sys.exit(any(importlib.metadata.distribution(name).files is None for name in sys.argv[1:]))
PYTHON
}

# 1. What is missing?
missing=()
if command -v apt-get >/dev/null; then
  for package in "${packages[@]}"; do has_package "$package" || missing+=("$package"); done
fi
need_catch2=no
has_catch2 || need_catch2=yes
need_torch=yes
if found=$(torch_root); then
  # A LibTorch in .venv may be left from an interrupted installation.
  [[ $found == "$(readlink -f .venv)"/* ]] && ! venv_has torch || need_torch=no
fi
need_python=no
venv_has numpy safetensors || need_python=yes
gpu=no
if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then gpu=yes; fi

if [[ ${#missing[@]} == 0 && $need_catch2 == no && $need_torch == no && $need_python == no ]]; then
  echo "setup: everything is installed"
  exit 0
fi

# 2. Print what will be installed.
bold "Isobath needs, and will install now:"
if [[ ${#missing[@]} -gt 0 || $need_catch2 == yes ]]; then
  echo "  system packages: ${missing[*]:-}$([[ $need_catch2 == yes ]] && echo " catch2")"
  echo "                   up to 120 MB to download, 500 MB on disk, about a minute"
fi
if [[ $need_torch == yes && $gpu == no ]]; then
  echo "  LibTorch:        PyTorch $torch_version into .venv/, without its GPU libraries (no NVIDIA GPU here)"
  echo "                   550 MB to download, 1.4 GB on disk, about a minute"
elif [[ $need_torch == yes ]]; then
  echo "  LibTorch:        PyTorch $torch_version with its GPU libraries into .venv/"
  echo "                   2.5 GB to download, 6 GB on disk, a few minutes"
fi
[[ $need_python == yes ]] && echo "  for the tests:   numpy and safetensors into .venv/ (20 MB)"

# 3. System packages.
if [[ ${#missing[@]} -gt 0 || $need_catch2 == yes ]]; then
  command -v apt-get >/dev/null || die "no apt-get here. Install Catch2 3 and the libraries named in scripts/cmake/Dependencies.cmake, then build with
  cmake --preset release && cmake --build build"
  as_root=()
  if [[ $(id -u) != 0 ]]; then
    as_root=(sudo)
    command -v sudo >/dev/null || allow_sudo=no
  fi
  export DEBIAN_FRONTEND=noninteractive
  install=(apt-get install -y --no-install-recommends)

  # Debian 12 has Catch2 2; version 3 is in its backports, from which nothing else is taken.
  backports=""
  if [[ $need_catch2 == yes ]]; then
    . /etc/os-release
    candidate=$(apt-cache policy catch2 2>/dev/null | sed -n 's/ *Candidate: //p')
    if [[ ${VERSION_CODENAME:-} == bookworm && $candidate != [3-9]* ]]; then
      mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/\?$' || true)
      [[ -n $mirror ]] || die "found no Debian mirror in apt's sources; add bookworm-backports there, then start again"
      backports="deb $mirror bookworm-backports main"
    fi
  fi
  backports_file=/etc/apt/sources.list.d/bookworm-backports.list

  if [[ $(id -u) != 0 && $allow_sudo == no ]]; then
    bold "These commands need root; run them, then start again:"
    [[ -n $backports ]] && echo "  echo '$backports' | tee $backports_file"
    echo "  apt-get update"
    [[ ${#missing[@]} -gt 0 ]] && echo "  ${install[*]} ${missing[*]}"
    [[ $need_catch2 == yes ]] && echo "  ${install[*]}${backports:+ -t bookworm-backports} catch2"
    exit 1
  fi
  if [[ -n $backports ]]; then
    echo "$backports" | "${as_root[@]}" tee $backports_file >/dev/null
  fi
  echo "installing system packages ..."
  "${as_root[@]}" apt-get update -qq >/dev/null
  if [[ ${#missing[@]} -gt 0 ]]; then "${as_root[@]}" "${install[@]}" -qq "${missing[@]}" >/dev/null; fi
  if [[ $need_catch2 == yes ]]; then
    "${as_root[@]}" "${install[@]}" -qq ${backports:+-t bookworm-backports} catch2 >/dev/null
  fi
  has_catch2 || die "the installed Catch2 is older than version 3, which the tests need"
fi

# 4. LibTorch and the few Python packages the tests use.
if [[ $need_torch == yes || $need_python == yes ]]; then
  [[ -x .venv/bin/pip ]] || python3 -m venv .venv
  pip=(.venv/bin/pip install --quiet --disable-pip-version-check --progress-bar off)
  if [[ $need_torch == yes && $gpu == yes ]]; then
    "${pip[@]}" "torch==$torch_version"
  elif [[ $need_torch == yes ]]; then
    runtime=()
    [[ $(uname -m) == x86_64 ]] && runtime=("nvidia-cuda-runtime==13.0.*" "nvidia-cuda-cupti==13.0.*")
    echo "downloading PyTorch $torch_version ..."
    "${pip[@]}" --no-deps "torch==$torch_version" "${runtime[@]}"
  fi
  [[ $need_python == yes ]] && "${pip[@]}" numpy safetensors
  found=$(torch_root) || die "LibTorch was installed, but CMake does not find it: $found"
fi
bold "setup: done"
