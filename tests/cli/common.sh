# tests/cli/common.sh -- shared by the tests of the command line: $1 is the binary, $2 the project's folder.
set -u
cafx=$1 root=$2
work=$(mktemp -d) && [ -d "$work" ] || { echo "no temporary folder could be made"; exit 1; }
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
failures=0

fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

tiny_model=$(cat "$root/tests/cli/tiny_model.toml")
# The arguments of a training that takes a second.
small=(--set data.path="$root/datasets/notes" --set data.setting=2 --set data.test_notes=G61-55400,G71-55400
  $(sed -n 's/ //g; s/^\([a-z_]*=\)/--set model.\1/p' <<<"$tiny_model") --set train.hop=256 --set train.pretrain_epochs=3
  --set train.epochs=6 --set train.refine_epochs=2 --quiet)

# short_notes: `short`, the arguments of a training of the same model on four notes of 0.3 s: three steps an epoch.
short_notes() {
  local dry name wet side
  mkdir "$work/dry" "$work/wet"
  for dry in "$root"/datasets/notes/*/Samples/NoFX/G61-5*.flac; do
    name=$(basename "$dry")
    wet=$(ls "$root"/datasets/notes/*/Samples/Distortion/"${name:0:9}"-4412-*.flac | head -1)
    for side in dry wet; do sox "${!side}" "$work/$side/$name.wav" trim 0.6 0.3 2>/dev/null || fail "sox"; done
    [ "$(ls "$work/dry" | wc -l)" = 4 ] && break
  done
  short=("$work/dry" "$work/wet" "${small[@]:6}" --set train.batch=14)
}

# refuses WHAT WORDS COMMAND...: exit code 2, one line on standard error that holds WORDS, nothing else on it.
refuses() {
  local what=$1 words=$2
  shift 2
  "$@" >"$work/out" 2>"$work/err"
  local code=$?
  [ $code = 2 ] || fail "$what: exit code $code, expected 2: $(cat "$work/err")"
  [ "$(wc -l <"$work/err")" = 1 ] || fail "$what: $(wc -l <"$work/err") lines on standard error, expected 1: $(cat "$work/err")"
  grep -q -- "$words" "$work/err" || fail "$what: '$words' is not in: $(cat "$work/err")"
}

finish() {
  [ $failures = 0 ] && echo "all as expected" && exit 0
  exit 1
}
