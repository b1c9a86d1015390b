"""Runs the reference over a fixture's clip in four ways and stores, or checks, all of its outputs.

Tags: `preloaded` (all frames known beforehand, hotstart removal on), `streaming` (frame by frame), and each with
`_kernels` (mask NMS, hole filling and sprinkle removal on). See `fixtures/README.md` for the keys.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Sam3VideoModel, Sam3VideoProcessor

from parity import checkpoint, layers, provenance
from parity.cv_utils import kernels
from parity.events import recorded
from parity.specs import FixtureSpec
from parity.tokenizer import tokenization_table

TAGS = ("preloaded", "streaming", "preloaded_kernels", "streaming_kernels")
KERNEL_MASKS_EVERY = 3  # to save space, the `_kernels` tags keep low-resolution masks of every third frame only
LOGIT_TOLERANCE = 5e-2  # rounding the memories to bf16 amplifies differences of one unit


class Reference:
    """The contents of `reference.safetensors` and `reference.json`."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.facts: dict[str, object] = {}

    def add_frame(self, tag: str, t: int, out: object, post: dict) -> None:
        """Add one frame's raw output and post-processed output."""
        key = f"{tag}.{t}"
        ids = sorted(out.obj_id_to_mask)
        self.tensors[f"{key}.ids"] = torch.tensor(ids, dtype=torch.int64)
        if ids:
            masks = torch.cat([out.obj_id_to_mask[i] for i in ids]).float()
            tracker_scores = [out.obj_id_to_tracker_score.get(i, float("nan")) for i in ids]
            if not tag.endswith("_kernels") or t % KERNEL_MASKS_EVERY == 0:
                self.tensors[f"{key}.low_res_masks"] = masks.contiguous()
            self.tensors[f"{key}.det_scores"] = torch.tensor([out.obj_id_to_score[i] for i in ids])
            self.tensors[f"{key}.trk_scores"] = torch.tensor(tracker_scores)
        for name in ("object_ids", "scores", "boxes"):
            self.tensors[f"{key}.post.{name}"] = post[name].contiguous().clone()
        packed = np.packbits(post["masks"].numpy().astype(bool), axis=-1)
        self.tensors[f"{key}.post.masks_packed"] = torch.from_numpy(packed)
        self.facts[key] = {
            "object_ids": [int(i) for i in out.object_ids],
            "removed": sorted(int(i) for i in out.removed_obj_ids),
            "suppressed": sorted(int(i) for i in out.suppressed_obj_ids),
            "prompt_to_obj_ids": post["prompt_to_obj_ids"],
            "post_ids": post["object_ids"].tolist(),
            "areas": post["masks"].flatten(1).sum(1).tolist() if len(post["masks"]) else [],
        }

    def add_end(self, tag: str, session: object) -> None:
        """Add the session's state after the last frame."""

        def frames(kind: str) -> dict[int, list[int]]:
            return {
                int(session.obj_idx_to_id(i)): sorted(outputs[kind])
                for i, outputs in session.output_dict_per_obj.items()
            }

        self.facts[tag] = {
            "keep_alive": {int(k): v for k, v in session.trk_keep_alive.items()},
            "unmatched": {int(k): v for k, v in session.unmatched_frame_inds.items()},
            "overlap": {str(k): v for k, v in session.overlap_pair_to_frame_inds.items()},
            "last_occluded": {int(k): int(v) for k, v in session.obj_id_to_last_occluded.items()},
            "cond_frames": frames("cond_frame_outputs"),
            "noncond_frames": frames("non_cond_frame_outputs"),
        }


