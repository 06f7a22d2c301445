#!/usr/bin/env bash
# What a new user does, as a new user does it: in a bare Debian made by debootstrap, from a clean clone.
#
#   tests/fresh.sh [RELEASE] [WAY...]     RELEASE  bookworm (default) or trixie
#     source      both commands of the README, as root                                                  (the default)
#     quickstart, tests        one of them alone
#     compilers   every file with every clang of the release, or with CLANG_VERSIONS, without a warning
#     refusals    what they say without root, where a name is missing, and while another apt is at work
#     wheel       build/wheels/cafx_audio-*.whl, as a user without root or compiler: the program, then the tests of the module
#     cuda        build/wheels/cafx_audio_cuN-*.whl, each the same: without NVIDIA's libraries, then with them, 2 GB to load for each
#     folder      build/packages/*.tar.zst, as a user without root, on a system without one package more
#     deb         build/packages/*+debN_amd64.deb, as root: installed, used, removed without a trace; built there first where
#                 there are none for the release
#     The last four take what scripts/wheel.sh and the presets dist and deb have made.
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

# Processor seconds beside those of the clock: the first tell of the work where a machine has other work too.
timed='TIMEFORMAT="processor seconds: %U + %S"; time'

no_warnings() {
  if grep -q 'warning:' "$bare_work/log"; then failed "the compiler warns: $(grep -m 3 'warning:' "$bare_work/log")"; fi
}

run_quickstart() {
  local started=$SECONDS took file run=$bare/srv/cafx/runs/quickstart
  in_bare "$timed ./quickstart" 2>&1 | tee "$bare_work/log"
  took=$((SECONDS - started))
  for file in report.html model.safetensors model.onnx audio/G61-55400-output.wav audio/G71-55400-output.wav eval.json; do
    [ -s "$run/$file" ] || failed "quickstart left no $file"
  done
  awk -F'[:,]' '/"dry"/ { inside = 1 } /}/ { inside = 0 }
                /"esr"/ && !inside { n++; print "ESR" $2; if ($2 > 0.01) bad = 1; if (n == 2) exit } END { exit bad || n < 2 }' \
    "$run/eval.json" || failed "an ESR is over 0.01"
  [ $took -le "${CAFX_QUICKSTART_SECONDS:-600}" ] || failed "quickstart took $took s, ${CAFX_QUICKSTART_SECONDS:-600} are allowed"
  no_warnings
  echo "$release, quickstart: $took s"
}

run_tests() {
  local started=$SECONDS
  in_bare "$timed ./run-tests" 2>&1 | tee "$bare_work/log"
  no_warnings
  echo "$release, run-tests: $((SECONDS - started)) s"
}

try_source() {
  with_clone
  run_quickstart
  run_tests
}

try_quickstart() {
  with_clone
  run_quickstart
}

try_tests() {
  with_clone
  run_tests
}

