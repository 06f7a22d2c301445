#!/usr/bin/env bash
# What shells complete, asked of bash, zsh and fish themselves where they are; the manual pages, read by man; --version. 5 s.
. "$(dirname "$0")/common.sh"
"$cafx" completion bash >"$work/bash" || fail "completion bash"
# completes WORD... : what bash offers for the last word, one a line.
completes() {
  bash -c '. "$1"; shift; compopt() { :; }; COMP_WORDS=(cafx "$@"); COMP_CWORD=$#; _cafx; printf "%s\n" "${COMPREPLY[@]}"' _ "$work/bash" "$@"
}
offers() { # WHAT EXPECTED WORD...: EXPECTED is among what is offered
  local what=$1 expected=$2
  shift 2
  completes "$@" | grep -qx -- "$expected" || fail "bash, $what: no '$expected' in: $(completes "$@" | xargs)"
}
offers "commands" train tr
offers "commands below one" status sweep st
offers "options" --json train --js
offers "options of a command below one" --launcher sweep run --l
offers "presets" paper train --preset p
offers "the preset of the recordings" auto train --preset au
offers "settings" train.epochs train --set train.ep
offers "words of an option" slurm sweep run FILE --launcher s
offers "the shells" fish completion f
offers "formats" onnx export RUN --format o
[ -z "$(completes train dry)" ] || fail "bash: files are the shell's own: $(completes train dry)"
completes train --launcher | grep -q . && fail "bash: an option of another command"
# Every command and option of --help is there.
for command in $("$cafx" --help | awk '/^Subcommands:/ { on = 1; next } on && NF { print $1 }' | grep -E '^[a-z-]+$'); do
  offers "every command" "$command" "$command"
  for option in $("$cafx" "$command" --help | grep -oE '^  (-[a-z],)?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
    offers "every option of $command" "$option" "$command" "$option"
  done
done
for shell in zsh fish; do
  "$cafx" completion $shell >"$work/$shell" || fail "completion $shell"
  command -v $shell >/dev/null || { echo "$shell is not installed: its file is only written"; continue; }
  $shell -n "$work/$shell" || fail "$shell does not take its file"
done
if command -v fish >/dev/null; then
  fish --no-config -c "source $work/fish; complete -C 'cafx sweep st'" | grep -q '^status' || fail "fish: sweep st"
  fish --no-config -c "source $work/fish; complete -C 'cafx train --preset pa'" | grep -q '^paper' || fail "fish: --preset"
fi
refuses "another shell" "bash" "$cafx" completion tcsh

"$cafx" manual "$work/man1" || fail "manual"
for page in cafx cafx-train cafx-sweep-run cafx-data-check; do [ -s "$work/man1/$page.1" ] || fail "no page $page.1"; done
if command -v man >/dev/null && command -v groff >/dev/null; then
  for page in "$work"/man1/*.1; do
    said=$(LC_ALL=C.UTF-8 MANWIDTH=200 man --warnings -l "$page" 2>&1 >"$work/page" </dev/null)
    [ -z "$said" ] || fail "man about $(basename "$page"): $said"
  done
  LC_ALL=C.UTF-8 MANWIDTH=200 man -l "$work/man1/cafx-train.1" 2>/dev/null | grep -q -- '--preset' || fail "the page of train has no --preset"
fi
grep -lE 'INT(:|\\?$)|INT in|TEXT:|:POSITIVE' "$work"/man1/*.1 && fail "a page has the parser's names of types"
grep -q 'N (0 to 1024)' "$work/man1/cafx-train.1" || fail "the page of train does not say how many threads"
grep -q '64 by default' "$work/man1/cafx-render.1" || fail "the page of render does not say how long a block is by default"
for command in "" $("$cafx" --help | awk '/^Subcommands:/ { on = 1; next } on && NF { print $1 }' | grep -E '^[a-z-]+$'); do
  "$cafx" $command --help | grep -qE "^Examples?:  cafx $command" || fail "'cafx $command --help' has no example of its own"
done
# Settings are those of the preset that stands beside --help.
"$cafx" train --preset full --help | grep -qF "Settings (of the preset 'full')" || fail "'cafx train --preset full --help' has another preset's"
"$cafx" train --preset full --help | grep -qE "^  model.frame .*\[2816;" || fail "'cafx train --preset full --help' has another preset's frame"
refuses "a folder that cannot be made" "cannot be made" "$cafx" manual /proc/none

"$cafx" --version >"$work/out"
grep -qE '^cafx [0-9]+\.[0-9]+' "$work/out" && grep -q '^commit ' "$work/out" && grep -qE '^compiler .*(GNU|Clang)' "$work/out" &&
  grep -q '^CPU kernels .*portable' "$work/out" && grep -q '^CUDA ' "$work/out" && grep -q '^ONNX export ' "$work/out" || fail "--version: $(cat "$work/out")"
if git -C "$root" rev-parse HEAD >/dev/null 2>&1; then
  grep -q "$(git -C "$root" rev-parse --short=12 HEAD)" "$work/out" || fail "--version is of another commit: $(cat "$work/out")"
fi
finish
