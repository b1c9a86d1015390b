"""Writes `PROVENANCE.md`: how a fixture was created and what happens in its clip."""

from __future__ import annotations

import math
import platform
from pathlib import Path

import torch
import transformers

from parity.events import KINDS
from parity.specs import FixtureSpec

SHORT = {
    "new": "born",
    "removed_now": "removed",
    "unmatched": "unmatched",
    "empty": "empty",
    "reconditioned": "reconditioned",
    "overlap_suppressed": "overlap",
    "shrunk": "shrunk",
}


def versions() -> str:
    """The versions that computed the outputs."""
    return f"transformers {transformers.__version__}, torch {torch.__version__}, Python {platform.python_version()}"


def real_shapes(entries: dict) -> str:
    """The text of `fixtures/real-shapes/PROVENANCE.md`."""
    lines = [
        "# fixtures/real-shapes",
        "",
        "Single modules of the reference at the real configuration, with weights and inputs by formula",
        "(`fixtures/README.md`), and samples of their outputs. No pretrained weights are involved.",
        "",
        "| | |",
        "|---|---|",
        "| made by | `python scripts/reference/make_fixture.py real-shapes` |",
        f"| with | {versions()}; CPU, f32, SDPA attention |",
        "| seed | none: FNV-1a of each tensor's name |",
        "",
        "| case | module | parameters | outputs |",
        "|---|---|---|---|",
    ]
    for name, entry in entries.items():
        n_parameters = sum(math.prod(p["shape"]) for p in entry["parameters"].values())
        outputs = ", ".join(f"{key} {value['shape']}" for key, value in entry["outputs"].items())
        lines.append(f"| {name} | `{entry['module']}` | {n_parameters} | {outputs} |")
    return "\n".join(lines) + "\n"


def document(spec: FixtureSpec, folder: Path, facts: dict) -> str:
    """The text of `PROVENANCE.md` for `wide` or `narrow`."""
    return "\n".join([*_header(spec), *_clip(spec, facts), *_files(folder)]) + "\n"


def _header(spec: FixtureSpec) -> list[str]:
    scene = spec.scene
    layout = "one file, `tracker_model.*` keys (as on the hub), without the tensors that are never read"
    if spec.sharded:
        layout = "two shards, `tracker_model.tracker_model.*` keys (as `save_pretrained` writes), all tensors"
    return [
        f"# fixtures/{spec.name}",
        "",
        "A tiny `Sam3VideoModel`, overfitted on one synthetic clip, with the outputs of the reference implementation.",
        "No pretrained weights and no real footage are involved.",
        "",
        "| | |",
        "|---|---|",
        f"| made by | `python scripts/reference/make_fixture.py {spec.name}` |",
        f"| with | {versions()}; CPU, one thread, SDPA attention, kernels emulated on the CPU |",
        f"| seed | {spec.seed}; {spec.detector_steps} steps for the detector, {spec.tracker_steps} for the tracker |",
        "| weights | bf16; the outputs were computed in f32 from them |",
        f"| layout | {layout} |",
        f"| shape | {spec.grid}x{spec.grid} patches of {spec.patch} (input {spec.image_size}), hidden {spec.hidden}, "
        f"masks {spec.mask_size}x{spec.mask_size} |",
        f"| clip | {scene.n_frames} frames of {scene.width}x{scene.height} |",
        f"| prompts | {', '.join(f'`{p}`' for p in spec.prompts)} |",
        "",
        "Training on another machine gives other weights (floating-point addition is not associative across builds);",
        f"`make_fixture.py {spec.name} --reuse` recomputes the outputs from the weights here, `--check` compares.",
        "",
    ]


def _clip(spec: FixtureSpec, facts: dict) -> list[str]:
    legend = "; ".join(f"*{SHORT[kind]}*: {text}" for kind, text in KINDS.items())
    lines = ["## What happens", "", f"{legend}; *hidden*: ids suppressed by keep-alive.", ""]
    for tag in ("preloaded", "streaming", "preloaded_kernels", "streaming_kernels"):
        columns = [SHORT[kind] for kind in KINDS]
        lines += [f"### {tag}", "", f"| frame | {' | '.join(columns)} | hidden | shown |"]
        lines += ["|" + "---|" * (len(columns) + 3)]
        for t in range(spec.scene.n_frames):
            frame = facts[f"{tag}.{t}"]
            cells = [_ids(frame["events"][kind]) for kind in KINDS]
            cells += [_ids(frame["suppressed"]), _ids(frame["post_ids"])]
            lines.append(f"| {t} | {' | '.join(cells)} |")
        conditioning = ", ".join(f"{i}: {frames}" for i, frames in facts[tag]["cond_frames"].items())
        lines += ["", f"Conditioning frames at the end: {conditioning}.", ""]
    return lines


def _ids(ids: list[int]) -> str:
    return " ".join(map(str, ids))


def _files(folder: Path) -> list[str]:
    rows = [f"| {p.name} | {p.stat().st_size} |" for p in sorted(folder.iterdir()) if p.name != "PROVENANCE.md"]
    return ["## Files", "", "| file | bytes |", "|---|---|", *rows]