def run(
    spec: FixtureSpec, model: Sam3VideoModel, processor: Sam3VideoProcessor, tag: str, reference: Reference
) -> None:
    """Run the clip once, in the model's type, and add the outputs to `reference`."""
    dtype = model.dtype
    streaming = tag.startswith("streaming")
    video, n_frames = spec.scene.video, spec.scene.n_frames
    with kernels(installed=tag.endswith("_kernels")), recorded(model) as events:
        if streaming:
            session = processor.init_video_session(inference_device="cpu", dtype=dtype)
            processor.add_text_prompt(session, list(spec.prompts))
            for t in range(n_frames):
                inputs = processor(images=video[t], device="cpu", return_tensors="pt")
                out = model(inference_session=session, frame=inputs.pixel_values[0].to(dtype))
                post = processor.postprocess_outputs(session, out, original_sizes=inputs.original_sizes)
                reference.add_frame(tag, t, out, post)
        else:
            session = processor.init_video_session(video=list(video), inference_device="cpu", dtype=dtype)
            processor.add_text_prompt(session, list(spec.prompts))
            for out in model.propagate_in_video_iterator(session, max_frame_num_to_track=n_frames):
                reference.add_frame(tag, out.frame_idx, out, processor.postprocess_outputs(session, out))
    reference.add_end(tag, session)
    for t, kinds in events.items():
        reference.facts[f"{tag}.{t}"]["events"] = kinds


def resized_frames(spec: FixtureSpec, processor: Sam3VideoProcessor) -> Tensor:
    """The clip as the processor resizes it, u8 [T, 3, S, S]; pixel values are exactly `(x - 127.5) / 127.5`."""
    frames = []
    session = processor.init_video_session(video=list(spec.scene.video), inference_device="cpu", dtype=torch.float32)
    for t, image in enumerate(spec.scene.video):
        pixels = processor(images=image, device="cpu", return_tensors="pt").pixel_values[0]
        resized = (pixels * 127.5 + 127.5).round().to(torch.uint8)
        assert torch.equal((resized.float() - 127.5) / 127.5, pixels), f"frame {t}: pixel values are not exact"
        assert torch.equal(session.get_frame(t), pixels), f"frame {t}: the two processors disagree"
        frames.append(resized)
    return torch.stack(frames)


def collect(
    spec: FixtureSpec, model: Sam3VideoModel, processor: Sam3VideoProcessor
) -> tuple[Reference, dict[str, Tensor]]:
    """The reference outputs of all four runs, and the outputs of single modules."""
    reference = Reference()
    for tag in TAGS:
        run(spec, model, processor, tag, reference)
    layer_outputs, layer_index = layers.record(spec, model, processor)
    reference.tensors["video"] = torch.from_numpy(spec.scene.video)
    reference.tensors["resized"] = resized_frames(spec, processor)
    reference.facts["prompts"] = list(spec.prompts)
    reference.facts["tokenization"] = tokenization_table(processor.tokenizer)
    reference.facts["layers"] = layer_index
    return reference, layer_outputs


def write(spec: FixtureSpec, folder: Path) -> None:
    """Run the reference with the stored model and store its outputs."""
    model, processor = checkpoint.load(folder)
    reference, layer_outputs = collect(spec, model, processor)
    save_file(reference.tensors, folder / "reference.safetensors")
    save_file(layer_outputs, folder / "layers.safetensors")
    (folder / "reference.json").write_text(dumps(reference.facts))
    (folder / "PROVENANCE.md").write_text(provenance.document(spec, folder, reference.facts))
    for path in sorted(folder.iterdir()):
        path.chmod(0o644)
        print(f"{path.stat().st_size:>10} {path.name}")


def dumps(facts: dict[str, object]) -> str:
    """JSON with one line per frame, so that diffs are readable."""
    lines = []
    for key, value in facts.items():
        if key == "layers":
            rows = ",\n  ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            lines.append(f' "layers": {{\n  {rows}\n }}')
        elif key == "tokenization":
            rows = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f' "tokenization": [\n  {rows}\n ]')
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def check(spec: FixtureSpec, folder: Path) -> None:
    """Run the reference with the stored model; exit with an error if an output differs from the stored one."""
    model, processor = checkpoint.load(folder)
    reference, layer_outputs = collect(spec, model, processor)
    problems = []
    if json.loads(dumps(reference.facts)) != json.loads((folder / "reference.json").read_text()):
        problems.append("reference.json differs")
    pairs = (("reference.safetensors", reference.tensors), ("layers.safetensors", layer_outputs))
    for name, tensors in pairs:
        stored = load_file(folder / name)
        if stored.keys() != tensors.keys():
            problems.append(f"{name}: other keys: {sorted(stored.keys() ^ tensors.keys())[:5]}")
        worst = max((difference(stored[k], tensors[k]), k) for k in stored.keys() & tensors.keys())
        print(f"{name}: {len(stored)} tensors, largest difference {worst[0]:.2e} ({worst[1]})")
        if worst[0] > LOGIT_TOLERANCE:
            problems.append(f"{name}: {worst[1]} differs by {worst[0]:.2e}")
    if problems:
        raise SystemExit("\n".join(problems))
    print(f"{folder.name}: reproduced")


