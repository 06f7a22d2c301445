#!/usr/bin/env bash
# The images of packaging/, built and started by Docker and Apptainer, where these are and can build. Exit code 77: neither is.
set -euo pipefail
cd "$(dirname "$0")/.."
tried=0
if docker info >/dev/null 2>&1; then
  docker build -q -f packaging/Dockerfile -t cafx:test .
  docker run --rm cafx:test --version
  docker run --rm cafx:test doctor
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
  echo "skipped: neither a Docker that answers nor Apptainer is here; the files were only read"
  exit 77
}
