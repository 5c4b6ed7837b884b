"""Which device work runs on."""

from __future__ import annotations

import torch

from bench.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device called ``name``.

    Raises:
        ConfigError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device={name!r} is unknown; choose auto, cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices.")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device={name!r} is not supported; choose auto, cpu, cuda or cuda:N.")
    return device
