"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from bench.engine.device import choose_device
from bench.errors import ConfigError


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="'cuda:2' is not there: torch sees 2"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for name in ("meta", "gpu", "", "cpu:x"):
        with pytest.raises(ConfigError, match="choose auto, cpu, cuda"):
            choose_device(name)
