"""Between plan and restore: bring what remotes have of the plan into the store.

What can't be fetched is left out, and the plan is made again without it: another output may do, and what
stands on it has to wait for opam.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from opambin.door.decision import decide
from opambin.exchange import planning

if TYPE_CHECKING:
    from collections.abc import Callable

    from opambin.door.front import Prepared
    from opambin.exchange.meter import Meter

ROUNDS = 4
"""How often a plan is made again before whatever is left of remotes is given up."""


def fetch(prepared: Prepared, tell: Callable[[str], None], meter: Meter) -> Prepared:
    """Fetch the hits that are not in the store; returns the plan as it can be carried out.

    Args:
        prepared: The plan.
        tell: Called with lines for the user.
        meter: Shown the progress.

    Raises:
        OpambinError: The plan can't be made again.
    """
    shelf = prepared.decision.shelf
    for turn in range(ROUNDS + 1):
        wanted = planning.offers(prepared.items, shelf)
        if not wanted:
            break
        if turn == ROUNDS:
            for offer in wanted:
                shelf.reject(offer.manifest, "remotes failed too often")
        else:
            from opambin.exchange import downloads

            got = downloads.pull(shelf.store, wanted, meter)
            shelf.arrived(got.manifests)
            for line in got.lines():
                tell(line)
            if not got.failed:
                break
            for offer, reason in got.failed:
                shelf.reject(offer.manifest, reason)
        prepared = _again(prepared)
    return prepared


def _again(prepared: Prepared) -> Prepared:
    begun = time.monotonic()
    before = prepared.decision
    decision = decide(prepared.context, prepared.request, prepared.plan, before.dropped, before.shelf)
    if decision.for_good:  # what is to take their place must not be there before them: all is left to opam
        decision = replace(decision, items=(), removals={})
    return replace(prepared, decision=decision, seconds=prepared.seconds + time.monotonic() - begun)
