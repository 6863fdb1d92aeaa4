"""The catalog facts of plans: they never change while a plan lives, so a process parses them once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from sqlalchemy import Connection

from pipeline.events import Product
from storage.ledger.statements import sql

_KEPT = 4096
# Of current plans only: the facts of a product that has moved on are not those of its older plan.
_FACTS = sql("SELECT plan_id AS id, product_id, facts FROM products WHERE plan_id = ANY(:plans)")
_known: OrderedDict[tuple[str, int], Product] = OrderedDict()


def plan_facts(connection: Connection, plans: Sequence[int]) -> dict[int, Product]:
    """The product of each current plan, as its event told it; a withdrawal's plan has none and gets an empty one.

    A plan that is its product's current one no more may be missing.
    """
    # One process may look into several databases, as tests do.
    database = str(connection.engine.url)
    found = {plan: _known[database, plan] for plan in plans if (database, plan) in _known}
    missing = [plan for plan in plans if plan not in found]
    if missing:
        for row in connection.exec_driver_sql(_FACTS, {"plans": missing}).all():
            if row.facts is None:
                found[row.id] = Product(product_id=row.product_id, revision=1)
                continue
            found[row.id] = _known[database, row.id] = Product.model_validate(row.facts)
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return found
