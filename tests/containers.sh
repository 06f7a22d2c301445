#!/usr/bin/env bash
# The images of packaging/, built and started by Docker or buildah and by Apptainer, where these are and can build. Exit code 77:
# none is. buildah needs no registry: Debian is then what debootstrap makes.
set -euo pipefail
cd "$(dirname "$0")/.."
tried=0

# The Dockerfile by buildah, in a storage of its own that is removed afterwards, on a bare Debian in place of the named one.
with_buildah() (
  . tests/bare.sh
  prepare_bare bookworm
  open_bare
  chroot "$bare" userdel -r player 2>/dev/null
  umount "$bare/dev/pts" "$bare/dev" "$bare/proc"
  tar -C "$bare" -cf "$bare_work/base.tar" .
  by_buildah() { buildah --root "$bare_work/storage" --runroot "$bare_work/run" --storage-driver vfs "$@"; }
  local scratch made
  scratch=$(by_buildah from scratch)
  by_buildah add -q "$scratch" "$bare_work/base.tar" / >/dev/null
  by_buildah commit -q "$scratch" localhost/bare:bookworm >/dev/null
  by_buildah rm "$scratch" >/dev/null
  git clone -q . "$bare_work/src"
  by_buildah bud --isolation chroot --pull=never --build-arg BUILD=localhost/bare:bookworm --build-arg RUN=localhost/bare:bookworm \
    --build-arg COMMIT="$(git rev-parse --short HEAD)" -f packaging/Dockerfile -t localhost/cafx:test "$bare_work/src"
  made=$(by_buildah from --pull=never localhost/cafx:test)
  by_buildah run --isolation chroot "$made" -- cafx --version | grep "$(git rev-parse --short HEAD)"
  by_buildah run --isolation chroot "$made" -- cafx doctor
  [ "$(by_buildah run --isolation chroot "$made" -- id -un)" = player ] || { echo "FAILED: the image runs as root"; exit 1; }
  [ "$(by_buildah inspect --type image --format '{{.OCIv1.Config.Entrypoint}}' localhost/cafx:test)" = "[cafx]" ] ||
    { echo "FAILED: the image does not start cafx"; exit 1; }
)
if docker info >/dev/null 2>&1; then
  docker build -q -f packaging/Dockerfile -t cafx:test .
  docker run --rm cafx:test --version
  docker run --rm cafx:test doctor
  tried=1
elif command -v buildah >/dev/null && command -v debootstrap >/dev/null && [ "$(id -u)" = 0 ]; then
  with_buildah
  tried=1
fi
if command -v apptainer >/dev/null; then
  apptainer build --force build/cafx.sif packaging/cafx.def
  apptainer exec build/cafx.sif cafx doctor
  apptainer test build/cafx.sif
  tried=1
fi
[ $tried = 1 ] || {
  # As far as it goes without them: the commands of both files are the preset's own, and every name in them exists.
  for file in packaging/Dockerfile packaging/cafx.def; do
    for preset in $(grep -oE -- '--preset [a-z-]+' $file | cut -d' ' -f2); do
      cmake --list-presets | grep -q "\"$preset\"" || { echo "FAILED: $file: no preset $preset"; exit 1; }
    done
    bash -n <(sed -n 's/^RUN //p; s/^ && /true \&\& /p' $file)
  done
  # %post as Apptainer runs it: by sh, to its end, with a cmake that only says what it was asked for.
  stubs=$(mktemp -d)
  trap 'rm -r "$stubs"' EXIT
  printf '#!/bin/sh\necho "cmake $*"\n' >"$stubs/cmake"
  chmod +x "$stubs/cmake"
  post=$(sed -n '/^%post/,/^Bootstrap:/{//!p}' packaging/cafx.def | sed "s|/src|$PWD|; s|{{ CUDA }}|OFF|")
  said=$(PATH=$stubs:$PATH sh -ec "$post" 2>&1) && [ "$(grep -c '^cmake ' <<<"$said")" = 3 ] ||
    { echo "FAILED: packaging/cafx.def: $said"; exit 1; }
  echo "skipped: none of a Docker that answers, buildah with debootstrap, and Apptainer is here; the files were only read"
  exit 77
}
