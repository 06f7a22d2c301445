#!/usr/bin/env bash
# Both commands of the README as a new user would give them: as root, in a bare bookworm made by debootstrap, from a clean
# clone. Exit code 77: skipped, with the reason.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
command -v debootstrap >/dev/null || { echo "skipped: debootstrap is not installed"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skipped: making a bare Debian needs root"; exit 77; }

bare=$(mktemp -d)
cleanup() {
  umount "$bare/dev/pts" "$bare/dev" "$bare/proc" 2>/dev/null || true
  rm -rf --one-file-system "$bare"
}
trap cleanup EXIT

# The mirror that this machine itself uses.
mirror=$(sed -nE 's/^URIs: *([^ ]*debian)\/?$/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]*debian)\/? .*/\2/p' \
  /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1 || true)
mirror=${mirror:-http://deb.debian.org/debian}
debootstrap --variant=minbase bookworm "$bare" "$mirror" >"$bare.log" 2>&1 || {
  tail -5 "$bare.log"
  echo "skipped: debootstrap could not reach a mirror"
  exit 77
}
rm -f "$bare.log"
# What this machine needs to reach the mirror: resolver, proxy and certificates.
cp -L /etc/resolv.conf /etc/hosts "$bare/etc/" 2>/dev/null || true
for file in /etc/apt/apt.conf.d/*; do
  if grep -qiE 'acquire|proxy' "$file"; then cp "$file" "$bare/etc/apt/apt.conf.d/"; fi
done
mkdir -p "$bare/etc/ssl" "$bare/usr/local/share"
cp -rL /etc/ssl/certs "$bare/etc/ssl/" 2>/dev/null || true
mount -t proc proc "$bare/proc"
mount --bind /dev "$bare/dev"
mount --bind /dev/pts "$bare/dev/pts"
git clone -q "$root" "$bare/srv/cafx"

in_bare() {
  chroot "$bare" /usr/bin/env -i HOME=/srv PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} bash -c "cd /srv/cafx && $1"
}
started=$SECONDS
in_bare ./quickstart
quickstart=$((SECONDS - started))
run=$bare/srv/cafx/runs/quickstart
for file in report.html model.safetensors audio/G61-55400-output.wav audio/G71-55400-output.wav eval.json; do
  [ -s "$run/$file" ] || { echo "FAILED: quickstart left no $file"; exit 1; }
done
awk -F'[:,]' '/"dry"/ { inside = 1 } /}/ { inside = 0 } /"esr"/ && !inside { n++; print "ESR" $2; if ($2 > 0.01) bad = 1; if (n == 2) exit } END { exit bad || n < 2 }' \
  "$run/eval.json" || { echo "FAILED: an ESR is over 0.01"; exit 1; }
[ $quickstart -le 600 ] || { echo "FAILED: quickstart took $quickstart s, 600 are allowed"; exit 1; }
started=$SECONDS
in_bare ./run-tests
echo "fresh machine: quickstart $quickstart s, run-tests $((SECONDS - started)) s"
