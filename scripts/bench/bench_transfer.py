#!/usr/bin/env python3
"""Upload and download a large file with Courtside and boto3, alternating in one run, with a real S3 server (Ceph's
object gateway on loopback, which keeps its data in memory).

    scripts/s3/install_s3_servers.sh
    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install boto3
    cargo build --release -p jobs --example bench_transfer
    /tmp/bench/bin/python scripts/bench/bench_transfer.py --ours target/release/examples/bench_transfer

Courtside hashes its uploads, verifies its downloads, and records its progress on disk; boto3 does none of this.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KEY = "videos/boto3.mp4"


def client(server):
    import boto3

    return boto3.client("s3", endpoint_url=server["endpoint"], region_name=server["region"],
                        aws_access_key_id=server["access_key_id"], aws_secret_access_key=server["secret_access_key"])


def one_way(way, server, file):
    """One transfer with boto3, in this process; prints wall seconds, CPU seconds and peak MiB as JSON."""
    s3 = client(server)
    started = time.perf_counter()
    if way == "up":
        s3.upload_file(file, server["bucket"], KEY)
    else:
        s3.download_file(server["bucket"], KEY, file + ".copy")
    wall = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))


def by_boto3(way, server, file):
    command = [sys.executable, os.path.realpath(__file__), "--way", way, "--file", file]
    env = {**os.environ, "BENCH_SERVER": json.dumps(server)}
    return json.loads(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)


def by_courtside(program, server, mib):
    env = {**os.environ, "S3_ENDPOINT": server["endpoint"], "S3_BUCKET": server["bucket"],
           "S3_REGION": server["region"], "S3_ACCESS_KEY_ID": server["access_key_id"],
           "S3_SECRET_ACCESS_KEY": server["secret_access_key"]}
    out = subprocess.run([program, str(mib), "1"], env=env, check=True, capture_output=True, text=True).stdout
    line = r"(up|down) +[\d.]+ MB/s +([\d.]+) s, +([\d.]+) CPU s, peak +(\d+) MiB"
    return {way: [float(n) for n in numbers] for way, *numbers in re.findall(line, out)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        one_way(args.way, json.loads(os.environ["BENCH_SERVER"]), args.file)
        return
    script = Path(__file__).resolve().parents[1] / "s3/start_radosgw.sh"
    running = subprocess.Popen([script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    server = {**json.loads(running.stdout.readline()), "bucket": "bench"}
    client(server).create_bucket(Bucket="bench")
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/file"
        with open(file, "wb") as f:
            for _ in range(args.mib):
                f.write(os.urandom(1 << 20))
        for _ in range(args.rounds):
            for way, numbers in by_courtside(args.ours, server, args.mib).items():
                measured.setdefault((way, "Courtside"), []).append(numbers)
            for way in ("up", "down"):
                measured.setdefault((way, "boto3"), []).append(by_boto3(way, server, file))
    running.stdin.close()
    running.wait()
    print(f"{args.mib} MiB, median of {args.rounds} rounds")
    print(f"{'':<18}{'wall s':>8}{'MB/s':>8}{'cpu s':>8}{'peak MiB':>10}{'wall ratio':>12}")
    medians = {k: [sorted(column)[len(column) // 2] for column in zip(*rows)] for k, rows in measured.items()}
    for (way, program), (wall, cpu, peak) in sorted(medians.items(), reverse=True):
        ratio = wall / medians[way, "Courtside"][0]
        speed = args.mib * 1.048576 / wall
        print(f"{way:<6}{program:<12}{wall:>8.2f}{speed:>8.0f}{cpu:>8.2f}{peak:>10.0f}{ratio:>12.2f}")


if __name__ == "__main__":
    main()
