#!/usr/bin/env bash
# A sweep on a Slurm cluster of this machine's own: a real munged, slurmctld and three slurmd, without cgroups. Runs are
# warned by USR1, preempted by a partition of higher rank, lose their process and lose their node; the table is that of
# the same sweep without Slurm, byte for byte. Two minutes.
. "$(dirname "$0")/sweep_common.sh"
for program in munged slurmctld slurmd sbatch; do
  command -v $program >/dev/null || PATH=$PATH:/usr/sbin
  command -v $program >/dev/null || { echo "SKIPPED: $program is not installed (Debian: slurm-wlm, munge)"; exit 77; }
done

# The cluster. Ports follow from the process id, so that two can stand side by side.
port=$((20000 + $$ % 4000 * 10)) me=$(id -un) c=$work/cluster
export SLURM_CONF=$c/slurm.conf
store=$work/100%j-%A  # Slurm's own patterns, in a folder's name
mkdir -p "$c/state" "$c/log" "$c/munge" "$c/spool/n1" "$c/spool/n2" "$c/spool/n3"
chmod 700 "$c/munge"
chmod 755 "$work" "$c"
head -c 1024 /dev/urandom >"$c/munge/key"
chmod 400 "$c/munge/key"
cat >"$SLURM_CONF" <<END
ClusterName=cafx
SlurmctldHost=localhost
SlurmctldPort=$port
SlurmUser=$me
SlurmdUser=$me
AuthType=auth/munge
AuthInfo=socket=$c/munge/socket,cred_expire=10
StateSaveLocation=$c/state
SlurmctldPidFile=$c/log/slurmctld.pid
SlurmctldLogFile=$c/log/slurmctld.log
SlurmdPidFile=$c/log/%n.pid
SlurmdLogFile=$c/log/%n.log
SlurmdSpoolDir=$c/spool/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdTimeout=6
KillWait=10
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n[1-3] NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 3))] CPUs=1 State=UNKNOWN
PartitionName=low Nodes=n[1-3] Default=YES PriorityTier=1 State=UP
PartitionName=high Nodes=n[1-3] PriorityTier=10 PreemptMode=OFF State=UP
END
# All processes below one, itself first.
family() {
  echo "$1"
  for child in $(pgrep -P "$1"); do family "$child"; done
}
end_cluster() {
  scancel -u "$me" 2>/dev/null
  sleep 1
  for pid in $(pgrep -f "$c/" || true); do [ "$pid" = $$ ] || kill -9 "$pid" 2>/dev/null; done
  chmod -R u+w "$work" 2>/dev/null
  rm -rf "$work"
}
trap end_cluster EXIT
munged --force --key-file="$c/munge/key" --socket="$c/munge/socket" --pid-file="$c/munge/pid" --log-file="$c/munge/log" \
  --seed-file="$c/munge/seed" 2>"$c/log/munged" || fail "munged: $(cat "$c/log/munged")"
slurmctld -f "$SLURM_CONF" || fail "slurmctld: $(tail "$c/log/slurmctld.log")"
for n in n1 n2 n3; do slurmd -f "$SLURM_CONF" -N $n || fail "slurmd $n"; done
for _ in $(seq 100); do [ "$(sinfo -h -N -p low -o %t | grep -c idle)" = 3 ] && break; sleep 0.2; done
[ "$(sinfo -h -N -p low -o %t | grep -c idle)" = 3 ] || { fail "the cluster does not stand: $(sinfo -N) $(tail "$c/log/slurmctld.log")"; finish; }

