#!/usr/bin/env python3
"""Import one results file of a million detections with Courtside, Python and DuckDB, in one run.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install duckdb
    /tmp/bench/bin/python scripts/bench/bench_import.py --courtside target/release/courtside

The file is what a worker writes to a folder bucket. `courtside import` verifies it (size, SHA-256, every detection) and
writes it into a database with the analyzer app's tables. Python's `json` with `sqlite3.executemany` writes the same
table with the same two indexes; DuckDB's `read_json` writes a table without indexes. Each runs in a separate process:
wall seconds, CPU seconds and peak memory are printed.
"""

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

N_FRAMES = 92_000
TRACKS = 11
SCHEMA = """
create table player_detections (id integer primary key, video_id integer not null, frame_number integer not null,
  player_id integer, bbox_x real not null, bbox_y real not null, bbox_width real not null, bbox_height real not null,
  tracking_id integer not null, confidence_score real not null);
create index a on player_detections (video_id, frame_number);
create index b on player_detections (tracking_id);
"""


def write_results(path):
    """Write a results file in the worker's format."""
    rng = random.Random(1)
    with open(path, "w") as f:
        f.write('{"job_id":"bench","video_id":1,"completed_at":"2026-01-01T00:00:00Z",'
                f'"frames_processed":{N_FRAMES},"detections":[')
        first = True
        for frame in range(N_FRAMES):
            for track in range(TRACKS):
                x, y = rng.uniform(0, 1800), rng.uniform(0, 900)
                f.write("\n" if first else ",\n")
                first = False
                f.write(f'{{"frame":{frame},"track_id":{track},"bbox":[{x:.2f},{y:.2f},{61.25 + track},140.5],'
                        f'"confidence":{rng.uniform(0.3, 1):.4f}}}')
        f.write("\n]}\n")


def by_python(results, folder):
    data = json.load(open(results))
    db = sqlite3.connect(f"{folder}/python.db")
    db.executescript("pragma journal_mode=wal;" + SCHEMA)
    rows = ((1, d["frame"], d["track_id"], *d["bbox"], d["confidence"]) for d in data["detections"])
    with db:
        db.executemany("insert into player_detections (video_id, frame_number, tracking_id, bbox_x, bbox_y,"
                       " bbox_width, bbox_height, confidence_score) values (?,?,?,?,?,?,?,?)", rows)


def by_duckdb(results, folder):
    import duckdb

    db = duckdb.connect(f"{folder}/duck.db")
    db.execute(f"""create table d as select d.frame, d.track_id, d.bbox[1] as x, d.bbox[2] as y, d.bbox[3] as w,
        d.bbox[4] as h, d.confidence from (select unnest(detections) as d
        from read_json('{results}', maximum_object_size=1000000000))""")
    assert db.execute("select count(*) from d").fetchone()[0] == N_FRAMES * TRACKS
    db.close()


def prepare_courtside(program, folder, results):
    """Create a library with one video, and a bucket with a completed job. Its manifest has no size and no hash, like
    those of older versions. Returns the command that imports it, and its environment."""
    env = {"PATH": os.environ["PATH"], "HOME": folder}
    clip = Path(__file__).resolve().parents[2] / "fixtures/wide/clip.mkv"
    subprocess.run([program, "videos", "add", str(clip)], cwd=folder, env=env, check=True, capture_output=True)
    db = sqlite3.connect(f"{folder}/basketball_analyzer.db")
    with db:
        db.execute("update courtside_videos set n_frames = ?", (N_FRAMES,))
        db.execute("update videos set resolution = '1920x1080'")
    bucket = Path(folder) / "basketball-analyzer"
    for name in ("jobs", "results"):
        (bucket / name).mkdir(parents=True, exist_ok=True)
    os.link(results, bucket / "results/bench.json")
    manifest = {"job_id": "bench", "video_id": 1, "status": "completed", "created_at": "2026-01-01T00:00:00Z",
                "parameters": {"sample_interval": 1, "confidence_threshold": 0.25}}
    (bucket / "jobs/bench.json").write_text(json.dumps(manifest))
    return [program, "import", "--all"], env


def measured(command, folder, env=None):
    """Wall seconds, CPU seconds and peak MiB of a child process."""
    started = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    assert status == 0, command
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--courtside", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--results", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        {"python": by_python, "duckdb": by_duckdb}[args.way](args.results, ".")
        return
    program = os.path.realpath(args.courtside)
    best = {}
    with tempfile.TemporaryDirectory() as root:
        results = f"{root}/results.json"
        write_results(results)
        print(f"{N_FRAMES * TRACKS} detections, {os.path.getsize(results) / 1e6:.0f} MB")
        for _ in range(args.rounds):
            for way in ("courtside", "python", "duckdb"):
                with tempfile.TemporaryDirectory(dir=root) as folder:
                    if way == "courtside":
                        command, env = prepare_courtside(program, folder, results)
                    else:
                        command, env = [sys.executable, os.path.realpath(__file__), "--courtside", program,
                                        "--way", way, "--results", results], None
                    best[way] = min(best.get(way, (1e9,)), measured(command, folder, env))
    print(f"{'':<34}{'wall s':>8}{'cpu s':>8}{'peak MiB':>10}{'wall ratio':>12}")
    names = {"courtside": "courtside import", "python": "json + sqlite3.executemany", "duckdb": "DuckDB read_json"}
    for way, (wall, cpu, peak) in best.items():
        ratio = wall / best["courtside"][0]
        print(f"{names[way]:<34}{wall:>8.2f}{cpu:>8.2f}{peak:>10.0f}{ratio:>12.2f}")


if __name__ == "__main__":
    main()
