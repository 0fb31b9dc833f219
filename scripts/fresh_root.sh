# Sourced by scripts/try_*.sh: makes a bare Debian 12 in a temporary folder. Needs root and debootstrap. Only the certificate bundle of the
# host is copied (as PIP_CERT and SSL_CERT_FILE), for networks with a certificate of their own.
#
#   make_root [PACKAGE,...]   debootstrap (minbase and the packages) into $fresh, deleted when the script ends unless keep=yes
#   in_root COMMAND...        runs the command in $fresh

make_root() {
  [[ $(id -u) == 0 ]] || { echo "$(basename "$0"): needs root (debootstrap and chroot)" >&2; exit 1; }
  command -v debootstrap >/dev/null || { echo "$(basename "$0"): install debootstrap first" >&2; exit 1; }
  local mirror log
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m 1 '/debian/\?$' || true)
  fresh=$(mktemp -d -t isobath-fresh.XXXXXX)
  chmod 755 "$fresh"
  trap remove_root EXIT
  log=$fresh.log
  echo "debootstrap bookworm from ${mirror:-the default mirror} into $fresh"
  debootstrap --variant=minbase ${1:+--include="$1"} bookworm "$fresh" ${mirror:+"$mirror"} >"$log" 2>&1 || { tail "$log"; exit 1; }
  rm -f "$log"
  cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$fresh/root/certificates.crt"
  cp /etc/resolv.conf "$fresh/etc/resolv.conf"
  mount -t proc proc "$fresh/proc"
}

remove_root() {
  if mountpoint -q "$fresh/proc"; then umount "$fresh/proc"; fi
  if [[ ${keep:-no} == yes ]]; then
    echo "kept: $fresh"
  else
    rm -rf --one-file-system "$fresh"
  fi
}

in_root() {
  chroot "$fresh" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    PIP_CERT=/root/certificates.crt SSL_CERT_FILE=/root/certificates.crt "$@"
}