# wait_for SECONDS WHAT COMMAND...    SECONDS: on a machine with nothing else to do; three times that is waited
wait_for() {
  local seconds=$((3 * $1)) what=$2
  shift 2
  for _ in $(seq $((seconds * 5))); do "$@" && return 0; sleep 0.2; done
  fail "$what did not come in $seconds s: $(squeue; tail -n 5 "$store"/*.sweep/slurm/*/logs/* 2>/dev/null)"
  return 1
}
empty() { [ -z "$(squeue -h -u "$me")" ]; }
said() { grep -qh -- "$1" "$store"/s.sweep/slurm/*/logs/*; }
sweep() { "$cafx" sweep "$@" --store "$store"; }
more=$'[slurm]\npartition = "low"\ntime = "30"\nparallel = 3\nsetup = ["export CAFX_CHECKPOINT_SECONDS=0.5"]'
tiny_sweep "$work/s.toml" s '[1e-3, 3e-3]' '[1]' 400 "$more"
sed -i 's/^warmup_steps = 0/warmup_steps = 0\npatience = 100000/' "$work/s.toml"

"$cafx" sweep run "$work/s.toml" --store "$work/local" --quiet --no-measure >"$work/out" 2>&1 &
undisturbed=$!
sweep run "$work/s.toml" --launcher slurm >"$work/out2" 2>&1 || fail "submission: $(cat "$work/out2")"
[ "$(grep -c '^job' "$work/out2")" = 4 ] || fail "a pretraining array, two of trainings, the tables: $(cat "$work/out2")"
grep -q "2 runs, train.1, afterok:[0-9]*_1" "$work/out2" || fail "trainings wait for their own pretraining: $(cat "$work/out2")"
cmp "$cafx" "$store"/.pinned/*/cafx || fail "the binary is pinned"
[ -z "$(find "$work" -maxdepth 1 -name '100*' ! -path "$store")" ] || fail "Slurm took the % of the store's name for a pattern: $(ls "$work")"
sweep run "$work/s.toml" --launcher slurm >"$work/out2" 2>&1 || fail "a second submission"
# Pretrainings may be over by now: of six runs, those that are not are in the queue.
grep -qE "[4-6] runs were in the queue already" "$work/out2" && ! grep -q " runs, " "$work/out2" || fail "a second submission adds runs: $(cat "$work/out2")"

# running N: at least N trainings run and have a checkpoint.
running() { [ "$(find "$store" -path '*default-*' -name checkpoint.safetensors | wc -l)" -ge "$1" ]; }
# job_of FOLDER: the array task that its log names last, its node, and all processes of the job.
job_of() { sed -n "s/.*$1: job \([0-9_]*\) on .*/\1/p" "$store"/s.sweep/slurm/*/logs/train* | tail -1; }
node_of() { sed -n "s/.*$1: job [0-9_]* on \([a-z0-9]*\),.*/\1/p" "$store"/s.sweep/slurm/*/logs/train* | tail -1; }
wait_for 60 "three trainings at once" running 3
first=($(find "$store" -path '*default-*' -name checkpoint.safetensors -printf '%h\n' | xargs -n1 basename))

# 1. Warned: it saves, goes back into the queue, and goes on from there; no step is done twice.
scancel --batch --signal=USR1 "$(job_of "${first[0]}")"
wait_for 20 "the requeue after USR1" said "${first[0]}: saved; job $(job_of "${first[0]}") goes back into the queue"
# 2. Preempted: Slurm itself takes the node for a job of higher rank.
sbatch -p high --nodelist="$(node_of "${first[1]}")" --output=/dev/null --wrap "sleep 2" >/dev/null || fail "sbatch of the job of higher rank"
# 3. A worker that is killed goes on in its job.
worker=$(pgrep -f "sweep worker $store/${first[2]}" | head -1)
kill -9 "$worker" || fail "no worker of ${first[2]} to kill"
wait_for 20 "the new worker" said "${first[2]}: killed by signal 9 (Killed); it goes on from its checkpoint"
wait_for 60 "the preempted run again" said "${first[1]}: job .* started 1 times before"
# 4. A node dies with all that runs on it.
lost=$(node_of "${first[1]}")
for pid in $(cat "$c/log/$lost.pid") $(pgrep -f "slurmd.*-N $lost\$"); do kill -9 "$pid" 2>/dev/null; done
for pid in $(pgrep -f "sweep slurm-task"); do
  grep -qz "^SLURMD_NODENAME=$lost\$" "/proc/$pid/environ" 2>/dev/null || continue
  for p in $(ps -o ppid= -p "$pid") $(family "$pid"); do kill -9 "$p" 2>/dev/null; done
done
wait_for 60 "the dead node is noticed" eval "sinfo -h -n $lost -o %t | grep -q down"
wait_for 90 "the run of the dead node, elsewhere" said "${first[1]}: job .* started 2 times before"

wait $undisturbed || fail "the sweep without Slurm: $(cat "$work/out")"
wait_for 180 "the end" empty
cmp "$work/local/s.sweep/results.csv" "$store/s.sweep/results.csv" || fail "the table differs from the one without Slurm"
for run in "$work"/local/default-*; do
  for file in result.json metrics.csv eval.json outcome.json; do
    cmp "$run/$file" "$store/$(basename "$run")/$file" || fail "$(basename "$run")/$file differs"
  done
done
steps=$(grep -o '"steps": *[0-9]*' "$store/${first[0]}/usage.json" | grep -o '[0-9]*$')
trained=$(grep -o '"trained_steps": *[0-9]*' "$store/${first[0]}/usage.json" | grep -o '[0-9]*$')
[ -n "$steps" ] && [ "$steps" = "$trained" ] || fail "a warned run trained $trained steps for $steps"
sweep status s >"$work/out" && grep -q "6 done" "$work/out" || fail "status of a sweep that Slurm ran: $(cat "$work/out")"

# A pretraining that fails takes its trainings out of the queue; stop empties it; another submission ends the sweep.
tiny_sweep "$work/f.toml" f '[1e-3]' '[1]' 400 "$more"
sed -i 's/^warmup_steps = 0/pretrain_lr = 10.0\nweight_decay = 10.0\nwarmup_steps = 0/' "$work/f.toml"
sweep run "$work/f.toml" --launcher slurm --quiet || fail "submission of a sweep that fails"
wait_for 60 "the end of a sweep that fails" empty
grep -q ',blocked,.*its pretraining failed' "$store/f.sweep/results.csv" || fail "blocked runs: $(cat "$store/f.sweep/results.csv")"
tiny_sweep "$work/t.toml" t '[1e-3, 2e-3]' '[2]' 60 "$more"
sweep run "$work/t.toml" --launcher slurm --quiet || fail "submission of a sweep to be stopped"
wait_for 30 "a first run" eval "ls $store/t.sweep/slurm/*/logs/*.txt >/dev/null 2>&1"
sweep stop t >"$work/out" || fail "stop: $(cat "$work/out")"
grep -q "cancelled" "$work/out" || fail "stop cancels jobs: $(cat "$work/out")"
wait_for 30 "an empty queue after stop" empty
[ "$(grep -l '"done"' "$store"/*/outcome.json | wc -l)" -lt 12 ] || fail "stop came too late to test anything"
sweep run t --launcher slurm --quiet || fail "submission after a stop"
wait_for 90 "the end of the stopped sweep" empty
[ "$(grep -c ',done,' "$store/t.sweep/results.csv")" = 4 ] || fail "4 runs after a stop: $(cat "$store/t.sweep/results.csv")"

# A cohort is one task: warned, every member saves and goes on; the table is that of runs alone.
tiny_sweep "$work/k.toml" k '[1e-3, 2e-3, 3e-3]' '[4]' 150 $'[sweep]\ncohort = "3"\n'"$more"
sed -i 's/^warmup_steps = 0/warmup_steps = 0\npatience = 100000/' "$work/k.toml"
"$cafx" sweep run "$work/k.toml" --store "$work/local" --cohort off --quiet --no-measure >"$work/out" 2>&1 || fail "the sweep without cohorts: $(cat "$work/out")"
sweep run "$work/k.toml" --launcher slurm >"$work/out" 2>&1 || fail "submission of cohorts: $(cat "$work/out")"
grep -q '6 runs in 2 tasks, train.0' "$work/out" || fail "three runs share a task: $(cat "$work/out")"
sweep run "$work/k.toml" --launcher slurm >"$work/out" 2>&1 || fail "cohorts a second time"
grep -q " runs, \| runs in " "$work/out" && fail "cohorts are submitted twice: $(cat "$work/out")"
in_k() { grep -qh -- "$1" "$store"/k.sweep/slurm/*/logs/*; }
k_trains() { [ "$(cat "$store"/k.sweep/slurm/*/train.0.list | tr ' ' '\n' | sed "s|^|$store/|; s|$|/checkpoint.safetensors|" | xargs ls 2>/dev/null | wc -l)" = 6 ]; }
wait_for 180 "all members of a cohort" k_trains
scancel --batch --signal=USR1 "$(sed -n 's/.* and 2 more: job \([0-9_]*\) on .*/\1/p' "$store"/k.sweep/slurm/*/logs/train.0* | tail -1)"
wait_for 30 "the requeue of a cohort" in_k "goes back into the queue"
wait_for 60 "the cohort again" in_k "and 2 more: job .* started 1 times before"
wait_for 240 "the end of the cohorts" empty
cmp "$work/local/k.sweep/results.csv" "$store/k.sweep/results.csv" || fail "the table of cohorts differs from that of runs alone"

# From a container: a stand-in for apptainer that has cafx inside, and nothing else: none of Slurm's programs.
mkdir "$work/inside" "$work/outside"
ln -s "$(realpath "$cafx")" "$work/inside/cafx"
cat >"$work/outside/apptainer" <<END
#!/bin/bash
[ "\$1 \$2 \$3" = "exec --nv $work/cafx.sif" ] || { echo "the stand-in knows no \$*" >&2; exit 9; }
echo "in the container: \${*:4}" >&2
PATH=$work/inside exec "\${@:4}"
END
chmod +x "$work/outside/apptainer"
touch "$work/cafx.sif"
contained=$'[slurm]\npartition = "low"\ntime = "30"\nsetup = ["export CAFX_CHECKPOINT_SECONDS=0.5"]\ncontainer = "'"$work/outside/apptainer exec --nv $work/cafx.sif\""
tiny_sweep "$work/c.toml" c '[1e-3]' '[3]' 400 "$contained"
sed -i 's/^warmup_steps = 0/warmup_steps = 0\npatience = 100000/' "$work/c.toml"
"$cafx" sweep run "$work/c.toml" --store "$work/local" --quiet --no-measure >"$work/out" 2>&1 || fail "the sweep without a container: $(cat "$work/out")"
pinned=$(ls "$store/.pinned" | wc -l)
sweep run "$work/c.toml" --launcher slurm >"$work/out" 2>&1 || fail "submission of a sweep in a container: $(cat "$work/out")"
[ "$(ls "$store/.pinned" | wc -l)" = "$pinned" ] || fail "a binary is copied although the container has its own"
in_c() { grep -qh -- "$1" "$store"/c.sweep/slurm/*/logs/*; }
c_runs() { ls "$store"/c.sweep/slurm/*/logs/train* 2>/dev/null | grep -q . && grep -l '^train' "$store"/default-*/metrics.csv | xargs -n1 dirname | xargs -n1 basename >"$work/c_runs" &&
  grep -qFf "$work/c_runs" "$store"/c.sweep/slurm/*/logs/train*; }
wait_for 90 "a training in the container" c_runs
scancel --batch --signal=USR1 "$(sed -n 's/.*: job \([0-9_]*\) on .*/\1/p' "$store"/c.sweep/slurm/*/logs/train* | tail -1)"
wait_for 30 "the requeue of a job in a container" in_c "goes back into the queue"
wait_for 60 "the run again" in_c "started 1 times before"
wait_for 180 "the end of the sweep in a container" empty
in_c "in the container: cafx sweep slurm-task" || fail "the stand-in was not asked: $(cat "$store"/c.sweep/slurm/*/logs/*)"
cmp "$work/local/c.sweep/results.csv" "$store/c.sweep/results.csv" || fail "the table of the container differs from the one without"
finish
