#!/usr/bin/env bash
# A disk that is really full (a small tmpfs) pauses a sweep in the middle of its runs; space brings it back by itself, and
# the table is that of an undisturbed sweep, byte for byte. Half a minute.
if [ "${CAFX_OWN_MOUNTS:-}" != 1 ]; then
  for how in -m -rm; do
    unshare $how true 2>/dev/null && CAFX_OWN_MOUNTS=1 exec unshare $how bash "$0" "$@"
  done
  echo "SKIPPED: a tmpfs cannot be mounted here: neither root nor user namespaces"
  exit 77
fi
. "$(dirname "$0")/sweep_common.sh"
disk=$work/disk
mkdir "$disk"
mount -t tmpfs -o size=32m none "$disk" || { echo "SKIPPED: a tmpfs cannot be mounted here"; exit 77; }
trap 'umount -l "$disk"; rm -rf "$work"' EXIT
tiny_sweep "$work/s.toml" s '[1e-3, 3e-3]' '[1]' 100 $'[sweep]\nslots = 2'
"$cafx" sweep run "$work/s.toml" --store "$work/undisturbed" --quiet --no-measure >"$work/out" 2>&1 || fail "undisturbed: $(cat "$work/out")"

export CAFX_CHECKPOINT_SECONDS=0.05
"$cafx" sweep run "$work/s.toml" --store "$disk/runs" --no-measure >"$work/out" 2>&1 &
sweep=$!
checkpoints() { find "$disk/runs" -path '*default-*' -name checkpoint.safetensors 2>/dev/null | wc -l; }
for _ in $(seq 300); do [ "$(checkpoints)" -ge 2 ] && break; sleep 0.05; done
[ "$(checkpoints)" -ge 2 ] || fail "no two runs at once: $(cat "$work/out")"
dd if=/dev/zero of="$disk/filler" bs=64k 2>/dev/null
dd if=/dev/zero of="$disk/filler2" bs=1 2>/dev/null
for _ in $(seq 200); do grep -q "the disk is full: the sweep is paused" "$work/out" && break; sleep 0.1; done
grep -q "the disk is full: the sweep is paused" "$work/out" || fail "a full disk is not told: $(cat "$work/out")"
[ "$(grep -c "paused" "$work/out")" = 1 ] || fail "told once: $(cat "$work/out")"
for _ in $(seq 50); do [ -z "$(pgrep -P $sweep)" ] && break; sleep 0.1; done
[ -z "$(pgrep -P $sweep)" ] || fail "workers go on although the disk is full"
sleep 2
kill -0 $sweep 2>/dev/null || fail "the sweep did not survive: $(cat "$work/out")"
[ "$(cat "$disk"/runs/default-*/outcome.json 2>/dev/null | grep -c failed)" = 0 ] || fail "a full disk counts as a failure of the run"
rm "$disk/filler" "$disk/filler2"
wait $sweep || fail "the sweep after the disk was full: $(cat "$work/out")"
grep -q "space on the disk again" "$work/out" || fail "that it goes on is told: $(cat "$work/out")"
cmp "$work/undisturbed/s.sweep/results.csv" "$disk/runs/s.sweep/results.csv" || fail "the table differs from the undisturbed sweep's"
for run in "$work"/undisturbed/default-*; do
  for file in result.json metrics.csv eval.json outcome.json; do
    cmp "$run/$file" "$disk/runs/$(basename "$run")/$file" || fail "$(basename "$run")/$file differs"
  done
done
[ -z "$(find "$disk/runs" -name '*.partial*')" ] || fail "pieces of files are left: $(find "$disk/runs" -name '*.partial*')"
finish
