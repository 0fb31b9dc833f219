#!/usr/bin/env bash
# Packs the program for machines without a compiler: one relocatable archive with the program, the CUDA plug-in (where it was built), the
# small shared libraries that are neither LibTorch's nor CUDA's, configs, scripts and docs. The other machine needs x86-64 Linux with glibc 2.34
# or newer and a torch 2.11 wheel.
#
#   scripts/bundle.sh [--no-cuda] [FILE]      default: isobath-VERSION-x86_64.tar.gz in the current folder
#
# --no-cuda: packs without the CUDA plug-in; without this option a missing plug-in is an error.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cuda=yes
if [[ ${1:-} == --no-cuda ]]; then
  cuda=no
  shift
fi
case ${1:-} in
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
  -*) echo "bundle.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
esac
[[ $(uname -sm) == "Linux x86_64" ]] || { echo "bundle.sh: bundles are for x86-64 Linux; this is $(uname -sm)" >&2; exit 1; }
version=$(sed -n 's/^project(isobath VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
archive=$(realpath -m "${1:-isobath-$version-x86_64.tar.gz}")

"$root/scripts/build.sh"
if [[ $cuda == yes && ! -e $root/build/libisobath_cuda.so ]]; then
  echo "bundle.sh: the CUDA plug-in was not built ('cmake --preset release' says why); --no-cuda packs without it" >&2
  exit 1
fi
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
bundle=$stage/isobath
cmake --install "$root/build" --prefix "$bundle" --strip >/dev/null
mkdir -p "$bundle/lib"
[[ $cuda == yes ]] || rm -f "$bundle/lib/libisobath_cuda.so"

# Copies the libraries that the program needs and another machine may lack, from where the loader finds them here.
provided='^(linux-vdso|ld-linux|lib(c|m|dl|rt|pthread|util|stdc\+\+|gcc_s|gomp|torch.*|c10.*|cu[a-z]+|nv[a-zA-Z]+)\.so)'
ldd "$root/build/isobath" | awk '$2 == "=>" {print $1, $3}' | while read -r name path; do
  [[ $name =~ $provided ]] || cp -L "$path" "$bundle/lib/$name"
done
strip --strip-unneeded "$bundle"/lib/*

cp -r "$root/configs" "$root/docs" "$root/LICENSE" "$root/README.md" "$bundle/"
mkdir -p "$bundle/scripts"
cp -r "$root"/scripts/{gpu,peers,gpu_check.sh,gpu_study.sh,program.sh,torch_python.sh} "$bundle/scripts/"
find "$bundle" -name __pycache__ -prune -exec rm -rf {} +
cp "$root/scripts/bundle_launcher.sh" "$bundle/isobath"
git -C "$root" describe --always --dirty >"$bundle/COMMIT" 2>/dev/null || echo unknown >"$bundle/COMMIT"

tar -C "$stage" --owner=0 --group=0 -cf - isobath | gzip -9 >"$archive"
echo "$archive: $(du -h --apparent-size "$archive" | cut -f1), CUDA plug-in: $cuda"
