# shellcheck shell=bash
# A Slurm cluster of three nodes on this machine, for tests: a controller, a slurmd per node, and munged with a key of its
# own. Sourced by scripts/test_slurm.sh. Needs neither systemd nor cgroups; runs as root or as any user.
#
# Everything is in the folder $cluster. Each slurmd runs in the folder of its node, $cluster/n1 to n3, and so do the
# slurmstepd that it starts: this is how kill_node finds them. Each node has a GPU, which is an empty file. A job of the
# partition `urgent` preempts one of `low`, which has 20 seconds to stop. JobRequeue is 0: a task starts again only if its
# script says so.

: "${cluster:?is the folder of the cluster}"

# Install what is missing. Debian and Ubuntu.
install_slurm() {
    local missing=() as_root=() program
    PATH=$PATH:/usr/sbin
    for program in munged:munge sbatch:slurm-client slurmctld:slurmctld slurmd:slurmd curl:curl pgrep:procps; do
        command -v "${program%:*}" >/dev/null || missing+=("${program#*:}")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    echo "installing: ${missing[*]}" >&2
    if ! command -v apt-get >/dev/null; then
        echo "error: apt-get not found: install ${missing[*]}" >&2
        return 1
    fi
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Print four free ports.
free_ports() {
    python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*[s.getsockname()[1] for s in sockets])'
}

# write_slurm_conf HOST PORT: the settings of the controller, which runs on PORT.
write_slurm_conf() {
    local user
    user=$(id -un)
    cat >"$cluster/slurm.conf" <<CONF
ClusterName=courtside
SlurmctldHost=$1(127.0.0.1)
SlurmctldPort=$2
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
# A requeued job waits until its credential has expired.
AuthInfo=socket=$cluster/munge.socket,cred_expire=5
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/%n/spool
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/%n/slurmd.pid
SlurmctldLogFile=$cluster/slurmctld.log
SlurmdLogFile=$cluster/%n/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=0
SlurmdTimeout=6
KillWait=5
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
PartitionName=low Nodes=n[1-3] Default=YES PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=n[1-3] PriorityTier=10
CONF
}

# write_nodes HOST PORT PORT PORT: three nodes with a GPU each.
write_nodes() {
    local host=$1 n
    shift
    for n in 1 2 3; do
        echo "NodeName=n$n NodeHostname=$host NodeAddr=127.0.0.1 Port=${!n} CPUs=8 RealMemory=64000 Gres=gpu:1"
    done >>"$cluster/slurm.conf"
    echo "NodeName=n[1-3] Name=gpu File=$cluster/nvidia0" >"$cluster/gres.conf"
    : >"$cluster/nvidia0"
}

# Start the cluster in the folder $cluster, which must be empty and open to other users, and wait until its nodes are idle.
start_cluster() {
    local host ports n
    mkdir "$cluster"/{state,n1,n2,n3}
    host=$(hostname -s)
    read -ra ports < <(free_ports)
    write_slurm_conf "$host" "${ports[0]}"
    write_nodes "$host" "${ports[@]:1}"
    (umask 077 && head -c 128 /dev/urandom >"$cluster/munge.key")
    (cd "$cluster" && exec munged --foreground --key-file="$cluster/munge.key" --socket="$cluster/munge.socket" \
        --pid-file="$cluster/munged.pid" --seed-file="$cluster/munged.seed") >"$cluster/munged.out" 2>&1 &
    disown
    wait_for 20 "munged" test -S "$cluster/munge.socket"
    export SLURM_CONF=$cluster/slurm.conf
    (cd "$cluster" && exec slurmctld -D -c) >"$cluster/slurmctld.out" 2>&1 &
    disown
    wait_for 20 "the controller" responds scontrol ping
    for n in n1 n2 n3; do
        (cd "$cluster/$n" && exec slurmd -D -N "$n") >"$cluster/$n/slurmd.out" 2>&1 &
        disown
    done
    wait_for 60 "three idle nodes" nodes_are_idle
}

responds() {
    "$@" >/dev/null 2>&1
}

nodes_are_idle() {
    [ "$(sinfo -h -N -p low -t idle -o %n 2>/dev/null | wc -l)" = 3 ]
}

# Print the processes that run in a folder or below, and all their descendants.
processes_in() {
    local found=() process folder
    for process in /proc/[0-9]*; do
        folder=$(readlink "$process/cwd" 2>/dev/null) || continue
        [[ $folder/ != "$1"/* ]] || found+=("${process#/proc/}")
    done
    while [ "${#found[@]}" -gt 0 ]; do
        echo "${found[@]}"
        mapfile -t found < <(pgrep -P "$(IFS=, && echo "${found[*]}")")
    done
}

# Kill all processes in a folder, with their descendants.
kill_in() {
    local processes
    read -ra processes -d '' < <(processes_in "$1") || true
    [ "${#processes[@]}" = 0 ] || kill -KILL "${processes[@]}" 2>/dev/null || true
}

# Kill a node with everything that runs on it, as a power cut does. The controller is not told.
kill_node() {
    kill_in "$cluster/$1"
}
