"""Training state on disk: a stage that is stopped at any moment continues from its last saved step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from clips import Clip

EMA_DECAY = 0.998


class Batches(Dataset):
    """Batch i is `make(clips, i)`, for i from `first` to `n`: a training that resumes goes through the same images."""

    def __init__(self, folders: list[Path], make: Callable[[list[Clip], int], Any], first: int, n: int) -> None:
        self.folders, self.make, self.first, self.n = folders, make, first, n
        self.clips: list[Clip] = []

    def __len__(self) -> int:
        return self.n - self.first

    def __getitem__(self, i: int) -> Any:
        self.clips = self.clips or [Clip.open(folder) for folder in self.folders]
        return self.make(self.clips, self.first + i)


@dataclass(frozen=True)
class Schedule:
    """Numbers of steps: in all, of the warm-up, between two reports, and between two saved states."""

    n: int
    warm_up: int
    report_every: int
    save_every: int

    def factor(self, step: int) -> float:
        """The factor of the learning rate: linear warm-up, then half a cosine down to 2 %."""
        return min(1.0, (step + 1) / self.warm_up) * (0.49 * (1 + math.cos(math.pi * step / self.n)) + 0.02)

    def is_due(self, every: int, step: int) -> bool:
        return step % every == 0 or step == self.n


@dataclass(frozen=True)
class Loss:
    """The weighted parts of a loss, and values that are only reported."""

    parts: dict[str, Tensor]
    watched: dict[str, Tensor]


class Stage:
    """The parameters that a stage trains, their optimiser, and their exponential moving average."""

    def __init__(self, path: Path, modules: dict[str, nn.Module], groups: list[dict], lr: float) -> None:
        self.path, self.modules, self.lr = path, modules, lr
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.optimiser = torch.optim.AdamW(groups, lr=lr, weight_decay=1e-3)
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.step = 0
        if path.exists():
            self._load()

    def _load(self) -> None:
        saved = torch.load(self.path, weights_only=True)
        for name, module in self.modules.items():
            module.load_state_dict(saved["modules"][name])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.average, self.step = saved["average"], saved["step"]

    def save(self) -> None:
        partial = self.path.with_suffix(".partial")
        state = {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "step": self.step,
        }
        torch.save(state, partial)
        partial.replace(self.path)

    def run(
        self, folders: list[Path], make: Callable[[list[Clip], int], Any], loss_of: Callable[[Any], Loss], schedule: Schedule
    ) -> Iterator[None]:
        """Train on the batches that `make` makes, up to `schedule.n` steps. Yields each time the state was saved."""
        started, recent = time.monotonic(), []
        batches = Batches(folders, make, self.step, schedule.n)
        for batch in DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=4):
            loss = loss_of(batch)
            self._update(sum(loss.parts.values(), torch.zeros(())), schedule.factor(self.step))
            recent.append({name: value.item() for name, value in (loss.parts | loss.watched).items()})
            if schedule.is_due(schedule.report_every, self.step):
                took = time.monotonic() - started
                print(f"{self.path.stem} {self.step}/{schedule.n} {means(recent)} {took:.0f} s", flush=True)
                recent.clear()
            if schedule.is_due(schedule.save_every, self.step):
                self.save()
                yield

    def _update(self, loss: Tensor, factor: float) -> None:
        """One step of the optimiser, with `factor` times the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * factor
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 2.0)
        self.optimiser.step()
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self.parameters], 1 - decay)

    def swap_average(self) -> None:
        """Exchange the parameters and their average; a second call restores them."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.average, strict=True):
                current = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(current)


def means(rows: list[dict[str, float]]) -> str:
    """The mean of each value, over the rows that have it."""
    names = sorted({name for row in rows for name in row})
    return " ".join(f"{name} {np.mean([row[name] for row in rows if name in row]):.3f}" for name in names)


def named(module: nn.Module, prefixes: tuple[str, ...], without: Iterable[str] = ()) -> list[nn.Parameter]:
    """The parameters whose names start with one of `prefixes` and contain none of `without`."""
    return [
        parameter
        for name, parameter in module.named_parameters()
        if name.startswith(prefixes) and not any(part in name for part in without)
    ]
