"""Records what the reference decides on each frame, by wrapping its methods; its outputs do not contain it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor
from transformers import Sam3VideoModel

FrameEvents = dict[str, list[int]]

KINDS = {
    "new": "ids born on this frame",
    "unmatched": "non-empty tracks that no detection matches",
    "empty": "tracks whose propagated mask is empty",
    "removed_now": "ids that hotstart removes on this frame",
    "reconditioned": "tracks whose frame becomes a conditioning frame",
    "overlap_suppressed": "non-empty tracks set to -10 because of a recent occlusion",
    "shrunk": "non-empty tracks clamped before the memory encoder because others cover them",
}


class _Observer:
    """Wraps five methods of a model; `log` is {frame: {kind: ids}}."""

    def __init__(self, model: Sam3VideoModel) -> None:
        self.log: dict[int, FrameEvents] = {}
        self._current: FrameEvents = {}
        self._obj_ids: list[int] = []
        self._model = model
        self._wrap("run_tracker_update_planning_phase", self._plan)
        self._wrap("_associate_det_trk", self._associate)
        self._wrap("_suppress_overlapping_based_on_recent_occlusion", self._overlap)
        self._wrap("_tracker_update_memories", self._memories)
        self._wrap("_suppress_object_pw_area_shrinkage", self._shrink)

    def _wrap(self, name: str, wrapper: Callable) -> None:
        original = getattr(self._model, name)
        setattr(self._model, name, lambda *args, **kwargs: wrapper(original, *args, **kwargs))

    def _plan(self, original: Callable, frame_idx: int, **kwargs: object) -> tuple:
        self._current = {}
        result = original(frame_idx=frame_idx, **kwargs)
        plan = result[0]
        self._current["new"] = plan["new_det_obj_ids"]
        self._current["removed_now"] = sorted(plan["obj_ids_newly_removed"])
        self._current["reconditioned"] = sorted(plan["reconditioned_obj_ids"])
        self.log[frame_idx] = {kind: [int(i) for i in self._current.get(kind, [])] for kind in KINDS}
        return result

    def _associate(self, original: Callable, **kwargs: object) -> tuple:
        result = original(**kwargs)
        _, self._current["unmatched"], _, _, self._current["empty"] = result
        return result

    def _overlap(self, original: Callable, tracker_low_res_masks_global: Tensor, **kwargs: object) -> Tensor:
        before = tracker_low_res_masks_global.clone()
        after = original(tracker_low_res_masks_global=tracker_low_res_masks_global, **kwargs)
        self._current["overlap_suppressed"] = emptied(before, after, kwargs["inference_session"].obj_ids)
        return after

    def _memories(self, original: Callable, inference_session: object, **kwargs: object) -> None:
        self._obj_ids = list(inference_session.obj_ids)
        original(inference_session=inference_session, **kwargs)

    def _shrink(self, original: Callable, masks: Tensor, prompt_ids: list[int]) -> Tensor:
        after = original(masks, prompt_ids)
        self._current["shrunk"] = emptied(masks, after, self._obj_ids)
        return after


def emptied(before: Tensor, after: Tensor, obj_ids: list[int]) -> list[int]:
    """The objects whose mask had foreground before and has none after."""
    rows = zip(obj_ids, before > 0, after > 0, strict=True)
    return [int(obj_id) for obj_id, was, is_now in rows if bool(was.any()) and not bool(is_now.any())]


@contextlib.contextmanager
def recorded(model: Sam3VideoModel) -> Iterator[dict[int, FrameEvents]]:
    """Yields {frame: {kind: ids}}, which is filled while the reference runs inside the block."""
    own = set(vars(model))
    observer = _Observer(model)
    try:
        yield observer.log
    finally:
        for name in set(vars(model)) - own:
            delattr(model, name)
