#!/usr/bin/env python3
"""Compare `courtside track` with the reference on random configurations and random weights.

    compare_random.py --courtside target/release/courtside            seeds 1 to 10
    compare_random.py --courtside target/release/courtside --seeds 40-60

Each seed draws a configuration (grid, patch, window, heads, layers, activations, memory sizes, thresholds and
switches of the complete pipeline), fills it with random weights, renders a clip of moving blobs, and runs the reference
and `courtside track --compat reference[-kernels]` on it in both modes. Ids and boxes must be equal on every frame, and
mask logits within 5e-2. Random mask logits are near zero, so that a single pixel can differ by rounding: investigate a
seed that differs before you call it a bug. Exits with 1 if any seed differs.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from parity.cv_utils import kernels
from parity.tokenizer import make_tokenizer
from safetensors.torch import load_file, save_file
from transformers import Sam3ImageProcessor, Sam3VideoConfig, Sam3VideoModel, Sam3VideoProcessor
from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

WIDTH = 128
"""Width of neck, DETR and tracker: the least that the reference supports with its memories of 64 channels."""
LOGIT_TOLERANCE = 5e-2
PROMPTS = ["ball", "box"]


def vision(rng: random.Random, grid: int, patch: int) -> dict:
    heads = rng.choice([2, 4])
    layers = rng.choice([2, 3, 4])
    width = heads * rng.choice([16, 24, 32])
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": grid * patch,
        "patch_size": patch,
        "window_size": rng.choice([2, 3, 4]),
        "global_attn_indexes": sorted(rng.sample(range(layers), rng.choice([1, 2]))),
        "pretrain_image_size": rng.choice([2, 3, 4, grid, 12]) * patch,
        "rope_parameters": {"rope_type": "axial", "rope_theta": rng.choice([100.0, 10000.0])},
    }
    sizes = [[scale * grid] * 2 for scale in (4, 2, 1)]
    return {"backbone_config": backbone, "fpn_hidden_size": WIDTH, "backbone_feature_sizes": sizes}


def detector(rng: random.Random, vision_config: dict, vocab: int) -> dict:
    act = lambda: rng.choice(["gelu", "relu"])  # noqa: E731
    heads = lambda: rng.choice([2, 4, 8])  # noqa: E731
    return {
        "model_type": "sam3",
        "vision_config": vision_config,
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": vocab,
            "hidden_size": 64,
            "intermediate_size": 96,
            "projection_dim": 32,
            "num_hidden_layers": rng.choice([1, 2]),
            "num_attention_heads": rng.choice([2, 4]),
            "max_position_embeddings": rng.choice([32, 40]),
            "hidden_act": act(),
            "bos_token_id": vocab - 2,
            "eos_token_id": vocab - 1,
            "pad_token_id": vocab - 1,
        },
        "geometry_encoder_config": {"hidden_size": WIDTH, "num_layers": 1, "intermediate_size": 96, "roi_size": 3},
        "detr_encoder_config": {
            "hidden_size": WIDTH,
            "num_layers": rng.choice([1, 2]),
            "num_attention_heads": heads(),
            "intermediate_size": 96,
            "hidden_act": act(),
        },
        "detr_decoder_config": {
            "hidden_size": WIDTH,
            "num_layers": rng.choice([1, 2, 3]),
            "num_attention_heads": heads(),
            "intermediate_size": 80,
            "num_queries": rng.choice([5, 9]),
            "hidden_act": act(),
        },
        "mask_decoder_config": {
            "hidden_size": WIDTH,
            "num_attention_heads": heads(),
            "num_upsampling_stages": rng.choice([2, 3]),
        },
    }


def tracker(rng: random.Random, vision_config: dict, grid: int, patch: int) -> dict:
    kernel = rng.choice([3, 7])
    return {
        "model_type": "sam3_tracker_video",
        "vision_config": vision_config,
        "image_size": grid * patch,
        "prompt_encoder_config": {
            "hidden_size": WIDTH,
            "image_size": grid * patch,
            "patch_size": patch,
            "mask_input_channels": rng.choice([8, 16]),
        },
        "mask_decoder_config": {
            "hidden_size": WIDTH,
            "mlp_dim": 64,
            "iou_head_hidden_dim": rng.choice([32, WIDTH]),
            "iou_head_depth": rng.choice([2, 3, 4]),
            "num_hidden_layers": rng.choice([1, 2, 3]),
            "num_attention_heads": rng.choice([2, 4, 8]),
            "attention_downsample_rate": rng.choice([1, 2]),
            "num_multimask_outputs": rng.choice([2, 3]),
            "dynamic_multimask_via_stability": rng.random() < 0.6,
            "dynamic_multimask_stability_thresh": rng.choice([0.5, 0.98]),
        },
        "memory_attention_hidden_size": WIDTH,
        "memory_attention_num_layers": rng.choice([1, 2]),
        "memory_attention_num_attention_heads": rng.choice([1, 2]),
        "memory_attention_downsample_rate": rng.choice([1, 2]),
        "memory_attention_feed_forward_hidden_size": 96,
        "memory_attention_feed_forward_hidden_act": rng.choice(["gelu", "relu"]),
        "memory_attention_rope_feat_sizes": [grid, grid],
        "memory_encoder_hidden_size": WIDTH,
        "mask_downsampler_embed_dim": WIDTH,
        "mask_downsampler_stride": rng.choice([2, 4]),
        "memory_fuser_embed_dim": WIDTH,
        "memory_fuser_intermediate_dim": 64,
        "memory_fuser_num_layers": rng.choice([1, 2]),
        "memory_fuser_kernel_size": kernel,
        "memory_fuser_padding": kernel // 2,
        "num_maskmem": rng.choice([1, 2, 4, 7]),
        "max_cond_frame_num": rng.choice([-1, 1, 2, 4]),
        "max_object_pointers_in_encoder": rng.choice([2, 6, 16]),
        "enable_temporal_pos_encoding_for_object_pointers": rng.random() < 0.7,
        "enable_occlusion_spatial_embedding": rng.random() < 0.7,
        "multimask_output_in_sam": rng.random() < 0.7,
        "multimask_output_for_tracking": rng.random() < 0.7,
        "multimask_min_pt_num": rng.choice([0, 0, 1]),
        "sigmoid_scale_for_mem_enc": rng.choice([20.0, 10.0]),
    }


def thresholds(rng: random.Random) -> dict:
    delay = rng.choice([0, 4, 6])
    return {
        "hotstart_delay": delay,
        "hotstart_unmatch_thresh": 3,
        "hotstart_dup_thresh": rng.choice([2, 3]),
        "recondition_every_nth_frame": rng.choice([0, 1, 2, 3]),
        "recondition_on_trk_masks": rng.random() < 0.5,
        "init_trk_keep_alive": rng.choice([0, 2]),
        "max_trk_keep_alive": 3,
        "suppress_unmatched_only_within_hotstart": rng.random() < 0.5,
        "decrease_trk_keep_alive_for_empty_masklets": rng.random() < 0.5,
        "high_conf_thresh": 0.1,
        "high_iou_thresh": rng.choice([0.1, 0.3]),
        "score_threshold_detection": 0.2,
        "new_det_thresh": rng.choice([0.21, 0.3]),
        "assoc_iou_thresh": rng.choice([0.1, 0.3]),
        "trk_assoc_iou_thresh": rng.choice([0.2, 0.4]),
        "suppress_overlapping_based_on_recent_occlusion_threshold": rng.choice([0.0, 0.3, 0.7]),
        "fill_hole_area": rng.choice([0, 4, 16]),
        "max_num_objects": rng.choice([4, 8, 10000]),
    }


def randomise(model: Sam3VideoModel) -> None:
    """Set weights scaled by fan-in, such that detection and object scores are on both sides of their thresholds."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_embedding = "embed" in name.split(".")[-2]
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5 if is_embedding else 1 / math.sqrt(parameter[0].numel()))
            else:
                parameter.normal_(1.0 if name.endswith("weight") else 0.0, 0.1)
        model.detector_model.detr_decoder.presence_head.layer3.bias.fill_(3.0)
        model.detector_model.dot_product_scoring.query_proj.weight.mul_(2.0)
        model.tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(0.5)


