"""Decide whether a request is to blame when the process that draws it ends, again and again.

A request is drawn again elsewhere when its process ends, because that has other causes as a rule: the system had no
memory, a person killed it, a machine was switched off. A request that ends every process would never be answered and
would take the processes from all others, so it is given up where losses are unlikely to have struck it by chance.
"""

from __future__ import annotations

FEW = 3
"""Losses from which on a request may be to blame."""
WITNESSES = 20
"""Drawings of others, without a loss among them, that make it so: that all of three losses at random strike one of 21
requests has a chance of 1 in 441."""
MOST = 8
"""Losses after which a request is given up in any case. Where one try in five is lost, 1 request in 400,000 has so
many."""


def to_blame(own: int, others: int, drawn: int) -> bool:
    """Returns whether the request is given up.

    Args:
        own: processes that ended while they drew it.
        others: processes that ended while they drew other requests, since its first loss.
        drawn: other requests that were drawn since then.
    """
    return own >= MOST or (own >= FEW and others == 0 and drawn >= WITNESSES)
