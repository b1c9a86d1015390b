#!/usr/bin/env bash
# Runs Ceph's object gateway on loopback for tests: one monitor, one OSD that keeps its data in memory, and gateways.
#
#   scripts/s3/start_radosgw.sh [FOLDER]
#
# Uses a new folder under FOLDER [default: ${TMPDIR:-/tmp}/courtside-s3-$UID] and free ports, and runs as any user. Once
# clients can connect, it prints a line of JSON. It then reads commands from standard input and answers each with a line
# of JSON:
#
#   start [PORT]   start another gateway over the same data
#   stop PORT      kill that gateway
#
# At the end of input, which is also reached when the parent process dies, and on a signal, it kills the daemons and
# removes its folder. The next run removes the folders that killed runs left behind.
set -euo pipefail

base=${1:-${TMPDIR:-/tmp}/courtside-s3-$UID}
deadline=$((SECONDS + 120))
declare -A gateways=() # port -> process id

for tool in ceph-mon ceph-osd radosgw radosgw-admin ceph setpriv flock; do
    if ! command -v "$tool" >/dev/null; then
        echo "error: $tool is missing: run scripts/s3/install_s3_servers.sh" >&2
        exit 1
    fi
done

mkdir -p "$base"
exec 8>"$base/radosgw.lock"
flock 8
for old in "$base"/radosgw.*/; do
    # The lock is free once the script and its daemons have exited.
    if [ -e "$old/lock" ] && flock -n "$old/lock" true; then rm -rf "$old"; fi
done
dir=$(mktemp -d "$base/radosgw.XXXXXX")
exec 9>"$dir/lock"
flock 9
exec 8>&-

end() {
    trap - EXIT
    # Hide the shell's report of each killed daemon. The data is not needed, so SIGKILL is fine.
    exec 2>/dev/null
    kill -KILL $(jobs -pr) || true
    wait || true
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "error: $1" >&2
    tail -n 5 "$dir"/log/* >&2 || true
    exit 1
}

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A free port below the kernel's range of ephemeral ports.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        is_taken "$port" || break
    done
    echo "$port"
}

# daemon NAME COMMAND…: in the background until this script ends, killed or not. The child's id is in $!.
daemon() {
    local name=$1
    shift
    setpriv --pdeathsig KILL "$@" >>"$dir/log/$name.out" 2>&1 </dev/null &
}

mkdir "$dir/mon" "$dir/osd" "$dir/log"
mon_port=$(free_port)
fsid=$(cat /proc/sys/kernel/random/uuid)
cat >"$dir/ceph.conf" <<EOF
[global]
fsid = $fsid
mon_host = v2:127.0.0.1:$mon_port
ms_bind_msgr1 = false
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
keyring = $dir/keyring
run_dir = $dir
pid_file =
admin_socket =
log_file = $dir/log/\$name.log
mon_data = $dir/mon
mon_data_avail_warn = 0
mon_data_avail_crit = 0
# One replica, one placement group per pool, no delay to batch map changes.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
rgw_rados_pool_pg_num_min = 1
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
osd_data = $dir/osd
osd_objectstore = memstore
memstore_device_bytes = 17179869184
osd_memory_target = 939524096
osd_class_update_on_start = false
rgw_data = $dir/rgw
rgw_thread_pool_size = 64
# Gateways notify each other of cache invalidations, so a killed gateway would delay the others.
rgw_cache_enabled = false
EOF
conf=(-c "$dir/ceph.conf")

{
    ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *' &&
    ceph-authtool "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' &&
    monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_port]" "$dir/monmap" &&
    ceph-mon "${conf[@]}" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
} >"$dir/log/make.out" 2>&1 || fail "cannot create the monitor's store"
daemon mon ceph-mon -f "${conf[@]}" -i a

osd_uuid=$(cat /proc/sys/kernel/random/uuid)
osd_key=$(ceph-authtool --gen-print-key)
{
    ceph-authtool --create-keyring "$dir/osd/keyring" -n osd.0 --add-key "$osd_key" &&
    echo "{\"cephx_secret\": \"$osd_key\"}" | ceph "${conf[@]}" --connect-timeout 60 osd new "$osd_uuid" -i - &&
    ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$osd_uuid" --monmap "$dir/monmap" --keyring "$dir/osd/keyring"
} >>"$dir/log/make.out" 2>&1 </dev/null || fail "cannot create the OSD"
daemon osd ceph-osd -f "${conf[@]}" -i 0 --keyring "$dir/osd/keyring"

timeout 90 radosgw-admin "${conf[@]}" user create --uid=test --display-name=test \
    --access-key=test-access-key-id --secret-key=test-secret-access-key \
    >>"$dir/log/make.out" 2>&1 </dev/null || fail "cannot create the gateway's user"

# Whether a gateway responds on the port.
answers() {
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'GET / HTTP/1.0\r\n\r\n' >&3
    local header found=1
    while read -r -t 10 header <&3; do
        case $header in x-amz-request-id*) found=0 && break ;; esac
    done
    exec 3>&-
    return "$found"
}

# start [PORT]: starts a gateway and sets $port. Retries if another program takes the port first, five times in all.
start() {
    local pid
    for _ in 1 2 3 4 5; do
        port=${1:-$(free_port)}
        daemon "rgw.$port" radosgw -f "${conf[@]}" -n client.admin --rgw_frontends "beast endpoint=127.0.0.1:$port"
        pid=$!
        while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do
            if answers "$port" 2>/dev/null; then
                gateways[$port]=$pid
                return
            fi
            sleep 0.05
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    fail "the gateway does not start"
}

stop() {
    kill -KILL "${gateways[$1]}"
    wait "${gateways[$1]}" 2>/dev/null || true
    unset "gateways[$1]"
}

start
echo "{\"port\": $port, \"endpoint\": \"http://127.0.0.1:$port\", \"region\": \"us-east-1\"," \
    "\"access_key_id\": \"test-access-key-id\", \"secret_access_key\": \"test-secret-access-key\"}"
while read -r command port; do
    deadline=$((SECONDS + 60))
    case $command in
    start) start "$port" && echo "{\"started\": $port}" ;;
    stop)
        if [ -n "${gateways[$port]:-}" ]; then
            stop "$port"
            echo "{\"stopped\": $port}"
        else
            echo '{"error": "no gateway on this port"}'
        fi
        ;;
    *) echo '{"error": "unknown command: use start [PORT] or stop PORT"}' ;;
    esac
done
