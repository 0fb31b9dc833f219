#!/usr/bin/env bash
# Proves the README's two commands in a bare Debian 12: debootstrap (minbase) into a temporary folder, a clean clone of this
# repository's HEAD, then scripts/quickstart.sh and scripts/test.sh inside. Needs root and debootstrap. Reports minutes and megabytes.
#
#   scripts/try_fresh.sh [--keep] [--only quickstart|test]
#
# Of the host, only the certificate bundle comes along (as PIP_CERT and SSL_CERT_FILE), for networks with a certificate of their own.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

keep=no
steps=(quickstart test)
while [[ $# -gt 0 ]]; do
  case $1 in
    --keep) keep=yes ;;
    --only) steps=("$2"); shift ;;
    *) echo "try_fresh.sh: unknown argument '$1' (known: --keep, --only quickstart|test)" >&2; exit 2 ;;
  esac
  shift
done
[[ $(id -u) == 0 ]] || { echo "try_fresh.sh: needs root (debootstrap and chroot)" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "try_fresh.sh: install debootstrap first" >&2; exit 1; }

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m 1 '/debian/\?$' || true)
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

log=$(mktemp)
fresh=$(mktemp -d -t isobath-fresh.XXXXXX)
chmod 755 "$fresh"
cleanup() {
  if mountpoint -q "$fresh/proc"; then umount "$fresh/proc"; fi
  rm -f "$log"
  if [[ $keep == yes ]]; then
    echo "kept: $fresh"
  else
    rm -rf --one-file-system "$fresh"
  fi
}
trap cleanup EXIT

megabytes() { du -sm --one-file-system "$fresh" | cut -f1; }
# By all interfaces of this machine, in MB; the loopback left out.
received() { tail -n +3 /proc/net/dev | tr ':' ' ' | awk '$1 != "lo" {sum += $2} END {print int(sum / 1e6)}'; }

echo "debootstrap bookworm from ${mirror:-the default mirror} into $fresh"
debootstrap --variant=minbase bookworm "$fresh" ${mirror:+"$mirror"} >"$log" 2>&1 || { tail "$log"; exit 1; }
git clone --quiet --no-local "$root" "$fresh/root/isobath"
cp "$bundle" "$fresh/root/certificates.crt"
cp /etc/resolv.conf "$fresh/etc/resolv.conf"
mount -t proc proc "$fresh/proc"

summary=()
for step in "${steps[@]}"; do
  echo "=== scripts/$step.sh in a bare root"
  size=$(megabytes) traffic=$(received) start=$SECONDS status=0
  chroot "$fresh" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    PIP_CERT=/root/certificates.crt SSL_CERT_FILE=/root/certificates.crt "/root/isobath/scripts/$step.sh" || status=$?
  seconds=$((SECONDS - start))
  summary+=("$(printf 'scripts/%s.sh: exit %d, %d min %02d s, %d MB received, %d MB on disk' \
    "$step" "$status" $((seconds / 60)) $((seconds % 60)) $(($(received) - traffic)) $(($(megabytes) - size)))")
  [[ $status == 0 ]] || break
done
echo
printf '%s\n' "${summary[@]}"
exit "$status"
