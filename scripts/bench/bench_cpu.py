#!/usr/bin/env python3
"""Time PyTorch on the CPU with the layers of `courtside bench --layers`, and compare the two.

    bench_cpu.py                             print a table of milliseconds
    bench_cpu.py --json                      print {name: milliseconds}
    bench_cpu.py --only memory_attention_7   run one measurement (repeatable)
    bench_cpu.py --courtside target/release/courtside
                                             also run `PATH bench --layers --json` and print the ratio

f32, random weights, SDPA attention, inference mode; the best of `--repeat` runs after one warm-up. The layers have
the shapes of the real configuration and run on `--threads` threads. The clip is `fixtures/wide`, streamed from
decoded frames to post-processed masks. One thread can be faster than two on such a small clip, so the better of both is
used.

Needs the Python environment of scripts/reference/setup_reference.sh.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read when transformers is imported

import torch
from transformers import Sam3VideoConfig
from transformers.models.sam3 import modeling_sam3 as sam3
from transformers.models.sam3_tracker_video import modeling_sam3_tracker_video as tracker
from transformers.utils import logging

logging.disable_progress_bar()

GRID = 72
TOKENS = GRID * GRID
TOKENS_PER_POINTER = 4
ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "fixtures" / "wide"
sys.path.insert(0, str(ROOT / "scripts" / "reference"))  # for the package `parity`

Step = Callable[[], object]


def vit_layer(window: bool) -> Step:
    """One ViT layer, 72x72 tokens of 1024 channels: nine windows of 24x24, or global attention."""
    config = Sam3VideoConfig().detector_config.vision_config.backbone_config
    config._attn_implementation = "sdpa"
    layer = sam3.Sam3ViTLayer(config, window_size=config.window_size if window else 0).eval()
    x = torch.randn(1, GRID, GRID, config.hidden_size)
    return lambda: layer(x)


def memory_attention_layer(n_frames: int, n_pointers: int) -> Step:
    """One memory-attention layer for one object: 5184 queries over `n_frames` memories and the pointer tokens."""
    config = Sam3VideoConfig().tracker_config
    config._attn_implementation = "sdpa"
    config.memory_attention_num_layers = 1
    attention = tracker.Sam3TrackerVideoMemoryAttention(config).eval()
    n_pointer_tokens = n_pointers * TOKENS_PER_POINTER
    queries = torch.randn(1, 1, TOKENS, config.memory_attention_hidden_size)
    memory = torch.randn(1, 1, n_frames * TOKENS + n_pointer_tokens, config.memory_encoder_output_channels)
    positions = torch.randn_like(memory)
    rope = attention.rotary_emb(queries, attention.position_ids)
    layer = attention.layers[0]
    return lambda: layer(queries, memory, positions, rope, num_k_exclude_rope=n_pointer_tokens)


def clip() -> Step:
    """All of `fixtures/wide`, streamed from decoded frames, with post-processing."""
    from parity import checkpoint
    from parity.specs import wide

    spec = wide()
    model, processor = checkpoint.load(CLIP)
    video = spec.scene.video

    def step() -> None:
        session = processor.init_video_session(inference_device="cpu", dtype=torch.float32)
        processor.add_text_prompt(session, list(spec.prompts))
        for frame in video:
            inputs = processor(images=frame, device="cpu", return_tensors="pt")
            out = model(inference_session=session, frame=inputs.pixel_values[0])
            processor.postprocess_outputs(session, out, original_sizes=inputs.original_sizes)

    return step


BENCHES: dict[str, Callable[[], Step]] = {
    "vit_window": lambda: vit_layer(window=True),
    "vit_global": lambda: vit_layer(window=False),
    "memory_attention_7": lambda: memory_attention_layer(7, 16),
    "memory_attention_10": lambda: memory_attention_layer(10, 20),
    "clip_wide": clip,
}
"""Functions that prepare the step to time, by name; `courtside bench --layers --json` uses the same names."""


def best_ms(step: Step, repeat: int) -> float:
    """Milliseconds of the fastest of `repeat` runs, after one warm-up."""
    times = []
    with torch.inference_mode():
        for _ in range(repeat + 1):
            started = time.perf_counter()
            step()
            times.append(time.perf_counter() - started)
    return min(times[1:]) * 1000


def measure(name: str, threads: int, repeat: int) -> float:
    step = BENCHES[name]()
    if name != "clip_wide":
        torch.set_num_threads(threads)
        return best_ms(step, repeat)
    results = []
    for n in {1, threads}:
        torch.set_num_threads(n)
        results.append(best_ms(step, repeat))
    return min(results)


def courtside_ms(binary: Path, names: list[str]) -> dict[str, float]:
    """Run `courtside bench --layers --json`; returns {name: milliseconds}."""
    command = [str(binary), "bench", "--layers", "--json", "--repeat", "3", "--clip", str(CLIP)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with {run.returncode}:\n{run.stderr}")
    times = json.loads(run.stdout)
    return {name: times[name] for name in names if name in times}


def table(ours: dict[str, float], pytorch: dict[str, float]) -> str:
    """One line per measurement: both times, and PyTorch's over Courtside's."""
    lines = [f"{'':22}{'PyTorch ms':>12}" + (f"{'courtside ms':>14}{'ratio':>8}" if ours else "")]
    for name, ms in pytorch.items():
        line = f"{name:22}{ms:12.1f}"
        if name in ours:
            line += f"{ours[name]:14.1f}{ms / ours[name]:8.2f}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="run only this measurement")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--courtside", type=Path, help="program to compare with")
    args = parser.parse_args()

    names = args.only or list(BENCHES)
    pytorch = {name: round(measure(name, args.threads, args.repeat), 1) for name in names}
    ours = courtside_ms(args.courtside, names) if args.courtside else {}
    if not args.json:
        print(table(ours, pytorch))
    elif ours:
        ratios = {name: round(pytorch[name] / ms, 3) for name, ms in ours.items()}
        print(json.dumps({"pytorch_ms": pytorch, "courtside_ms": ours, "ratio": ratios}, indent=1))
    else:
        print(json.dumps(pytorch, indent=1))


if __name__ == "__main__":
    main()