def make_model(seed: int, folder: Path) -> tuple[Sam3VideoModel, Sam3VideoProcessor, random.Random]:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    grid, patch = rng.choice([4, 5, 6, 8, 9]), rng.choice([8, 10, 14, 16])
    tokenizer = make_tokenizer()
    vision_config = vision(rng, grid, patch)
    config = Sam3VideoConfig(
        detector_config=detector(rng, vision_config, len(tokenizer)),
        tracker_config=tracker(rng, vision_config, grid, patch),
        low_res_mask_size=4 * grid,
        **thresholds(rng),
    )
    model = Sam3VideoModel(config).eval()
    randomise(model)
    model.config.save_pretrained(folder)
    save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    common = {"size": {"height": grid * patch, "width": grid * patch}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processor = Sam3VideoProcessor(
        image_processor=Sam3ImageProcessor(**common, mask_size={"height": 4 * grid, "width": 4 * grid}),
        video_processor=Sam2VideoVideoProcessor(**common),
        tokenizer=tokenizer,
    )
    processor.save_pretrained(folder)
    return model, processor, rng


def make_clip(seed: int, rng: random.Random, path: Path) -> np.ndarray:
    """A clip as [T, H, W, 3] u8; also written losslessly to `path`."""
    height, width = rng.choice([(60, 80), (110, 70), (75, 121)])
    noise = np.random.default_rng(seed)
    ys, xs = np.mgrid[0:height, 0:width]
    blobs = [
        (noise.uniform(0, width), noise.uniform(0, height), *noise.uniform(-4, 4, 2), noise.uniform(6, 18),
         noise.uniform(0, 255, 3))
        for _ in range(5)
    ]  # fmt: skip
    frames = []
    for t in range(rng.choice([8, 12])):
        frame = 90 + noise.normal(0, 4, (height, width, 3))
        for x, y, dx, dy, radius, colour in blobs:
            frame[(xs - x - dx * t) ** 2 + (ys - y - dy * t) ** 2 < radius**2] = colour
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    video = np.stack(frames)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "10", "-i", "-"]
    command = ["ffmpeg", "-y", "-v", "error", *raw, "-c:v", "libx264rgb", "-qp", "0", str(path)]
    subprocess.run(command, input=video.tobytes(), check=True)
    return video


