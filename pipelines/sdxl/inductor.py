"""Settings of torch's compiler under which a step of SDXL is faster: measured in docs/performance.md."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

LONGEST_ROW = 2048
"""Values of a row that a norm holds in registers. Inductor's own limit is 1,024; SDXL's widest layer norm has 1,280."""


def tuned_code() -> ExitStack:
    """Returns a context: norms read their rows once, and kernels begin before the one before has ended (Hopper on).

    A torch without these settings compiles as usual.
    """
    import torch
    import torch._inductor.config

    stack = ExitStack()
    # a change of the compiler's cache key: code of the usual choice is not found again
    changes: dict[str, Any] = {"max_pointwise_cat_inputs": 9}
    if torch.cuda.is_available() and torch.cuda.get_device_capability() >= (9, 0):
        changes["triton.enable_pdl"] = True
    try:
        choices = _choices()
        stack.enter_context(torch._inductor.config.patch(changes))
        stack.enter_context(choices)
    except (ImportError, AttributeError):
        stack.close()
    return stack


def _choices() -> Any:
    from torch._inductor.choices import InductorChoices
    from torch._inductor.runtime.hints import ReductionHint
    from torch._inductor.virtualized import V

    class Choices(InductorChoices):
        @staticmethod
        def should_use_persistent_reduction(features: Any, cooperative_reduction: bool) -> bool:
            if features.get_reduction_hint() == ReductionHint.INNER:
                sizes: Any = V.graph.sizevars
                if sizes.statically_known_leq(features.reduction_numel, LONGEST_ROW):
                    return True
            return InductorChoices.should_use_persistent_reduction(features, cooperative_reduction)

    return V.set_choices_handler(Choices())
