# tests/bare.sh -- bare Debian systems made by debootstrap, for the tests of what a new user does. Sourced.
#
#   prepare_bare RELEASE    makes the system once, as a tar file
#   open_bare               unpacks it anew into $bare: nothing of an earlier trial is left in it
#   in_bare COMMAND         runs it there as root, in the folder /srv/cafx where there is one, without this shell's environment
#   as_user COMMAND         the same as a user without root, in a home of their own
#   skip WHY                exit code 77
skip() {
  echo "skipped: $*"
  exit 77
}
command -v debootstrap >/dev/null || skip "debootstrap is not installed"
[ "$(id -u)" = 0 ] || skip "making a bare Debian needs root"
bare_work=$(mktemp -d)
bare=$bare_work/root

close_bare() {
  local place
  for place in dev/pts dev proc; do umount "$bare/$place" 2>/dev/null || true; done
  rm -rf --one-file-system "$bare"
}
trap 'close_bare; rm -rf --one-file-system "$bare_work"' EXIT

# What the system inside needs to reach the mirror and the Python registry as this machine does: resolver, proxy, certificates.
let_out() {
  local file
  cp -L /etc/resolv.conf /etc/hosts "$bare/etc/" 2>/dev/null || true
  for file in /etc/apt/apt.conf.d/*; do
    if dpkg -S "$file" >/dev/null 2>&1; then continue; fi  # the same package may be installed inside, and would ask
    if grep -qiE 'acquire|proxy' "$file"; then cp "$file" "$bare/etc/apt/apt.conf.d/"; fi
  done
  mkdir -p "$bare/etc/ssl" "$bare/usr/local/share"
  cp -rL /etc/ssl/certs "$bare/etc/ssl/" 2>/dev/null || true
  # Under a name of its own: the package ca-certificates writes the other anew.
  cp -L "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$bare/usr/local/share/registry.crt" 2>/dev/null || true
  if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$bare/etc/"; fi
}

prepare_bare() {
  local mirror
  bare_tar=${CAFX_BARE_TARS:-$bare_work}/$1.tar
  [ ! -s "$bare_tar" ] || return 0
  # The mirror that this machine itself uses.
  mirror=$(sed -nE 's/^URIs: *([^ ]*debian)\/?$/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]*debian)\/? .*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1 || true)
  debootstrap --variant=minbase "$1" "$bare_work/$1" "${mirror:-http://deb.debian.org/debian}" >"$bare_work/log" 2>&1 || {
    tail -5 "$bare_work/log"
    skip "debootstrap could not make $1"
  }
  tar -C "$bare_work/$1" -cf "$bare_tar" .
  rm -rf --one-file-system "${bare_work:?}/$1"
}

open_bare() {
  close_bare
  mkdir -p "$bare"
  tar -C "$bare" -xf "$bare_tar"
  let_out
  mount -t proc proc "$bare/proc"
  mount --bind /dev "$bare/dev"
  mount --bind /dev/pts "$bare/dev/pts"
  chroot "$bare" useradd -m player 2>/dev/null || true
}

bare_shell() {
  local home=$1 user=$2
  chroot ${user:+--userspec=$user} "$bare" /usr/bin/env -i HOME="$home" PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    PIP_CERT=/usr/local/share/registry.crt ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} \
    ${CAFX_IN_BARE:-} bash -c "$3"
}
in_bare() { bare_shell /root "" "set -e; if [ -d /srv/cafx ]; then cd /srv/cafx; fi; $1"; }
as_user() { bare_shell /home/player player:player "set -e; cd; $1"; }
