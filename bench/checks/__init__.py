"""Contract checks: does a plug-in keep what the harness relies on? For those of this repository and of others.

    from bench.checks import check_backbone, check_method, check_plugin
    check_method("my-method[depth=3]", backbone="my-backbone")
    check_backbone("my-backbone")
    check_plugin("my_method.py")

run a method's cells on 2,000 generated rows and raise a ContractError that names every fault they find. What is checked
stands in ``rules.py``, ``manners.py`` and ``backbone.py``, one function a rule; ``python -m bench check`` prints it.
"""

from __future__ import annotations

from bench.checks.backbone import check_backbone
from bench.checks.method import Checked, check_method
from bench.checks.plugin import check_plugin
from bench.checks.verdict import ContractError

__all__ = ["Checked", "ContractError", "check_backbone", "check_method", "check_plugin"]
