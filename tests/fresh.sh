#!/usr/bin/env bash
# What a new user does, as a new user does it: in a bare Debian made by debootstrap, from a clean clone.
#
#   tests/fresh.sh [RELEASE] [WAY...]     RELEASE  bookworm (default) or trixie
#     source      both commands of the README, as root                                                  (the default)
#     compilers   every file with every clang of the release, without a warning
#     refusals    what they say without root, where a name is missing, and while another apt is at work
#
# Exit code 77: skipped, with the reason. CAFX_BARE_TARS=FOLDER keeps the bare systems there for the next time.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
release=${1:-bookworm}
shift || true
ways=("${@:-source}")
. "$root/tests/bare.sh"
prepare_bare "$release"
failed() {
  echo "FAILED: $*"
  exit 1
}

with_clone() {
  open_bare
  git clone -q "$root" "$bare/srv/cafx"
}

try_source() {
  local started=$SECONDS took file run=$bare/srv/cafx/runs/quickstart
  with_clone
  in_bare ./quickstart 2>&1 | tee "$bare_work/log"
  took=$((SECONDS - started))
  for file in report.html model.safetensors model.onnx audio/G61-55400-output.wav audio/G71-55400-output.wav eval.json; do
    [ -s "$run/$file" ] || failed "quickstart left no $file"
  done
  awk -F'[:,]' '/"dry"/ { inside = 1 } /}/ { inside = 0 }
                /"esr"/ && !inside { n++; print "ESR" $2; if ($2 > 0.01) bad = 1; if (n == 2) exit } END { exit bad || n < 2 }' \
    "$run/eval.json" || failed "an ESR is over 0.01"
  [ $took -le "${CAFX_QUICKSTART_SECONDS:-600}" ] || failed "quickstart took $took s, ${CAFX_QUICKSTART_SECONDS:-600} are allowed"
  started=$SECONDS
  in_bare ./run-tests 2>&1 | tee -a "$bare_work/log"
  if grep -q 'warning:' "$bare_work/log"; then failed "the compiler warns: $(grep -m 3 'warning:' "$bare_work/log")"; fi
  echo "$release, source: quickstart $took s, run-tests $((SECONDS - started)) s"
}

try_compilers() {
  local names=python3 version
  with_clone
  in_bare 'apt-get update -qq'
  for version in $(seq 14 25); do
    if in_bare "apt-cache policy clang-$version" | grep -q 'Candidate: [0-9]'; then names+=" clang-$version"; fi
  done
  in_bare ". scripts/packages.sh && install_packages \$build_packages \$test_packages $names && cmake --preset cpu >/dev/null &&
    tests/compilers.sh"
}

# Words that a command of the README must say where it cannot go on.
says() {
  local said=$1 word
  shift
  for word in "$@"; do grep -qF -- "$word" <<<"$said" || failed "not said: '$word'; said: $said"; done
}

try_refusals() {
  local said
  with_clone
  chmod -R a+rX "$bare/srv/cafx"
  said=$(as_user 'cd /srv/cafx && ./quickstart' 2>&1) && failed "quickstart without root went on"
  says "$said" "only root may install" "libsoxr-dev" "cafx_audio-*.whl"
  # A package that this release has not.
  sed -i 's/libsoxr-dev/libsoxr-of-another-time-dev/' "$bare/srv/cafx/scripts/packages.sh"
  said=$(in_bare ./quickstart 2>&1) && failed "quickstart went on without a package"
  says "$said" "have no libsoxr-of-another-time-dev" "cafx_audio-*.whl"
  # Another apt holds both locks for a while.
  in_bare 'git -c safe.directory=/srv/cafx checkout -q scripts/packages.sh' 2>/dev/null ||
    cp "$root/scripts/packages.sh" "$bare/srv/cafx/scripts/packages.sh"
  python3 - "$bare" <<'PY' &
import fcntl, sys, time
held = [open(f"{sys.argv[1]}/var/lib/{name}", "w") for name in ("apt/lists/lock", "dpkg/lock-frontend")]
for file in held:
    fcntl.lockf(file, fcntl.LOCK_EX)
time.sleep(15)
PY
  local holder=$! started=$SECONDS
  sleep 2
  said=$(in_bare '. scripts/packages.sh && install_packages xz-utils && xz --version' 2>&1) || failed "a held lock: $said"
  wait $holder
  says "$said" "another apt is at work" "liblzma"
  [ $((SECONDS - started)) -ge 13 ] || failed "the lock was not waited for"
  echo "$release, refusals: said as they should"
}

for way in "${ways[@]}"; do
  declare -F "try_$way" >/dev/null || { echo "tests/fresh.sh: no way '$way'" >&2; exit 2; }
  "try_$way"
done
