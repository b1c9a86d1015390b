#!/usr/bin/env python3
"""Time `courtside bench` and transformers' `Sam3VideoModel` on one GPU in one run, and write one table.

    bench_gpu.py                            print the table; also write target/bench_gpu/report.md and report.json
    bench_gpu.py --json                     print JSON instead
    bench_gpu.py --objects 1,5 --frames 50  other numbers of objects and frames
    bench_gpu.py --long 5000                also run Courtside for 5,000 frames with 12 objects: does memory grow?
    bench_gpu.py --long-theirs 2000         also run transformers for 2,000 frames with 5 objects, or until out of memory
    bench_gpu.py --device cpu --config tiny --frames 3 --objects 1,3 --only transformers
                                            try the script on a machine without a GPU

`scripts/bench/bench_gpu.sh` sets up the environment and runs this.

Both programs have random weights of the same configuration, so that the gated model is not needed. Random weights detect
nothing, so detections and tracks are prescribed; all arithmetic still runs.

transformers, timed on every frame (wall time, from the frame in host memory until the device is idle):
  * `Sam3VideoProcessor` on the device resizes and normalises a 1920x1080 RGB frame;
  * `Sam3VideoModel(inference_session, frame=...)`, bf16 and SDPA: vision encoder once, both necks, the detector for
    one prompt, N propagations with full memory, association, heuristics, one memory encoding of N objects;
  * `postprocess_outputs`: N masks at 1920x1080 and boxes. The boxes are downloaded; the masks stay on the device.
Not timed: creating the model, the text encoder (once per session, during the fill), the frames that fill the memory,
warm-up, compilation, decoding video. NMS, hole filling and speck removal need the package `kernels`; without it the
reference skips them and is slightly faster. The report states which was the case.

How transformers keeps N objects: a hook on the detector overwrites N queries with N disjoint disks at probability 1, and
all other queries with 0; a hook on the tracker overwrites the N masks and scores it returns with the same disks. Both run
in full first, and everything after them is the reference's own: frame 0 adds N objects, and later frames match each with
its detection, so that none is added, lost or suppressed. The fill reconditions on frames 1 to 3
(`recondition_every_nth_frame` is 1, afterwards 0) and continues until the pointers are full: 19 frames at the real
configuration. From then on every object attends to 4 conditioning and 6 recent frames of 5184 tokens and to 4 + 15
pointers of 4 tokens, 51,916 in total, as in `full_bank` in crates/sam3/src/tracker/per_object/stages.rs. Hooks count calls, and the run fails
if on any timed frame the vision encoder, detector or memory encoder does not run exactly once, or the memory attention
does not run N times with this number of tokens. (With trained weights the reference would gain four tokens every 16
frames, and drop one memory frame for six frames after each.)

transformers `compiled`: the same with `torch.compile` (static shapes) around each module in `PARTS`, after the fill. A
module that does not compile stays eager, with a note. Needs a C compiler and Python.h.

Courtside: `courtside bench --device D --config C --tracks N,... --frames F --json`; `courtside bench --help` describes
its frames. Its fps are those of complete frames (`frames`) if reported, and otherwise of the sum of its stages.

Stages are timed on separate frames after the timed ones, for transformers with CUDA events around the methods in
`STAGES`; `other` is the rest of the frame: association, heuristics, copies of the session's dictionaries.

Memory: `GPU used` is what the driver has allocated on the GPU (total - free), the largest of the samples; `allocated` is
`torch.cuda.max_memory_allocated`. transformers keeps something of every frame, so its memory depends on the number of
frames, and its growth has a column.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "reference"))  # for the package `parity`
WARM_UP_FRAMES = 5
STAGE_FRAMES = 10
LONG_OBJECTS = 12
LONG_EARLY_FRAME = 500
COMMON_STAGES = (
    "resize 1080p",
    "vision encoder",
    "detector neck",
    "detector",
    "tracker neck",
    "memory attention",
    "SAM head",
    "memory encoder",
)
"""Stages that both programs report."""
STAGES = (
    ("resize 1080p", "processor", "preprocess"),
    ("vision encoder", "model.detector_model.vision_encoder.backbone", "forward"),
    ("detector neck", "model.detector_model.vision_encoder.neck", "forward"),
    ("detector", "model.detector_model", "forward"),
    ("tracker neck", "model", "get_vision_features_for_tracker"),
    ("memory attention", "model.tracker_model", "_prepare_memory_conditioned_features"),
    ("SAM head", "model.tracker_model", "_single_frame_forward"),
    ("memory encoder", "model", "run_memory_encoder"),
    ("post-processing", "processor", "postprocess"),
)
"""Name of a stage, and the object and method that implement it in the reference."""
PARTS = (
    "detector_model.vision_encoder.backbone",
    "detector_model.vision_encoder.neck",
    "detector_model.detr_encoder",
    "detector_model.detr_decoder.layers",
    "detector_model.mask_decoder",
    "tracker_neck",
    "tracker_model.memory_attention",
    "tracker_model.mask_decoder",
    "tracker_model.memory_encoder",
)
"""Modules that the `compiled` variant compiles; of a list, each member. (The complete DETR decoder downloads sizes from
the device, which breaks the graph.)"""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- transformers ---------------------------------------------------------------------------------------------------


def configuration(name: str) -> object:
    """The `Sam3VideoConfig` called `real` or `tiny` (the shapes of `courtside bench --config tiny`), or of a config.json."""
    from transformers import Sam3VideoConfig

    if name == "real":
        return Sam3VideoConfig()
    if name != "tiny":
        return Sam3VideoConfig.from_json_file(name)
    grid, patch = 8, 14
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": grid * patch,
            "window_size": 4,
            "global_attn_indexes": [1, 3],
            "pretrain_image_size": 4 * patch,
        },
        "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
    }
    text = {"model_type": "clip_text_model", "vocab_size": 49408, "max_position_embeddings": 32, "hidden_act": "gelu"}
    text |= {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    detector = {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": text,
        "detr_encoder_config": {"num_layers": 2},
        "detr_decoder_config": {"num_layers": 2},
    }
    tracker = {
        "model_type": "sam3_tracker_video",
        "vision_config": vision,
        "image_size": grid * patch,
        "prompt_encoder_config": {"image_size": grid * patch},
        "memory_attention_rope_feat_sizes": [grid] * 2,
        "memory_attention_num_layers": 2,
    }
    return Sam3VideoConfig(detector_config=detector, tracker_config=tracker, low_res_mask_size=4 * grid)


class Reference:
    """The model with random weights, its processor, their device and type."""

    def __init__(self, args: argparse.Namespace) -> None:
        import torch
        from parity.tokenizer import make_tokenizer
        from transformers import Sam3ImageProcessor, Sam3VideoModel, Sam3VideoProcessor
        from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

        self.device = torch.device(args.device)
        self.dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[args.dtype]
        torch.manual_seed(0)
        config = configuration(args.config)
        model = Sam3VideoModel._from_config(config, attn_implementation="sdpa")
        self.model = model.to(self.device, dtype=self.dtype).eval()
        self.attention = sorted(attention_implementations(self.model))
        if self.attention != ["sdpa"]:
            raise SystemExit(f"error: some modules do not use sdpa: {self.attention}")
        side = config.tracker_config.image_size
        sizes = {"size": {"height": side, "width": side}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        mask_side = {"height": config.low_res_mask_size, "width": config.low_res_mask_size}
        self.processor = Sam3VideoProcessor(
            image_processor=Sam3ImageProcessor(**sizes, mask_size=mask_side),
            video_processor=Sam2VideoVideoProcessor(**sizes),
            tokenizer=make_tokenizer(),
        )
        tracker = config.tracker_config
        self.mask_side = config.low_res_mask_size
        self.n_cond_frames = tracker.max_cond_frame_num
        recent_memories, recent_pointers = tracker.num_maskmem - 1, tracker.max_object_pointers_in_encoder - 1
        self.fill_frames = self.n_cond_frames + max(recent_memories, recent_pointers)
        grid = tracker.vision_config.backbone_feature_sizes[-1]
        splits = tracker.vision_config.fpn_hidden_size // tracker.memory_encoder_output_channels
        self.pointer_tokens = (self.n_cond_frames + recent_pointers) * splits
        self.memory_tokens = (self.n_cond_frames + recent_memories) * grid[0] * grid[1] + self.pointer_tokens
        self.compiled: dict[str, list[Callable]] = {}

    def preprocess(self, frame: object) -> object:
        return self.processor(images=frame, device=self.device, return_tensors="pt")

    def postprocess(self, session: object, out: object, sizes: object) -> object:
        post = self.processor.postprocess_outputs(session, out, original_sizes=sizes)
        return post | {"boxes": post["boxes"].cpu()}

    def session(self) -> object:
        session = self.processor.init_video_session(inference_device=self.device, dtype=self.dtype)
        return self.processor.add_text_prompt(session, "basketball player")

    def step(self, session: object, frame: object, frame_idx: int) -> int:
        """Process one frame, from bytes to masks and boxes; returns the number of objects. After a failure, the same
        index can be processed again."""
        inputs = self.preprocess(frame)
        out = self.model(inference_session=session, frame=inputs.pixel_values[0], frame_idx=frame_idx)
        return len(self.postprocess(session, out, inputs.original_sizes)["boxes"])

    def part(self, path: str) -> object:
        """The object at `path`: `processor` is this object, `model.a.b` a module."""
        return self if path == "processor" else functools.reduce(getattr, path.split("."), self)

    def synchronize(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize()


def attention_implementations(model: object) -> set[str]:
    """The attention implementations in the submodels' configurations."""
    return {m.config._attn_implementation for m in model.modules() if hasattr(m, "config")}


