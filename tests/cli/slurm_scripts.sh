#!/usr/bin/env bash
# The exact scripts that `cafx sweep run --launcher slurm` submits, without Slurm: --dry-run prints them. Two seconds.
. "$(dirname "$0")/sweep_common.sh"
# No cluster: where this machine has one, its queue is not asked.
mkdir "$work/bin"
for program in squeue sbatch scontrol scancel; do
  printf '#!/bin/sh\necho "$0 $*" >>"%s/calls"\nexit 1\n' "$work" >"$work/bin/$program"
  chmod +x "$work/bin/$program"
done
PATH=$work/bin:$PATH
# dry FILE [OPTION...]: the scripts; hashes of the submission and of the binary as SUBMISSION and BINARY.
dry() {
  "$cafx" sweep run "$1" --store "$work/runs" --launcher slurm --dry-run "${@:2}" >"$work/raw" 2>"$work/err" || fail "dry run: $(cat "$work/err")"
  sed -E "s|$work|WORK|g; s|(\.sweep/slurm)/[0-9a-f]{16}|\1/SUBMISSION|g; s|(\.pinned)/[0-9a-f]{16}/|\1/BINARY/|g" "$work/raw" >"$work/scripts"
}

tiny_sweep "$work/p.toml" p '[1e-3, 3e-3]' '[1, 2]' 4 '[slurm]
account = "audio"
partition = "gpu"
qos = "normal"
time = "1-12:30:00"
memory = "8G"
gres = "gpu:1"
pretrain_gres = "gpu:4"
cpus = 4
parallel = 3
setup = ["module load cuda", "export OMP_PROC_BIND=true"]
options = ["--exclude=node7"]'
dry "$work/p.toml" --device cuda
cat >"$work/expected" <<'END'
# pretrain.sh, submitted with: sbatch --parsable WORK/runs/p.sweep/slurm/SUBMISSION/pretrain.sh
#!/bin/bash
#SBATCH --job-name=p.pretrain
#SBATCH --comment='WORK/runs/p.sweep/slurm/SUBMISSION/pretrain.list'
#SBATCH --output='WORK/runs/p.sweep/slurm/SUBMISSION/logs/pretrain-%A_%a.txt'
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --account=audio
#SBATCH --partition=gpu
#SBATCH --qos=normal
#SBATCH --signal=B:USR1@120
#SBATCH --time=1-12:30:00
#SBATCH --mem=8G
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=4
#SBATCH --exclude=node7
#SBATCH --array=0-1%3
module load cuda
export OMP_PROC_BIND=true
exec 'WORK/runs/.pinned/BINARY/cafx' sweep slurm-task 'WORK/runs/p.sweep/slurm/SUBMISSION/pretrain.list' --device 'cuda'

END
# train NUMBER: four runs that wait for that pretraining, in two tasks: of the eight runs each of three tasks at work takes up to three.
train() {
  sed -e "s|pretrain|train.$1|g; s|gpu:4|gpu:1|" \
    -e "1s|--parsable|--parsable --dependency=afterok:<job of pretrain.sh>_$1|" <(sed -n '1,21p' "$work/expected")
  echo
}
{ train 0; train 1; } >"$work/trains"
cat "$work/trains" >>"$work/expected"
cat >>"$work/expected" <<'END'
# report.sh, submitted with: sbatch --parsable --dependency=afterany:<all of these> WORK/runs/p.sweep/slurm/SUBMISSION/report.sh
#!/bin/bash
#SBATCH --job-name=p.report
#SBATCH --comment='WORK/runs/p.sweep/slurm/SUBMISSION/report.list'
#SBATCH --output='WORK/runs/p.sweep/slurm/SUBMISSION/logs/report-%j.txt'
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --account=audio
#SBATCH --partition=gpu
#SBATCH --qos=normal
#SBATCH --time=10
#SBATCH --exclude=node7
module load cuda
export OMP_PROC_BIND=true
exec 'WORK/runs/.pinned/BINARY/cafx' sweep report 'WORK/runs/p.sweep'

END
diff "$work/expected" "$work/scripts" || fail "the scripts differ from what is expected"

# In a container the shell stays: it hands signals on, and puts the job back where cafx says so.
tiny_sweep "$work/c.toml" c '[1e-3]' '[1]' 4 $'[slurm]\ncontainer = "apptainer exec --nv cafx.sif"'
dry "$work/c.toml"
cat >"$work/expected" <<'END'
apptainer exec --nv cafx.sif cafx sweep slurm-task 'WORK/runs/c.sweep/slurm/SUBMISSION/pretrain.list' &
task=$!
trap 'again=1; kill -USR1 $task' USR1
trap 'again=1; kill -TERM $task' TERM
again=1
while [ -n "$again" ]; do again=; wait $task; code=$?; done  # a signal ends the waiting, not the run
[ $code != 85 ] || scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
exit $code
END
sed -n '/^apptainer.*pretrain/,/^exit/p' "$work/scripts" | diff "$work/expected" - || fail "the script of a container"
grep -q '\.pinned' "$work/scripts" && fail "a container's script names a copied binary"
sed -i 's|cafx.sif|two\\nlines|' "$work/c.toml"
refuses "a container in two lines" "slurm.container" "$cafx" sweep run "$work/c.toml" --store "$work/runs" --launcher slurm --dry-run
[ ! -e "$work/runs/p.sweep" ] && [ ! -e "$work/runs/.pinned" ] || fail "a dry run writes: $(find "$work/runs")"
! grep -q sbatch "$work/calls" 2>/dev/null || fail "a dry run submits: $(cat "$work/calls")"

