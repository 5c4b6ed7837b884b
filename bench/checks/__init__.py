"""Contract checks: does a method keep what the harness relies on? For plug-ins of this repository and of others.

    from bench.checks import check_method
    check_method("my-method[depth=3]", backbone="my-backbone")

runs the method's cells on 2,000 generated rows and raises a ContractError that names every fault it finds. What is
checked stands in ``bench/checks/rules.py``, one function a rule.
"""

from __future__ import annotations

from bench.checks.method import Checked, ContractError, check_method

__all__ = ["Checked", "ContractError", "check_method"]