def compare_bf16(spec: FixtureSpec, folder: Path) -> None:
    """Run the reference in bfloat16 and print the differences from the stored outputs in f32."""
    model, processor = checkpoint.load(folder)
    model = model.to(torch.bfloat16)
    stored, facts = load_file(folder / "reference.safetensors"), json.loads((folder / "reference.json").read_text())
    for tag in TAGS:
        reference = Reference()
        run(spec, model, processor, tag, reference)
        worst = {"low_res_masks": 0.0, "det_scores": 0.0, "trk_scores": 0.0, "post.boxes": 0.0}
        pixels = pixels_set = 0
        unequal = []
        twins: set[int] = set()
        for t in range(spec.scene.n_frames):
            key = f"{tag}.{t}"
            twins |= twins_of(stored, key)
            now = json.loads(dumps(reference.facts))[key]
            shown, shown_before = ([i for i in x["post_ids"] if i not in twins] for x in (now, facts[key]))
            kinds = ("object_ids", "removed", "suppressed")
            if shown != shown_before or any(now[kind] != facts[key][kind] for kind in kinds):
                unequal.append(t)
                continue
            for name in worst:
                ours, theirs = reference.tensors.get(f"{key}.{name}"), stored.get(f"{key}.{name}")
                if ours is None or theirs is None:
                    continue
                ids = "post.object_ids" if name.startswith("post.") else "ids"
                ours, theirs = without(reference.tensors, key, ids, ours, twins), without(stored, key, ids, theirs, twins)
                if ours.numel():
                    delta = (ours.double() - theirs.double()).abs().nan_to_num(0).max()
                    worst[name] = max(worst[name], float(delta))
            ours, theirs = (
                without(x, key, "post.object_ids", x[f"{key}.post.masks_packed"], twins).numpy()
                for x in (reference.tensors, stored)
            )
            pixels += int(np.unpackbits(ours ^ theirs).sum())
            pixels_set += int(np.unpackbits(theirs).sum())
        differences = ", ".join(f"{name} {value:.3g}" for name, value in worst.items())
        print(f"{folder.name} {tag}: unequal frames {unequal}; {differences}, pixels {pixels} of {pixels_set}")


def twins_of(stored: dict[str, Tensor], key: str) -> set[int]:
    """Objects of a frame with the same mask as another one and, within 0.064, the same confidence. Rounding decides
    which of them keeps the pixels."""
    if f"{key}.low_res_masks" not in stored:
        return set()
    ids, scores = stored[f"{key}.ids"].tolist(), stored[f"{key}.trk_scores"].tolist()
    masks = stored[f"{key}.low_res_masks"].flatten(1) > 0
    twins = set()
    for i in range(len(ids)):
        for k in range(i):
            both, either = int((masks[i] & masks[k]).sum()), int((masks[i] | masks[k]).sum())
            if 2 * both > either and abs(scores[i] - scores[k]) < 0.064:
                twins |= {ids[i], ids[k]}
    return twins


def without(tensors: dict[str, Tensor], key: str, ids: str, rows: Tensor, left_out: set[int]) -> Tensor:
    """The rows of all objects except `left_out`; the tensor called `ids` has the object of each row."""
    keep = [i for i, one in enumerate(tensors[f"{key}.{ids}"].tolist()) if one not in left_out]
    return rows[keep]


def difference(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference; infinite where shapes or NaNs differ."""
    if a.shape != b.shape or not torch.equal(a.isnan(), b.isnan()):
        return float("inf")
    delta = (a.double() - b.double()).abs().nan_to_num(0)
    return float(delta.max()) if delta.numel() else 0.0