def disks(n: int, side: int, device: object) -> object:
    """Mask logits [n, side, side] of n disjoint disks in a square grid."""
    import torch

    columns = int(n**0.5 + 0.9999)
    cell = side / columns
    y, x = torch.meshgrid(torch.arange(side, device=device), torch.arange(side, device=device), indexing="ij")
    centres = [((i % columns + 0.5) * cell, (i // columns + 0.5) * cell) for i in range(n)]
    distances = torch.stack([((x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2).sqrt() for cx, cy in centres])
    return (0.35 * cell - distances).clamp(-10, 10)


def random_frames(n: int = 8) -> list:
    """`n` different 1920x1080 RGB frames."""
    import numpy as np

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, 68, 120, 3), dtype=np.uint8)
    return [np.ascontiguousarray(c.repeat(16, 0).repeat(16, 1)[:1080]) for c in coarse]


@dataclass
class Witness:
    """Counts the modules that ran on a frame, and the memory tokens they ran over, and checks both."""

    calls: Counter = field(default_factory=Counter)
    tokens: set = field(default_factory=set)
    tracked: object = None
    """The masks that the tracker computed, before they are overwritten. A hook sets this if it is None."""

    def reset(self) -> None:
        self.calls.clear()
        self.tokens.clear()

    def check(self, reference: Reference, n_objects: int, n_out: int, frame: int) -> None:
        expected_calls = {"vision": 1, "detector": 1, "memory attention": n_objects, "memory encoder": 1}
        expected_tokens = {(reference.memory_tokens, reference.pointer_tokens)}
        if n_out != n_objects or self.calls != expected_calls or self.tokens != expected_tokens:
            raise SystemExit(
                f"error: frame {frame} did not do the work of {n_objects} objects with full memory: {n_out} objects, "
                f"calls {dict(self.calls)}, (memory tokens, pointer tokens) {self.tokens} instead of {expected_tokens}"
            )


@contextmanager
def prescribed(reference: Reference, n_objects: int) -> Iterator[Witness]:
    """Overwrite detections and tracks with `n_objects` disks, and count what runs."""
    import torch

    model, witness = reference.model, Witness()
    masks = disks(n_objects, reference.mask_side, reference.device).to(reference.dtype)

    def detect(_module: object, _inputs: object, out: object) -> None:
        witness.calls["detector"] += 1
        out.pred_logits.fill_(-10.0)
        out.pred_logits[0, :n_objects] = 10.0
        out.presence_logits.fill_(10.0)
        out.pred_masks[0, :n_objects] = masks

    def track(_module: object, _inputs: object, out: object) -> None:
        if len(out.pred_masks) != n_objects:
            raise SystemExit(f"error: the session has {len(out.pred_masks)} objects instead of {n_objects}")
        witness.tracked = out.pred_masks.clone() if witness.tracked is None else witness.tracked
        out.pred_masks.copy_(masks.view_as(out.pred_masks))
        out.object_score_logits.fill_(5.0)

    def attend(_module: object, _inputs: object, kwargs: dict) -> None:
        witness.calls["memory attention"] += 1
        witness.tokens.add((kwargs["memory"].shape[0], kwargs["num_object_pointer_tokens"]))

    def count(name: str) -> Callable:
        return lambda *_: witness.calls.update([name])

    queries = model.config.detector_config.detr_decoder_config.num_queries
    if n_objects > queries:
        raise SystemExit(f"error: this configuration has {queries} queries, too few for {n_objects} objects")
    hooks = [
        model.detector_model.register_forward_hook(detect),
        model.tracker_model.register_forward_hook(track),
        model.tracker_model.memory_attention.register_forward_pre_hook(attend, with_kwargs=True),
        model.detector_model.vision_encoder.register_forward_hook(count("vision")),
        model.tracker_model.memory_encoder.register_forward_hook(count("memory encoder")),
    ]
    every = model.recondition_every_nth_frame
    try:
        with torch.inference_mode():
            yield witness
    finally:
        model.recondition_every_nth_frame = every
        for hook in hooks:
            hook.remove()


@contextmanager
def timed_stages(reference: Reference, spans: list) -> Iterator[None]:
    """Append (stage, start, end) to `spans` for every call of a stage's method."""
    import torch

    def mark() -> object:
        if reference.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def timed(name: str, original: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            start = mark()
            result = original(*args, **kwargs)
            spans.append((name, start, mark()))
            return result

        return call

    with replaced_attributes() as replace:
        for name, path, method in STAGES:
            replace(reference.part(path), method, timed(name, getattr(reference.part(path), method)))
        yield


@contextmanager
def replaced_attributes() -> Iterator[Callable[[object, str, object], None]]:
    """Yield a function that sets an attribute; all attributes are restored at the end."""
    before = []

    def replace(owner: object, name: str, value: object) -> None:
        before.append((owner, name, name in vars(owner), vars(owner).get(name)))
        setattr(owner, name, value)

    try:
        yield replace
    finally:
        for owner, name, was_set, value in reversed(before):
            if was_set:
                setattr(owner, name, value)
            else:
                delattr(owner, name)


def span_ms(start: object, end: object) -> float:
    return (end - start) * 1e3 if isinstance(start, float) else start.elapsed_time(end)


def stage_times(reference: Reference, frame: Callable[[], None]) -> list[dict]:
    """Median milliseconds of each stage over `STAGE_FRAMES` frames, and of the rest as `other`."""
    frames = []
    for _ in range(STAGE_FRAMES):
        spans: list = []
        with timed_stages(reference, spans):
            started = time.perf_counter()
            frame()
            total = (time.perf_counter() - started) * 1e3
        times: Counter = Counter()
        for name, start, end in spans:
            times[name] += span_ms(start, end)
        frames.append({**times, "other": max(0.0, total - sum(times.values()))})
    names = [*(name for name, _, _ in STAGES), "other"]
    return [{"name": name, "ms": statistics.median(f.get(name, 0.0) for f in frames)} for name in names]


def device_memory(reference: Reference) -> dict[str, int] | None:
    """Bytes that the driver has allocated, and the part that is in tensors."""
    import torch

    if reference.device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info()
    return {"bytes": total - free, "allocated": torch.cuda.memory_allocated()}


def compile_parts(reference: Reference, replace: Callable, frame: Callable[[], None], notes: list[str]) -> None:
    """Replace `forward` methods by compiled ones, each tried on a frame; those that fail stay eager from then on."""
    import torch

    torch._dynamo.config.recompile_limit = 64  # some functions are shared by many modules
    for path in PARTS:
        part = reference.part(f"model.{path}")
        modules = list(part) if isinstance(part, torch.nn.ModuleList) else [part]
        if path not in reference.compiled:
            reference.compiled[path] = [torch.compile(m.forward, dynamic=False) for m in modules]
        eager = [m.forward for m in modules]
        for module, forward in zip(modules, reference.compiled[path], strict=False):
            replace(module, "forward", forward)
        try:
            frame()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # the compiler raises many types
            for module, forward in zip(modules, eager, strict=True):
                module.forward = forward
            reference.compiled[path] = []
            first_line = (str(error).strip().splitlines() or [""])[0][:200]
            notes.append(f"torch.compile of {path} failed, it stays eager: {type(error).__name__}: {first_line}")


def measure(reference: Reference, variant: str, n_objects: int, n_frames: int, notes: list[str]) -> dict:
    """Measure one variant with one number of objects: fill, warm-up, `n_frames` frames, stages. Running out of memory is
    a result."""
    import torch

    cuda = reference.device.type == "cuda"
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model, images = reference.model, random_frames()
    result: dict = {"objects": n_objects, "variant": variant, "error": None}
    times: list[float] = []
    memory: list[dict] = []
    done = 0
    session = reference.session()

    with prescribed(reference, n_objects) as witness, replaced_attributes() as replace:

        def frame() -> None:
            nonlocal done
            model.recondition_every_nth_frame = 1 if done < reference.n_cond_frames else 0
            witness.reset()
            n_out = reference.step(session, images[done % len(images)], done)
            reference.synchronize()
            if done >= reference.fill_frames:
                witness.check(reference, n_objects, n_out, done)
            done += 1

        try:
            for _ in range(reference.fill_frames):
                frame()
            witness.tracked = None
            frame()
            if not torch.isfinite(witness.tracked).all():
                notes.append("the tracker's masks are not finite with these random weights")
            if variant == "compiled":
                compile_parts(reference, replace, frame, notes)
            for _ in range(WARM_UP_FRAMES):
                frame()
            gc.collect()
            for i in range(n_frames):
                started = time.perf_counter()
                frame()
                times.append((time.perf_counter() - started) * 1e3)
                if cuda and (i % max(1, n_frames // 20) == 0 or i == n_frames - 1):
                    memory.append({"frame": done, **device_memory(reference)})
            result["stages"] = stage_times(reference, frame)
        except torch.OutOfMemoryError:
            if len(times) < n_frames:
                result["error"] = f"out of memory at frame {done}"
    if times:
        result["ms_per_frame"] = statistics.fmean(times)
        result["fps"] = 1e3 / result["ms_per_frame"]
        p95 = sorted(times)[min(len(times) - 1, int(0.95 * len(times)))]
        result["frames"] = {"n": len(times), "median_ms": statistics.median(times), "p95_ms": p95, "fps": result["fps"]}
        result["frames"]["device_memory"] = memory
    if cuda:
        result["peak_allocated_bytes"] = torch.cuda.max_memory_allocated()
        result["growth_bytes_per_frame"] = growth(memory)
    return result


def growth(memory: list[dict]) -> float | None:
    """Bytes that each frame adds to the memory in tensors; None with fewer than two samples."""
    if len(memory) < 2:
        return None
    first, last = memory[0], memory[-1]
    return (last["allocated"] - first["allocated"]) / (last["frame"] - first["frame"])


def matmul_gflops(reference: Reference) -> float:
    """GFLOP/s of a square matrix product (8192 on a GPU, 1024 on a CPU): the best of ten runs after three warm-ups."""
    import torch

    cuda = reference.device.type == "cuda"
    n = 8192 if cuda else 1024
    a, b = (torch.randn(n, n, device=reference.device, dtype=reference.dtype) for _ in range(2))
    best = float("inf")
    for i in range(13):
        if cuda:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            torch.matmul(a, b)
            end.record()
            torch.cuda.synchronize()
            ms = start.elapsed_time(end)
        else:
            started = time.perf_counter()
            torch.matmul(a, b)
            ms = (time.perf_counter() - started) * 1e3
        if i >= 3:
            best = min(best, ms)
    return 2 * n**3 / best / 1e6


def run_transformers(args: argparse.Namespace, report: dict, save: Callable[[], None]) -> None:
    """Measure transformers into `report["transformers"]`, calling `save` after each result."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch
    import torchvision
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"error: torch (CUDA {torch.version.cuda}) finds no GPU; the driver may be too old")
    say(f"transformers: creating random weights of {args.config} ...")
    reference = Reference(args)
    result = report["transformers"] = {
        "versions": {m.__name__: m.__version__ for m in (torch, torchvision, transformers)},
        "cuda": torch.version.cuda,
        "dtype": args.dtype,
        "attention": reference.attention[0],
        "memory_tokens": reference.memory_tokens,
        "pointer_tokens": reference.pointer_tokens,
        "kernels_package": importlib.util.find_spec("kernels") is not None,
        "matmul_gflops": matmul_gflops(reference),
        "counts": [],
        "notes": [],
    }
    for variant in args.variants:
        for n_objects in args.objects:
            say(f"transformers, {variant}: {n_objects} objects, {args.frames} frames ...")
            try:
                count = measure(reference, variant, n_objects, args.frames, result["notes"])
            except Exception as error:
                if variant == "eager":
                    raise
                count = {"objects": n_objects, "variant": variant, "error": f"{type(error).__name__}: {error}"[:300]}
            say(f"  {count['error'] or format(count['fps'], '.2f') + ' fps'}")
            result["counts"].append(count)
            save()
    if args.long_theirs:
        say(f"transformers: {args.long_theirs} frames at {args.long_theirs_objects} objects ...")
        result["long"] = measure(reference, "eager", args.long_theirs_objects, args.long_theirs, result["notes"])
        save()


# --- Courtside ------------------------------------------------------------------------------------------------------


def run_courtside(args: argparse.Namespace, objects: list[int], n_frames: int) -> dict:
    """The JSON report of `courtside bench`."""
    command = [str(args.courtside), "bench", "--device", args.device, "--config", args.config]
    command += ["--tracks", ",".join(map(str, objects)), "--frames", str(n_frames), "--json", *args.courtside_arg]
    say(f"$ {' '.join(command)}")
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"error: courtside bench failed with status {run.returncode}; its message is above")
    try:
        return json.loads(run.stdout)
    except ValueError:
        raise SystemExit(f"error: courtside bench printed no JSON:\n{run.stdout[:500]}") from None


def gpu_state() -> dict | None:
    """The state of the GPU according to nvidia-smi; None without it."""
    if shutil.which("nvidia-smi") is None:
        return None
    fields = "name,driver_version,memory.total,memory.used,clocks.sm,temperature.gpu,power.draw,power.limit"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    command += ["-i", visible] if visible else []
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0 or not run.stdout.strip():
        return None
    return dict(zip(fields.split(","), map(str.strip, run.stdout.splitlines()[0].split(",")), strict=False))


# --- the report -----------------------------------------------------------------------------------------------------


def our_fps(count: dict) -> float:
    return (count.get("frames") or count)["fps"]


def used_bytes(count: dict, whole: dict) -> int | None:
    """The most memory that the driver had allocated with this number of objects, or else in the complete run."""
    samples = [m["bytes"] for m in (count.get("frames") or {}).get("device_memory") or []]
    return max(samples, default=None) or whole.get("device_memory_bytes")


def row(cells: list[object]) -> str:
    return "| " + " | ".join("-" if c is None else str(c) for c in cells) + " |"


def number(value: float | None, digits: int = 1) -> str | None:
    return None if value is None else f"{value:,.{digits}f}"


def scaled(value: float | None, by: float, digits: int = 1) -> str | None:
    return None if value is None else number(value / by, digits)


def pair(first: str | None, second: str | None) -> str | None:
    return None if first is None and second is None else f"{first or '-'} / {second or '-'}"


def ms_pair(count: dict) -> str | None:
    frames = count.get("frames")
    if frames:
        return pair(number(frames["median_ms"]), number(frames["p95_ms"]))
    return number(count.get("ms_per_frame"))


def markdown(report: dict) -> str:
    """The report as Markdown: facts, a table of fps, tables of stages and of long runs, notes."""
    mine, other = report.get("courtside") or {}, report.get("transformers") or {}
    our_counts = {c["objects"]: c for c in mine.get("counts", [])}
    their_counts = {(c["variant"], c["objects"]): c for c in other.get("counts", [])}
    variants = list(dict.fromkeys(v for v, _ in their_counts))
    lines = [f"# Courtside and transformers, {report['config']} configuration, {report['device']}", ""]
    lines += [f"* {fact}" for fact in facts(report, mine, other)]
    lines += ["", *fps_table(report, mine, our_counts, their_counts, variants)]
    for n in report["objects"]:
        columns = [our_counts.get(n), *(their_counts.get((v, n)) for v in variants)]
        if any(c and c.get("stages") for c in columns):
            lines += ["", *stage_table(n, columns, ["courtside", *(f"transformers {v}" for v in variants)])]
    lines += long_table(report)
    errors = [f"transformers {c['variant']}, {c['objects']} objects: {c['error']}" for c in other.get("counts", [])
              if c["error"]]
    notes = [*dict.fromkeys(other.get("notes", [])), *errors]
    lines += ["", "Notes:", "", *(f"* {note}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def facts(report: dict, mine: dict, other: dict) -> Iterator[str]:
    now = report["card"]
    if now:
        yield f"{now['name']}, {now['memory.total']} MiB, driver {now['driver_version']}, {now['power.limit']} W"
        yield f"before: {now['memory.used']} MiB in use, {now['temperature.gpu']} °C, {now['clocks.sm']} MHz"
    yield f"{report['frames']} frames of 1920x1080, one prompt, full memory; random weights in both programs"
    if mine.get("matmul_gflops"):
        yield f"courtside: matrix product {mine['matmul_gflops'] / 1e3:,.1f} TFLOP/s"
        if mine.get("kernels"):
            yield f"courtside: {mine['kernels']} kernels (select with --courtside-arg=--kernels=library|fused)"
        if mine.get("first_frame_ms") is not None:
            yield f"courtside: first frame {mine['first_frame_ms']:,.0f} ms"
    if other:
        versions = ", ".join(f"{k} {v}" for k, v in other["versions"].items())
        yield f"{versions}, CUDA {other['cuda']}, {other['dtype']}, {other['attention']}"
        yield f"torch: matrix product {other['matmul_gflops'] / 1e3:,.1f} TFLOP/s"
        tokens, pointers = other["memory_tokens"], other["pointer_tokens"]
        yield f"transformers: {tokens:,} memory tokens per object, {pointers} of them for pointers"
        kernels = "present" if other["kernels_package"] else "absent: no NMS, hole filling and speck removal"
        yield f"transformers: `kernels` package {kernels}"


def fps_table(report: dict, mine: dict, our_counts: dict, their_counts: dict, variants: list[str]) -> Iterator[str]:
    head = ["objects", "courtside fps", "median / p95 ms", "GPU used GB"]
    for v in variants:
        head += [f"transformers {v} fps", "median / p95 ms", "ratio", "GPU used / allocated GB", "growth MB per frame"]
    yield row(head)
    yield "|" + "---|" * len(head)
    for n in report["objects"]:
        count = our_counts.get(n)
        fps = our_fps(count) if count else None
        cells = [n, number(fps, 2)]
        cells += [ms_pair(count), scaled(used_bytes(count, mine), 1e9, 2)] if count else [None, None]
        for v in variants:
            them = their_counts.get((v, n), {})
            their_fps = None if them.get("error") else them.get("fps")
            used = scaled(used_bytes(them, {}), 1e9, 2)
            cells += [
                "failed" if them.get("error") else number(their_fps, 2),
                ms_pair(them),
                number(fps / their_fps, 2) if fps and their_fps else None,
                pair(used, scaled(them.get("peak_allocated_bytes"), 1e9, 2)),
                scaled(them.get("growth_bytes_per_frame"), 1e6),
            ]
        yield row(cells)
    yield ""
    yield "Ratio: courtside's fps over transformers' fps; above 1 is faster than transformers."


def stage_table(n: int, columns: list[dict | None], names: list[str]) -> Iterator[str]:
    times = [{s["name"]: s["ms"] for s in (c or {}).get("stages") or []} for c in columns]
    stages = list(dict.fromkeys([*COMMON_STAGES, *(name for t in times for name in t)]))
    yield row([f"ms with {n} objects", *names])
    yield "|" + "---|" * (1 + len(names))
    for stage in stages:
        if any(stage in t for t in times):
            yield row([stage, *(number(t.get(stage), 2) for t in times)])


def long_table(report: dict) -> list[str]:
    """The table of memory early and late in the long runs; no lines if there were none."""
    runs = []
    if report.get("courtside_long"):
        runs.append(("courtside", report["courtside_long"]["counts"][0]))
    if (report.get("transformers") or {}).get("long"):
        runs.append(("transformers", report["transformers"]["long"]))
    lines = []
    for name, count in runs:
        frames = count.get("frames") or {}
        samples = frames.get("device_memory") or []
        if not samples:
            cells = [name, count["objects"], frames.get("n"), None, None, None, number(frames.get("fps"), 2)]
            lines.append(row([*cells, count.get("error")]))
            continue
        early = min(samples, key=lambda m: abs(m["frame"] - LONG_EARLY_FRAME))
        late = samples[-1]
        cells = [name, count["objects"], frames["n"]]
        cells += [f"{m['bytes'] / 1e9:.3f} (frame {m['frame']})" for m in (early, late)]
        cells += [number((late["bytes"] - early["bytes"]) / 1e6), number(frames["fps"], 2), count.get("error")]
        lines.append(row(cells))
    if not lines:
        return []
    head = ["long run", "objects", "frames", "GPU used GB early", "late", "difference MB", "fps", "error"]
    return ["", row(head), "|" + "---|" * len(head), *lines]


def arguments() -> argparse.Namespace:
    counts = lambda text: [int(n) for n in text.split(",")]  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--courtside", type=Path, default=ROOT / "target/cuda/release/courtside", help="program")
    parser.add_argument("--courtside-arg", action="append", default=[], metavar="=ARG", help="additional argument for it")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--config", default="real", metavar="real|tiny|FILE")
    parser.add_argument("--objects", type=counts, default=[1, 5, 12, 16], metavar="N,N,...")
    parser.add_argument("--frames", type=int, default=200, metavar="N", help="timed frames per number of objects")
    parser.add_argument("--only", choices=["courtside", "transformers"], help="run one program only")
    parser.add_argument("--variants", default="eager,compiled", help="variants of transformers [default: both]")
    parser.add_argument("--dtype", choices=["bf16", "f32"], help="type in transformers [default: bf16, on a CPU f32]")
    parser.add_argument("--long", type=int, metavar="N", help=f"run Courtside for N frames with {LONG_OBJECTS} objects")
    parser.add_argument("--long-theirs", type=int, metavar="N", help="run transformers for N frames, or until out of memory")
    parser.add_argument("--long-theirs-objects", type=int, default=5, metavar="N")
    parser.add_argument("--out", type=Path, default=ROOT / "target/bench_gpu", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    args = parser.parse_args()
    args.variants = args.variants.split(",")
    if set(args.variants) - {"eager", "compiled"}:
        parser.error("--variants: eager, compiled, or both separated by a comma")
    if min([*args.objects, args.frames]) < 1:
        parser.error("--objects and --frames: at least 1")
    args.dtype = args.dtype or ("bf16" if args.device == "cuda" else "f32")
    if args.only != "transformers" and not args.courtside.is_file():
        parser.error(f"{args.courtside} not found: build it with scripts/cuda/build_cuda.sh, or pass --courtside PATH")
    return args


def main() -> None:
    args = arguments()
    start = gpu_state() if args.device == "cuda" else None
    report: dict = {
        "config": args.config,
        "device": start["name"] if start else platform.processor() or args.device,
        "objects": args.objects,
        "frames": args.frames,
        "card": start,
    }

    def save() -> None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
        (args.out / "report.md").write_text(markdown(report))

    if args.only != "transformers":  # first, while this process has no GPU memory
        report["courtside"] = run_courtside(args, args.objects, args.frames)
        save()
        if args.long:
            report["courtside_long"] = run_courtside(args, [LONG_OBJECTS], args.long)
            save()
    if args.only != "courtside":
        run_transformers(args, report, save)
    report["card_after"] = gpu_state() if args.device == "cuda" else None
    save()
    print(json.dumps(report, indent=1) if args.json else markdown(report), end="\n" if args.json else "")
    say(f"written to {args.out}/report.md and report.json")


if __name__ == "__main__":
    main()