def run_reference(model: Sam3VideoModel, processor: Sam3VideoProcessor, video: np.ndarray, prompts: list[str], streaming: bool):
    """The model's output and the post-processed output of every frame."""
    if not streaming:
        session = processor.init_video_session(video=list(video), inference_device="cpu", dtype=torch.float32)
        processor.add_text_prompt(session, prompts)
        outputs = model.propagate_in_video_iterator(session, max_frame_num_to_track=len(video))
        return [(out, processor.postprocess_outputs(session, out)) for out in outputs]
    session = processor.init_video_session(inference_device="cpu", dtype=torch.float32)
    processor.add_text_prompt(session, prompts)
    results = []
    for frame in video:
        inputs = processor(images=frame, device="cpu", return_tensors="pt")
        out = model(inference_session=session, frame=inputs.pixel_values[0])
        results.append((out, processor.postprocess_outputs(session, out, original_sizes=inputs.original_sizes)))
    return results


def run_courtside(binary: Path, folder: Path, prompts: list[str], streaming: bool, with_kernels: bool):
    """The dumped outputs by name, and the detections."""
    command = [str(binary), "track", str(folder / "clip.mkv"), "--model", str(folder)]
    command += [word for prompt in prompts for word in ("--prompt", prompt)]
    command += ["--compat", "reference-kernels" if with_kernels else "reference"]
    command += ["--mode", "streaming" if streaming else "offline"]
    command += ["--dump", str(folder / "dump.safetensors"), "--out", str(folder / "tracks.json")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return load_file(folder / "dump.safetensors"), json.loads((folder / "tracks.json").read_text())["detections"]


def difference(reference, dump: dict, detections: list[dict]) -> str | None:
    """A description of the first difference; None if all outputs are equal."""
    for t, (out, post) in enumerate(reference):
        ids = sorted(out.obj_id_to_mask)
        if ids != dump[f"{t}.ids"].tolist():
            return f"frame {t}: ids {dump[f'{t}.ids'].tolist()} instead of {ids}"
        if ids:
            masks = torch.cat([out.obj_id_to_mask[i] for i in ids]).float()
            worst = (masks - dump[f"{t}.low_res_masks"]).abs().max().item()
            if worst > LOGIT_TOLERANCE:
                return f"frame {t}: a mask logit differs by {worst:.3g}"
        want = dict(zip(post["object_ids"].tolist(), post["boxes"].tolist(), strict=True))
        found = {d["track_id"]: d["bbox"] for d in detections if d["frame"] == t}
        got = {i: [x, y, x + w, y + h] for i, (x, y, w, h) in found.items()}
        if got != want:
            return f"frame {t}: boxes {got} instead of {want}"
    return None


def compare(seed: int, binary: Path) -> int:
    """Compare all four modes, printing a line for each; returns the number of modes that differ."""
    n_different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, processor, rng = make_model(seed, folder)
        video = make_clip(seed, rng, folder / "clip.mkv")
        prompts = PROMPTS[: rng.choice([1, 2])]
        for streaming in (False, True):
            for with_kernels in (False, True):
                with kernels(with_kernels):
                    reference = run_reference(model, processor, video, prompts, streaming)
                found = difference(reference, *run_courtside(binary, folder, prompts, streaming, with_kernels))
                n_objects = sum(len(out.obj_id_to_mask) for out, _ in reference)
                mode = f"{'streaming' if streaming else 'offline'}{' with kernels' if with_kernels else ''}"
                print(f"seed {seed} {mode}: {n_objects} objects on {len(video)} frames: {found or 'equal'}", flush=True)
                n_different += found is not None
    return n_different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--courtside", type=Path, required=True, help="program to compare")
    parser.add_argument("--seeds", default="1-10", help="FIRST-LAST")
    args = parser.parse_args()
    torch.set_num_threads(1)
    first, last = map(int, args.seeds.split("-"))
    n_different = sum(compare(seed, args.courtside.resolve()) for seed in range(first, last + 1))
    print(f"{n_different} of {4 * (last - first + 1)} runs differ")
    sys.exit(n_different > 0)


if __name__ == "__main__":
    main()
