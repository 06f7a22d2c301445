# tests/cli/common.sh -- shared by the tests of the command line: $1 is the binary, $2 the project's folder.
set -u
cafx=$1 root=$2
work=$(mktemp -d)
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
failures=0

fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# A model small enough to train in a second.
small=(--set data.path="$root/datasets/notes" --set data.setting=2 --set data.test_notes=G61-55400,G71-55400
  --set model.frame=256 --set model.hop=128 --set model.filters=8 --set model.taps=16 --set model.local_taps=32
  --set model.latent=16 --set model.dnn=[8,8,8] --set train.hop=256 --set train.pretrain_epochs=3 --set train.epochs=6
  --set train.refine_epochs=2 --quiet)

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