# Pinned by content: the same sweep gives the same names, another config or binary another.
dry "$work/p.toml" --device cuda
cp "$work/raw" "$work/first"
dry "$work/p.toml" --device cuda
cmp "$work/first" "$work/raw" || fail "the same submission has another name"
folder() { grep -o "slurm/[0-9a-f]\{16\}" "$1" | head -1; }
sed -i 's/^memory.*/memory = "9G"/' "$work/p.toml"
dry "$work/p.toml" --device cuda
[ "$(folder "$work/first")" != "$(folder "$work/raw")" ] || fail "another config has the name of the first"
(cat "$cafx"; echo) >"$work/other"
chmod +x "$work/other"
"$work/other" sweep run "$work/p.toml" --store "$work/runs" --launcher slurm --dry-run --device cuda >"$work/second"
[ "$(grep -o 'pinned/[0-9a-f]*' "$work/raw" | head -1)" != "$(grep -o 'pinned/[0-9a-f]*' "$work/second" | head -1)" ] ||
  fail "another binary has the name of the first"

# Words with a quote and a space survive; nothing asked for, nothing said.
mkdir "$work/it's here"
tiny_sweep "$work/q.toml" q '[1e-3]' '[1]' 4
"$cafx" sweep run "$work/q.toml" --store "$work/it's here" --launcher slurm --dry-run >"$work/raw" || fail "a quote in a path"
! grep -q -e '--account\|--partition\|--qos\|--mem\|--gres\|--cpus' "$work/raw" || fail "options nobody asked for: $(cat "$work/raw")"
line=$(grep '^exec' "$work/raw" | head -1)
words=$(eval "set -- ${line#exec}"; printf '%s\n' "$1" "$4")
[ "$(grep -c "^$work/it's here/" <<<"$words")" = 2 ] || fail "a quote in a path: $line"

# A % stands for itself where Slurm puts numbers in, and nowhere else.
mkdir "$work/100%A"
"$cafx" sweep run "$work/q.toml" --store "$work/100%A" --launcher slurm --dry-run >"$work/raw" || fail "a % in a path"
[ "$(grep -c -- "--output='$work/100%%A/q.sweep/slurm/[0-9a-f]*/logs/[a-z.0-9]*-%[Aj]" "$work/raw")" = "$(grep -c -- --output "$work/raw")" ] ||
  fail "a % in a path: $(grep -- --output "$work/raw")"
grep -q -- "--comment='$work/100%A/" "$work/raw" || fail "a % outside of patterns: $(grep -- --comment "$work/raw")"
mkdir "$work/a\\b"
refuses "a backslash in a path" "backslash" "$cafx" sweep run "$work/q.toml" --store "$work/a\\b" --launcher slurm --dry-run

# What cannot work is refused before anything is submitted.
bad() {  # bad WHAT WORDS TABLE
  tiny_sweep "$work/bad.toml" bad '[1e-3]' '[1]' 4 "$3"
  refuses "$1" "$2" "$cafx" sweep run "$work/bad.toml" --store "$work/runs" --launcher slurm --dry-run
}
bad "pruning" "does not go with --launcher slurm" $'[sweep]\nprune = "asha"'
bad "a sampler that needs results" "does not go with --launcher slurm" $'[sweep]\nsampling = "tpe"\nbudget = 3'
bad "a GPU by number" "slurm.gres" $'[sweep]\ndevice = "cuda:1"'
bad "a time that is none" "expected minutes, H:M:S or D-H:M:S" $'[slurm]\ntime = "1h"'
bad "no time before the signal" "leaves no time to train" $'[slurm]\ntime = "0:03:00"'
bad "an unknown key" "did you mean 'slurm.partition'" $'[slurm]\npartitions = "gpu"'
bad "a space in an option" "holds a space" $'[slurm]\nqos = "a b"'
bad "no option" "expected options such as" $'[slurm]\noptions = ["exclusive"]'
tiny_sweep "$work/q.toml" q '[1e-3]' '[1]' 4
refuses "--dry-run alone" "goes with --launcher slurm" "$cafx" sweep run "$work/q.toml" --store "$work/runs" --dry-run
refuses "submission without a controller" "squeue failed" "$cafx" sweep run "$work/q.toml" --store "$work/runs" --launcher slurm
[ ! -e "$work/runs/q.sweep/slurm" ] || fail "a refused submission leaves scripts"
refuses "a task outside of Slurm" "is started by Slurm" "$cafx" sweep slurm-task "$work/none.list"
finish
