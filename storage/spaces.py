"""Embedding spaces: which engine embeds, into which collection, and which of them serves searches.

At most two are filled at any time: the one that serves, and its shadow: a new model's before the switch, the old
model's after it, so that the way back stays open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Engine, text

from pipeline.errors import RejectedInput

_COLUMNS = "id, engine, collection, role, replay_id, created_at, changed_at"
_ALL = text(f"SELECT {_COLUMNS} FROM spaces ORDER BY id")
_ACTIVE = text(f"SELECT {_COLUMNS} FROM spaces WHERE role <> 'retired' ORDER BY id")
_FIRST = text("""
INSERT INTO spaces (engine, collection, role) VALUES (:engine, :collection, 'serving')
ON CONFLICT DO NOTHING
""")
_LOCK = text("LOCK TABLE spaces IN SHARE ROW EXCLUSIVE MODE")
_ADD = text(f"""
INSERT INTO spaces (engine, collection, role) VALUES (:engine, :collection, 'shadow')
ON CONFLICT (collection) DO UPDATE SET role = 'shadow', changed_at = now() RETURNING {_COLUMNS}
""")
# A unique index is checked row by row: the one that serves steps aside first.
_ASIDE = text("UPDATE spaces SET role = 'retired', changed_at = now() WHERE id = :id")
_TAKE = text("UPDATE spaces SET role = :role, changed_at = now() WHERE id = :id")
_REPLAY = text("UPDATE spaces SET replay_id = :replay WHERE id = :id")
_FORGET = text("DELETE FROM spaces WHERE id = :id AND role = 'retired'")


class Role(StrEnum):
    """What a space is there for."""

    SERVING = "serving"
    SHADOW = "shadow"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding space; ``engine`` is ``name@revision``."""

    id: int
    engine: str
    collection: str
    role: Role
    replay_id: int | None
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Embedders:
    """The engines, each ``name@revision``, that embed for the space that serves and for its shadow."""

    serving: str = ""
    shadow: str = ""


class Spaces:
    """The table of spaces. Every change is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def active(self) -> list[Space]:
        """The space that serves and its shadow, those that there are."""
        with self._engine.connect() as connection:
            return [_space(row) for row in connection.execute(_ACTIVE)]

    def all(self) -> list[Space]:
        """Every space that is not forgotten."""
        with self._engine.connect() as connection:
            return [_space(row) for row in connection.execute(_ALL)]

    def found(self, engine: str) -> None:
        """Let ``engine`` serve, unless some space exists."""
        with self._engine.begin() as connection:
            connection.execute(_LOCK)
            if not connection.execute(_ALL).first():
                connection.execute(_FIRST, {"engine": engine, "collection": collection_of(engine)})

    def embedders(self) -> Embedders:
        """Who embeds today."""
        by_role = {space.role: space.engine for space in self.active()}
        return Embedders(by_role.get(Role.SERVING, ""), by_role.get(Role.SHADOW, ""))

    def retired(self) -> list[Space]:
        """Spaces that are filled no more, and whose collections are to go."""
        return [space for space in self.all() if space.role is Role.RETIRED]

    def of_collection(self, collection: str) -> Space | None:
        """The space that fills the collection."""
        return next((space for space in self.all() if space.collection == collection), None)

    def shadow(self, engine: str) -> Space:
        """Begin a shadow space for ``engine``, or go on with it.

        Raises RejectedInput where the engine already serves, or another shadow is there.
        """
        with self._engine.begin() as connection:
            connection.execute(_LOCK)
            for space in map(_space, connection.execute(_ACTIVE).all()):
                if space.engine == engine and space.role is Role.SERVING:
                    raise RejectedInput("already-serving", f"{engine} serves searches already")
                if space.engine != engine and space.role is Role.SHADOW:
                    raise RejectedInput(
                        "another-shadow",
                        f"{space.engine} is in the shadow already: give it up first with `vitrine models retire`",
                    )
            values = {"engine": engine, "collection": collection_of(engine)}
            return _space(connection.execute(_ADD, values).one())

    def remember_replay(self, space: Space, replay: int) -> None:
        """Note the replay that fills the space."""
        with self._engine.begin() as connection:
            connection.execute(_REPLAY, {"replay": replay, "id": space.id})

    def swap(self) -> tuple[Space, Space]:
        """The shadow serves and what served is its shadow; returns both, the serving one first.

        Raises RejectedInput where there is no shadow.
        """
        with self._engine.begin() as connection:
            connection.execute(_LOCK)
            serving, shadow = _pair(connection)
            connection.execute(_ASIDE, {"id": serving.id})
            connection.execute(_TAKE, {"id": shadow.id, "role": Role.SERVING})
            connection.execute(_TAKE, {"id": serving.id, "role": Role.SHADOW})
            changed = {space.role: space for space in map(_space, connection.execute(_ACTIVE).all())}
        return changed[Role.SERVING], changed[Role.SHADOW]

    def retire(self) -> Space:
        """The shadow is filled no more. Raises RejectedInput where there is none."""
        with self._engine.begin() as connection:
            connection.execute(_LOCK)
            _, shadow = _pair(connection)
            connection.execute(_ASIDE, {"id": shadow.id})
        return shadow

    def forget(self, space: Space) -> None:
        """Delete a retired space, once its collection is gone."""
        with self._engine.begin() as connection:
            connection.execute(_FORGET, {"id": space.id})


def collection_of(engine: str) -> str:
    """The collection's name: one for each engine's revision."""
    return "vitrine_" + re.sub(r"[^A-Za-z0-9]+", "_", engine)


def _pair(connection: Connection) -> tuple[Space, Space]:
    by_role = {space.role: space for space in map(_space, connection.execute(_ACTIVE).all())}
    if Role.SHADOW not in by_role or Role.SERVING not in by_role:
        raise RejectedInput(
            "no-shadow", "no model is in the shadow: begin with `vitrine models shadow embed=NAME`"
        )
    return by_role[Role.SERVING], by_role[Role.SHADOW]


def _space(row: Sequence[object]) -> Space:
    number, engine, collection, role, replay, created, changed = row
    assert isinstance(number, int)
    assert isinstance(created, datetime)
    assert isinstance(changed, datetime)
    return Space(
        number,
        str(engine),
        str(collection),
        Role(str(role)),
        replay if isinstance(replay, int) else None,
        created,
        changed,
    )
