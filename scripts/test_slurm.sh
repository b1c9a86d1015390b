#!/usr/bin/env bash
# Tracks jobs with deploy/slurm/courtside.sbatch on a real Slurm cluster of three nodes on this machine. While three
# workers are in the middle of a job, one node dies, an urgent job preempts another worker, and a user cancels a third one.
# All jobs must be completed with the results of an undisturbed run, and exactly the first two workers must start again.
#
#   COURTSIDE   the program [default: target/debug/courtside]
#   FAKE_R2     the S3 server [default: target/debug/fake-r2]
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ]; then
    echo "test_slurm: not run: Slurm runs only on Linux" >&2
    exit 0
fi

readonly root=$PWD
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
courtside=$(realpath "${COURTSIDE:-$target/debug/courtside}")
fake_r2=$(realpath "${FAKE_R2:-$target/debug/fake-r2}")
folder=$(mktemp -d "${TMPDIR:-/tmp}/courtside-slurm.XXXXXX")
readonly cluster=$folder/cluster library=$folder/library n_jobs=4
# Tasks of the array. The last one has the id of the array as its own: it must not requeue the others.
readonly killed=1 cancelled=2 preempted=3
readonly secret=secret-$RANDOM$RANDOM$RANDOM
# All workers of a bucket must use the same factor. A lease is then 6 s.
readonly worker_options=(--allow-cpu --model "$root/fixtures/wide" --speed-up 30 --checkpoint-interval 0.5)
# shellcheck source=scripts/system_test.sh
. scripts/system_test.sh
# shellcheck source=scripts/slurm/cluster.sh
. scripts/slurm/cluster.sh

finish() {
    local code=$?
    trap - EXIT
    if [ "$code" != 0 ]; then
        echo "--- logs of the workers and of the cluster:" >&2
        tail -n 40 "$library"/*.log "$cluster"/*.{out,log} >&2 2>/dev/null || true
    fi
    kill_in "$folder"
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# Track the video once without Slurm, in another library with a folder as its bucket.
track_undisturbed() {
    mkdir "$folder/undisturbed"
    (
        cd "$folder/undisturbed"
        "$courtside" submit "$folder/game.mkv" --prompt ball
        "$courtside" worker --local --once "${worker_options[@]}"
    ) >"$folder/undisturbed.out" 2>&1 || { cat "$folder/undisturbed.out" >&2 && fail "the undisturbed run failed"; }
    canonical <"$(echo "$folder"/undisturbed/basketball-analyzer/results/*.json)" >"$folder/expected.json"
    grep -q '"frame":' "$folder/expected.json" || fail "the undisturbed run found nothing"
}

submit_jobs() {
    local n
    for ((n = 0; n < n_jobs; n++)); do
        submit_video
    done >"$folder/jobs"
    [ "$(sort -u "$folder/jobs" | wc -l)" = "$n_jobs" ] || fail "not all jobs were submitted"
}

# start_workers OPTIONS...: submit the file of the repository to Slurm, and print the id of the array.
start_workers() {
    (cd "$library" && COURTSIDE="$courtside" WORKER_IDLE_SHUTDOWN=5 RAYON_NUM_THREADS=1 TMPDIR="$folder/work" \
        sbatch --parsable "$@" "$root/deploy/slurm/courtside.sbatch" "${worker_options[@]}")
}

# Print the job that task $1 is processing and has saved a checkpoint of.
job_in_progress() {
    local job manifest
    while read -r job; do
        manifest=$(object "jobs/$job.json")
        [[ $manifest =~ \"worker_id\":\ ?\"slurm-${array}_$1-r0\" && $manifest =~ \"status\":\ ?\"processing\" ]] || continue
        curl -fsS "$endpoint/games?list-type=2&prefix=checkpoints/$job/" | grep -q '<Key>' || continue
        echo "$job"
        return
    done <"$folder/jobs"
    return 1
}

all_in_progress() {
    job_in_progress 1 && job_in_progress 2 && job_in_progress 3
} >/dev/null

# task FIELD N: print a field that Slurm reports of task N.
task() {
    scontrol show job --oneliner "${array}_$2" | sed -E "s/.* $1=([^ ]*).*/\1/"
}