try_compilers() {
  local names=python3 version
  with_clone
  in_bare 'apt-get update -qq'
  for version in ${CLANG_VERSIONS:-$(seq 14 25)}; do
    if [[ $(in_bare "apt-cache policy clang-$version") == *"Candidate: "[0-9]* ]]; then names+=" clang-$version"; fi
  done
  in_bare ". scripts/packages.sh && install_packages \$build_packages \$test_packages $names && cmake --preset cpu >/dev/null &&
    cmake --build --preset cpu --target cafx_commit >/dev/null && CLANG_VERSIONS='${CLANG_VERSIONS:-}' tests/compilers.sh"
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
  # A sudo that this user may not use.
  printf '#!/bin/sh\necho "player is not in the sudoers file" >&2\nexit 1\n' >"$bare/usr/local/bin/sudo"
  chmod +x "$bare/usr/local/bin/sudo"
  said=$(as_user 'cd /srv/cafx && ./quickstart' 2>&1) && failed "quickstart with a sudo that refuses went on"
  rm "$bare/usr/local/bin/sudo"
  says "$said" "not in the sudoers file" "cafx_audio-*.whl"
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

# the_only PATTERN: the file that it names; 77 where there is none.
the_only() {
  local files=($1)
  [ -e "${files[0]}" ] || skip "there is no $1; make it first"
  [ ${#files[@]} = 1 ] || failed "more than one $1"
  echo "${files[0]}"
}

# A training of a second, a rendering and an export, by the command given, as a user.
use_cafx() {
  mkdir -p "$bare/srv/material"
  cp -r "$root/datasets/notes" "$root/tests/cli/tiny_model.toml" "$bare/srv/material/"
  chmod -R a+rX "$bare/srv/material"
  as_user "$1 --version && $1 doctor && rm -rf run && $1 train /srv/material/notes --config /srv/material/tiny_model.toml \\
    --set data.effect=Distortion --set data.setting=2 --set data.test_notes=G61-55400 --set train.pretrain_epochs=1 --set train.epochs=1 \\
    --set train.refine_epochs=0 --out run --quiet >/dev/null &&
    $1 render run /srv/material/notes/Git*/Samples/NoFX/G61-55400-*.flac out.flac --quiet >/dev/null && test -s out.flac &&
    $1 export run -o m.onnx && test -s m.onnx && $1 report run -o page.html && test -s page.html &&
    $1 train /srv/material/notes --config /srv/material/tiny_model.toml --set data.chain='overdrive 30 0' --set train.pretrain_epochs=1 \\
    --set train.epochs=1 --set train.refine_epochs=0 --out chain --quiet >/dev/null"
}

# use_wheel FILE MEGABYTES: as a user, its program and the tests of its module; it is left installed in env.
use_wheel() {
  local size
  size=$(stat -c %s "$1")
  [ "$size" -lt $(($2 * 1000000)) ] || failed "the wheel has $size bytes, $2 MB are allowed"
  open_bare
  in_bare 'apt-get update -qq && apt-get install -qq -y --no-install-recommends python3 python3-venv >/dev/null'
  in_bare '! command -v cc && ! command -v g++'
  mkdir -p "$bare/srv/material"
  cp "$1" "$bare/srv/material/"
  cp -r "$root/python/tests" "$bare/srv/material/"
  chmod -R a+rX "$bare/srv/material"
  as_user "python3 -m venv env && env/bin/pip install -q pytest /srv/material/$(basename "$1")"
  use_cafx env/bin/cafx
  as_user 'cp -r /srv/material/tests . && env/bin/python -m pytest -q tests'
}

without_wheel() {
  as_user "env/bin/pip uninstall -q -y $1 && ! test -e env/bin/cafx && ! ls -d env/lib/python3*/site-packages/cafx* 2>/dev/null"
}

try_wheel() {
  local wheel
  wheel=$(the_only "$root/build/wheels/cafx_audio-*.whl")
  use_wheel "$wheel" 20
  without_wheel cafx-audio
  echo "$release, wheel: $(basename "$wheel")"
}

try_cuda() {
  local wheels=("$root"/build/wheels/cafx_audio_cu*.whl) wheel name major said library
  [ -e "${wheels[0]}" ] || skip "there is no wheel with CUDA; make it first"
  for wheel in "${wheels[@]}"; do
    name=$(basename "$wheel")
    major=${name#cafx_audio_cu}
    major=${major%%-*}
    use_wheel "$wheel" 100
    said=$(as_user 'env/bin/cafx doctor')
    says "$said" "It was built with CUDA $major." "cuBLAS $major cannot be loaded" "pip install nvidia-cudnn-cu$major" "computes on the CPU"
    as_user "env/bin/pip install -q --no-cache-dir '/srv/material/$name[nvidia]'"
    said=$(as_user 'env/bin/cafx doctor')
    echo "$said"
    for library in cublas.so.$major cudnn.so.9 nccl.so.2; do
      grep -q "It has loaded .*/site-packages/nvidia/.*/lib$library" <<<"$said" || failed "the wheel of lib$library is not taken"
    done
    says "$said" "computes on the CPU"
    without_wheel "cafx-audio-cu$major"
    echo "$release, cuda: $name, $(($(stat -c %s "$wheel") / 1000000)) MB"
  done
}

try_folder() {
  local archive name
  archive=$(the_only "$root/build/packages/cafx-*-linux-*.tar.zst")
  name=$(basename "$archive" .tar.zst)
  open_bare
  # Unpacked outside: a bare Debian has no zstd.
  tar -C "$bare/home/player" -xf "$archive"
  use_cafx "$name/bin/cafx"
  as_user "test -s $name/licences/LGPL-2.1.txt && grep -q LGPL $name/licences/libsox3*.txt" || failed "no licences of the libraries in the folder"
  as_user "mv $name moved && mkdir lib && moved/bin/cafx --version >/dev/null && test -s moved/share/man/man1/cafx.1"
  echo "$release, folder: $name"
}

# Completion and manual pages where the packages put them, asked of the shells as a user has them.
try_shells() {
  in_bare 'apt-get install -qq -y --no-install-recommends bash-completion zsh fish groff >/dev/null'
  as_user 'bash -c "source /usr/share/bash-completion/bash_completion; _completion_loader cafx; COMP_WORDS=(cafx tr); COMP_CWORD=1; _cafx
    printf \"%s\n\" \"\${COMPREPLY[@]}\"" | grep -qx train' || failed "bash completes no 'cafx tr'"
  as_user 'fish -c "complete -C \"cafx train --preset pa\"" | grep -q "^paper"' || failed "fish completes no preset"
  as_user 'zsh -fc "autoload -U compinit; compinit -u; print \$_comps[cafx]; autoload +X _cafx" | grep -qx _cafx' || failed "zsh knows no completion of cafx"
  as_user 'man -w cafx-train >/dev/null && man cafx | col -b | grep -q "^NAME"' || failed "man has no page of cafx"
}

# The packages of the release, built in a bare one.
build_deb() {
  with_clone
  in_bare ". scripts/packages.sh && install_packages \$build_packages lv2-dev file dpkg-dev && cmake --preset deb >/dev/null &&
    cmake --build --preset deb -j $(nproc) --target package" >"$bare_work/log" 2>&1 || failed "deb: $(tail -20 "$bare_work/log")"
  mkdir -p "$root/build/packages"
  cp "$bare"/srv/cafx/build/packages/*.deb "$root/build/packages/"
}

try_deb() {
  local file number
  number=$(tar -xOf "$bare_tar" ./etc/debian_version | cut -d. -f1)
  [ -n "$(compgen -G "$root/build/packages/cafx_*+deb${number}_amd64.deb")" ] || build_deb
  file=$(the_only "$root/build/packages/cafx_*+deb${number}_amd64.deb")
  open_bare
  cp "$root"/build/packages/*+deb"${number}"_*.deb "$bare/srv/"
  in_bare 'apt-get update -qq && apt-get install -qq -y --no-install-recommends lintian man-db g++ pkg-config lilv-utils >/dev/null'
  in_bare 'lintian --fail-on error /srv/*.deb' || failed "lintian"
  in_bare 'apt-get install -qq -y --no-install-recommends /srv/*.deb >/dev/null'
  use_cafx cafx
  try_shells
  in_bare 'lv2ls | grep -q cafx'
  cp "$root/rt/examples/play.c" "$bare/srv/"
  in_bare 'cc -std=c99 /srv/play.c $(pkg-config --cflags --libs cafx-rt) -o /tmp/play && /tmp/play /nowhere 16000 </dev/null 2>&1 | grep "no such file"'
  in_bare 'apt-get purge -qq -y cafx cafx-lv2 libcafx-rt1 libcafx-rt-dev >/dev/null && ! find /usr -name "*cafx*" | grep .'
  echo "$release, deb: $(basename "$file")"
}

for way in "${ways[@]}"; do
  declare -F "try_$way" >/dev/null || { echo "tests/fresh.sh: no way '$way'" >&2; exit 2; }
  "try_$way"
done
