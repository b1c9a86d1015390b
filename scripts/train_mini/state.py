"""Training state on disk: a stage that is stopped at any moment continues from its last saved step."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

EMA_DECAY = 0.998


class Stage:
    """The parameters that a stage trains, their optimiser, and their exponential moving average."""

    def __init__(self, path: Path, modules: dict[str, nn.Module], groups: list[dict], lr: float) -> None:
        self.path, self.modules, self.lr = path, modules, lr
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        for group in groups:
            group.setdefault("scale", 1.0)
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

    def update(self, loss: torch.Tensor, factor: float) -> None:
        """One step of the optimiser, with `factor` times the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * group["scale"] * factor
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


def named(module: nn.Module, prefixes: tuple[str, ...], without: Iterable[str] = ()) -> list[nn.Parameter]:
    """The parameters whose names start with one of `prefixes` and contain none of `without`."""
    return [
        parameter
        for name, parameter in module.named_parameters()
        if name.startswith(prefixes) and not any(part in name for part in without)
    ]
