"""The embedding stages once more, for the space that a new model fills before it serves, and after the switch for
the old one's, so that the way back stays open. They are in the graph while there is such a space."""

from __future__ import annotations

from tasks._stage import double
from tasks.embed_image import EmbeddedImage, embed_image
from tasks.embed_text import EmbeddedText, embed_text
from tasks.index import Indexed, index

_QUEUE = "shadow"
"""Its own: what serves never waits for it."""


class ShadowImage(EmbeddedImage):
    """A photo's place in the shadow space."""


class ShadowText(EmbeddedText):
    """The place of a product's words in the shadow space."""


class ShadowIndexed(Indexed):
    """The index agrees with Postgres, the shadow space's collection too."""


double("shadow_image", embed_image, ShadowImage, queue=_QUEUE)
double("shadow_text", embed_text, ShadowText, queue=_QUEUE)
double("shadow_index", index, ShadowIndexed, queue=_QUEUE, uses=(ShadowImage, ShadowText))
