"""The two fixtures: shapes, thresholds, clip, prompts, and what each detector query is trained to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from parity.scene import GHOST, Actor, Scene

MEMORY_CHANNELS = 64
"""`kv_in_dim=64` is hard-coded in the reference's memory attention, so memories always have 64 channels."""


@dataclass(frozen=True)
class Slot:
    """Query `query` reports `target` with probability `score` under its prompt."""

    query: int
    target: str
    score: float


@dataclass(frozen=True)
class FixtureSpec:
    """The parameters of a fixture."""

    name: str
    seed: int
    grid: int
    patch: int
    hidden: int
    """Width of the necks, the detector and the tracker. The reference needs at least twice the memory channels: with 64,
    its object pointers keep an extra axis and cannot be concatenated with the memories."""
    scene: Scene
    prompts: dict[str, tuple[Slot, ...]]
    """For each prompt text, what it finds."""
    config: Callable[[FixtureSpec, int], dict]
    """Function of the spec and the vocabulary size that returns the keyword arguments of `Sam3VideoConfig`."""
    detector_steps: int
    tracker_steps: int
    sharded: bool = False
    """Write two shards with the doubled `tracker_model.tracker_model.` prefix, as `save_pretrained` does."""
    amodal: dict[str, range] = field(default_factory=dict)
    """Frames on which the tracker is trained with an actor's full shape, including parts that others cover."""

    @property
    def image_size(self) -> int:
        return self.grid * self.patch

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution masks."""
        return 4 * self.grid

    @property
    def n_queries(self) -> int:
        return self.config(self, 600)["detector_config"]["detr_decoder_config"]["num_queries"]

    @property
    def targets(self) -> list[str]:
        return [actor.name for actor in self.scene.actors] + [GHOST]


def _vision(spec: FixtureSpec, **backbone: object) -> dict:
    g = spec.grid
    return {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "image_size": spec.image_size,
            "patch_size": spec.patch,
            **backbone,
        },
        "fpn_hidden_size": spec.hidden,
        "backbone_feature_sizes": [[4 * g] * 2, [2 * g] * 2, [g] * 2],
    }


def _text(vocab: int, **shape: int) -> dict:
    return {
        "model_type": "clip_text_model",
        "vocab_size": vocab,
        "max_position_embeddings": 32,
        "hidden_act": "gelu",
        "bos_token_id": vocab - 2,
        "eos_token_id": vocab - 1,
        "pad_token_id": vocab - 1,
        **shape,
    }


def _geometry() -> dict:
    """The smallest possible geometry encoder; it never runs for text prompts."""
    return {"hidden_size": 16, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "roi_size": 1}


def _tracker(spec: FixtureSpec, vision: dict, mask_decoder: dict, **knobs: object) -> dict:
    h = spec.hidden
    return {
        "model_type": "sam3_tracker_video",
        "vision_config": vision,
        "image_size": spec.image_size,
        "prompt_encoder_config": {"hidden_size": h, "image_size": spec.image_size, "patch_size": spec.patch},
        "mask_decoder_config": {"hidden_size": h, **mask_decoder},
        "memory_attention_hidden_size": h,
        "memory_encoder_hidden_size": h,
        "memory_encoder_output_channels": MEMORY_CHANNELS,
        "mask_downsampler_embed_dim": h,
        "memory_fuser_embed_dim": h,
        "memory_attention_rope_feat_sizes": [spec.grid, spec.grid],
        **knobs,
    }


def _wide_config(spec: FixtureSpec, vocab: int) -> dict:
    h = spec.hidden
    vision = _vision(
        spec,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        window_size=4,
        global_attn_indexes=[1, 3],
        pretrain_image_size=4 * spec.patch,
    )
    detector = {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": _text(
            vocab, hidden_size=32, intermediate_size=64, projection_dim=16, num_hidden_layers=2, num_attention_heads=4
        ),
        "geometry_encoder_config": _geometry(),
        "detr_encoder_config": {"hidden_size": h, "num_layers": 1, "num_attention_heads": 8, "intermediate_size": 64},
        "detr_decoder_config": {
            "hidden_size": h,
            "num_layers": 2,
            "num_attention_heads": 8,
            "intermediate_size": 64,
            "num_queries": 12,
        },
        "mask_decoder_config": {"hidden_size": h, "num_attention_heads": 8, "num_upsampling_stages": 2},
    }
    tracker = _tracker(
        spec,
        vision,
        {"mlp_dim": 64, "iou_head_hidden_dim": 32, "attention_downsample_rate": 4, "num_attention_heads": 4},
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=64,
        memory_fuser_intermediate_dim=64,
    )
    return {
        "detector_config": detector,
        "tracker_config": tracker,
        "low_res_mask_size": spec.mask_size,
        # Short windows, so that every heuristic takes effect within the clip.
        "hotstart_delay": 5,
        "hotstart_unmatch_thresh": 3,
        "hotstart_dup_thresh": 3,
        "recondition_every_nth_frame": 4,
        "init_trk_keep_alive": 2,
        "max_trk_keep_alive": 3,
        "min_trk_keep_alive": -1,
        "suppress_unmatched_only_within_hotstart": False,
        "decrease_trk_keep_alive_for_empty_masklets": True,
        "high_conf_thresh": 0.8,
        "high_iou_thresh": 0.6,
    }


def _narrow_config(spec: FixtureSpec, vocab: int) -> dict:
    h = spec.hidden
    vision = _vision(
        spec,
        hidden_size=48,
        intermediate_size=88,
        num_hidden_layers=5,
        num_attention_heads=2,
        window_size=2,
        global_attn_indexes=[2, 4],
        pretrain_image_size=4 * spec.patch,
        rope_parameters={"rope_type": "axial", "rope_theta": 5000.0},
    )
    detector = {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": _text(
            vocab, hidden_size=24, intermediate_size=56, projection_dim=12, num_hidden_layers=3, num_attention_heads=3
        ),
        "geometry_encoder_config": _geometry(),
        "detr_encoder_config": {"hidden_size": h, "num_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
        "detr_decoder_config": {
            "hidden_size": h,
            "num_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 40,
            "num_queries": 9,
        },
        "mask_decoder_config": {"hidden_size": h, "num_attention_heads": 4, "num_upsampling_stages": 2},
    }
    mask_decoder = {
        "mlp_dim": 40,
        "iou_head_hidden_dim": 24,
        "iou_head_depth": 2,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "attention_downsample_rate": 8,
    }
    tracker = _tracker(
        spec,
        vision,
        mask_decoder,
        memory_attention_num_layers=1,
        memory_attention_num_attention_heads=2,
        memory_attention_feed_forward_hidden_size=48,
        mask_downsampler_stride=4,
        memory_fuser_intermediate_dim=56,
        memory_fuser_num_layers=1,
        memory_fuser_kernel_size=5,
        memory_fuser_padding=2,
        num_maskmem=4,
        max_cond_frame_num=2,
        max_object_pointers_in_encoder=6,
    )
    return {
        "detector_config": detector,
        "tracker_config": tracker,
        "low_res_mask_size": spec.mask_size,
        "score_threshold_detection": 0.45,
        "det_nms_thresh": 0.4,
        "assoc_iou_thresh": 0.15,
        "trk_assoc_iou_thresh": 0.4,
        "new_det_thresh": 0.65,
        "recondition_on_trk_masks": False,
        "hotstart_delay": 6,
        "hotstart_unmatch_thresh": 4,
        "hotstart_dup_thresh": 5,
        "suppress_unmatched_only_within_hotstart": True,
        "init_trk_keep_alive": 4,
        "max_trk_keep_alive": 5,
        "min_trk_keep_alive": -2,
        "suppress_overlapping_based_on_recent_occlusion_threshold": 0.18,
        "decrease_trk_keep_alive_for_empty_masklets": False,
        "fill_hole_area": 5,
        "recondition_every_nth_frame": 5,
        "high_conf_thresh": 0.75,
        "high_iou_thresh": 0.55,
    }


def wide() -> FixtureSpec:
    """Landscape, hidden 128 (pointers split in two memory tokens), the shortest windows, two prompts."""
    scene = Scene(
        width=120,
        height=90,
        n_frames=14,
        actors=(
            Actor("yellow", "square", (230, 210, 50), 13, lambda t: (84, 58)),
            Actor("blue", "square", (40, 60, 220), 12, lambda t: (100 - 3 * t, 20) if t >= 2 else None),
            Actor("green", "disk", (40, 200, 60), 11, lambda t: (30, 24 + 2 * t) if t < 6 else None),
            Actor("red", "disk", (220, 40, 40), 12, lambda t: (34 + 6 * t, 62)),
        ),
        marker_frames=2,
    )
    prompts = {
        "ball": (
            Slot(0, "red", 0.95),
            Slot(1, "green", 0.9),
            Slot(4, "red", 0.85),
            Slot(5, GHOST, 0.85),
        ),
        "box": (Slot(2, "blue", 0.95), Slot(3, "yellow", 0.9), Slot(6, "yellow", 0.6)),
    }
    return FixtureSpec("wide", 0, 8, 14, 128, scene, prompts, _wide_config, 400, 400)


def narrow() -> FixtureSpec:
    """Portrait, three prompts, different sizes and thresholds in nearly every place. Detection masks recondition the
    tracks, and two disks of one prompt vanish at different times and then overlap."""

    def red(t: int) -> tuple[float, float] | None:
        return None if t in (4, 5) else (14 + 1.3 * t, 30 + 1.4 * t)

    def green(t: int) -> tuple[float, float] | None:
        return None if t in (7, 8) else (38 - t, 63 - t)

    scene = Scene(
        width=54,
        height=90,
        n_frames=18,
        actors=(
            Actor("yellow", "frame", (230, 210, 50), 10, lambda t: (42, 78)),
            Actor("cyan", "bar", (60, 210, 220), 5, lambda t: (48 - 0.8 * t, 26) if t >= 5 else None),
            Actor("green", "satellite", (40, 200, 60), 9, green),
            Actor("red", "disk", (220, 40, 40), 9, red),
        ),
        marker_frames=3,
    )
    prompts = {
        "the round ball": (Slot(0, "red", 0.95), Slot(1, "green", 0.9)),
        "Box": (Slot(2, "yellow", 0.92), Slot(3, "yellow", 0.8), Slot(6, GHOST, 0.85)),
        "tall bar!": (Slot(4, "cyan", 0.9), Slot(0, "red", 0.55)),
    }
    amodal = {"green": range(9, 18)}
    return FixtureSpec("narrow", 1, 6, 10, 128, scene, prompts, _narrow_config, 500, 600, sharded=True, amodal=amodal)


SPECS: dict[str, Callable[[], FixtureSpec]] = {"wide": wide, "narrow": narrow}
