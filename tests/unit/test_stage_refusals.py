"""A product whose answer an engine refuses costs its neighbours nothing: the stages pass the refusal on."""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.protocols import CatalogFacts
from pipeline.errors import RejectedInput
from pipeline.events import Product
from pipeline.outcomes import Blob, Lane
from storage.assets import Assets
from storage.ledger import Claimed
from tasks._batch import Item, compute
from tasks._runtime import Runtime
from tasks._stage import load_stages
from tasks.caption import Captioned, caption
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.screen import Screened
from tasks.tag import Tagged, tag
from tests.factories import upload
from tests.instructed import CAPTION, CATEGORY, NAVY, Scripted, in_turn


class Reach(Runtime):
    """A stage's reach whose engine is at hand; nothing else of it but the assets is asked for."""

    scripted: Scripted

    def engine(self, role: str) -> Any:
        return self.scripted

    def facts(self, product: Product) -> CatalogFacts:
        return CatalogFacts()


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    return Assets(f"file://{tmp_path}")


def reach(assets: Assets, scripted: Scripted) -> Reach:
    absent: Any = None
    made = Reach(absent, assets, absent, absent, absent, absent, absent)
    made.scripted = scripted
    return made


def blob(assets: Assets, level: int) -> Blob:
    stored = io.BytesIO()
    Image.fromarray(np.full((20, 20, 3), level, np.uint8)).save(stored, "PNG")
    data = stored.getvalue()
    assets.put(data, "image/png")
    return Blob(digest=hashlib.sha256(data).hexdigest(), media_type="image/png", size=len(data))


def items(assets: Assets, count: int) -> list[Item]:
    product = upload()[0].data
    assert isinstance(product, Product)
    producers = {stage.spec.produces: name for name, stage in load_stages().items()}
    mask = blob(assets, 255)
    made = []
    for n in range(count):
        seen = blob(assets, 10 * n)
        photo = Photo(original=seen, image=seen, width=20, height=20, dhash="0" * 16, transparent=False)
        safe = Screened(unsafe=0, unsafe_from=1, image=seen, width=20, height=20)
        cut = CutOut(
            mask=mask,
            picture=seen,
            width=20,
            height=20,
            box=(0, 0, 20, 20),
            coverage=1,
            edge_softness=0,
            sureness=1,
        )
        claimed = Claimed(
            job_id=n, token=n, attempt=1, recipe="", lane=Lane.LIVE, run_id=n, plan_id=n, source="shop",
            product_id=f"p{n}", product=product, image=product.images[0], target="a", revision=1, generation=0,
            product_row=1,
            cause="event", event_id=None, traceparent=None,
            inputs=defaultdict(tuple, photo=(("a", photo),), screen=(("a", safe),), cutout=(("a", cut),)),
        )  # fmt: skip
        made.append(Item(claimed, producers))
    return made


def test_a_refused_caption(assets: Assets) -> None:
    scripted = Scripted(in_turn(CAPTION, "?", CAPTION, "?"))
    first, refused, third = compute(caption, items(assets, 3), reach(assets, scripted))
    assert first == third == Captioned(**CAPTION)
    assert isinstance(refused, RejectedInput)
    assert [len(asked) for asked in scripted.rounds] == [3, 1], "the batch is not halved and asked again"


def test_refused_tags(assets: Assets) -> None:
    scripted = Scripted(in_turn("?", CATEGORY, json.dumps(CATEGORY)[:9], {"attributes": [NAVY]}))
    refused, tagged = compute(tag, items(assets, 2), reach(assets, scripted))
    assert isinstance(refused, RejectedInput)
    assert isinstance(tagged, Tagged)
    assert ("colour", "navy") in {(one.attribute, one.value) for one in tagged.tags}
    assert [len(asked) for asked in scripted.rounds] == [2, 1, 1]