# Print the node that a task runs on.
node_of() {
    squeue -h -j "${array}_$1" -o %N
}

queue_is_empty() {
    [ -z "$(squeue -h)" ]
}

all_completed() {
    local job
    while read -r job; do
        object "jobs/$job.json" | grep -qE '"status": ?"completed"' || return 1
    done <"$folder/jobs"
}

# Settings that other users can read must not be used.
check_settings_are_private() {
    local code=0
    chmod 644 "$library/.env"
    start_workers --array=1-1 --output=readable.log --wait >/dev/null || code=$?
    chmod 600 "$library/.env"
    [ "$code" = 3 ] || fail "a task with readable settings exited with $code, not 3"
    grep -q "chmod 600" "$library/readable.log" || fail "the task does not say what to do about readable settings"
}

# Disturb all three workers in the middle of a job.
disturb() {
    local node
    wait_for 120 "three jobs in progress" all_in_progress
    node=$(node_of "$preempted")
    killed_job=$(job_in_progress "$killed")
    kill_node "$(node_of "$killed")"
    scancel "${array}_$cancelled"
    (cd "$library" && sbatch --parsable --partition=urgent --nodelist="$node" --gres=gpu:1 --output=urgent.log --wait \
        --wrap 'echo done') >/dev/null || fail "the urgent job failed"
}

# expect_task N STATE RESTARTS
expect_task() {
    local state restarts
    state=$(task JobState "$1")
    restarts=$(task Restarts "$1")
    [ "$state $restarts" = "$2 $3" ] || fail "task $1 is $state after $restarts restarts, expected $2 after $3"
}

check_tasks() {
    expect_task "$preempted" COMPLETED 1
    expect_task "$killed" COMPLETED 1
    expect_task "$cancelled" CANCELLED 0
    local task
    for task in "$preempted" "$cancelled"; do
        grep -q "^released " "$library/courtside-${array}_$task.log" || fail "worker $task did not release its job"
    done
    ! grep -q "^released " "$library/courtside-${array}_$killed.log" || fail "the dead node released its job"
    [ "$(find "$folder/work" -mindepth 1 -maxdepth 1 | wc -l)" = 1 ] ||
        fail "expected the work folder of the dead node only: $(ls "$folder/work")"
    run logs "$killed_job" | grep -q "resuming at frame" || fail "the job of the dead node was not resumed"
}

check_results() {
    local job
    while read -r job; do
        object "results/$job.json" | canonical >"$folder/found.json"
        cmp "$folder/expected.json" "$folder/found.json" || fail "job $job has other results"
    done <"$folder/jobs"
    run import --all >"$folder/import.out" || fail "the results cannot be imported"
}

# The keys must be in .env only: neither in what Slurm stores nor in logs.
check_secret() {
    local found
    found=$(grep -rlF "$secret" "$folder" || true)
    [ "$found" = "$library/.env" ] || fail "the secret key is in: $found"
}

# Ignore settings for another bucket, library or cluster.
settings='R2_[A-Z_]+|DATABASE_URL|VIDEO_STORAGE_PATH|COURTSIDE_HOME|(WORKER|SLURM|SBATCH|SRUN|SINFO|SQUEUE)_[A-Z_]+'
for name in $(env | grep -oE "^($settings)=" | tr -d =); do
    unset "$name"
done
for program in "$courtside" "$fake_r2"; do
    [ -x "$program" ] || fail "there is no $program: run cargo build --workspace --bins"
done
install_slurm
step "starting the cluster"
# munged serves only in a folder that other users can enter.
chmod 711 "$folder"
mkdir "$cluster" "$folder/work"
start_cluster
start_bucket
step "tracking without Slurm"
make_video "2"
track_undisturbed
submit_jobs
step "tracking with Slurm"
check_settings_are_private
array=$(start_workers)
disturb
step "task $killed: node died; task $cancelled: cancelled; task $preempted: preempted"
wait_for 300 "the end of the workers" queue_is_empty
all_completed || fail "not all jobs are completed"
check_tasks
check_results
check_secret
step "passed: $n_jobs jobs have the results of the undisturbed run; tasks $killed and $preempted started again once"
