"""``vitrine search``: find products by words, by a photo, or by a photo changed by words."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from engines.devices import Device
from engines.words.vocabulary import vocabulary
from pipeline.errors import Transient
from storage.assets import Assets
from storage.database import open_database
from storage.hybrid import Narrow
from storage.pictures import decode
from storage.vectors import VectorIndex
from workers.bootstrap import build_engines, build_federation
from workers.commands.terminal import cell, console, print_json, rows, table
from workers.contact_sheet import contact_sheet
from workers.search import Hit, Results, Search
from workers.settings import Settings, settings


@click.command()
@click.argument("query", required=False, default="")
@click.option(
    "--image", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A photo to begin with."
)
@click.option("--text", "more", default="", help="Words beside the photo: what is to be different.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 200), help="Hits.")
@click.option("--tag", "tags", multiple=True, metavar="ATTRIBUTE:VALUE", help="Only with this tag.")
@click.option("--without", multiple=True, metavar="ATTRIBUTE:VALUE", help="Only without this tag.")
@click.option("--max-price", type=click.FloatRange(min=0), help="Only up to this price.")
@click.option("--min-price", type=click.FloatRange(min=0), help="Only from this price on.")
@click.option("--category", default="", help="Only of this category, as the catalog writes it.")
@click.option("--source", default="", help="Only of this catalog.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--open", "shown", is_flag=True, help="Show the hits as a contact sheet.")
@click.option(
    "--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write the contact sheet here."
)
def search(
    query: str,
    image: Path | None,
    more: str,
    limit: int,
    tags: tuple[str, ...],
    without: tuple[str, ...],
    max_price: float | None,
    min_price: float | None,
    category: str,
    source: str,
    as_json: bool,
    shown: bool,
    sheet: Path | None,
) -> int:
    """Find products by words in English or Chinese, by a photo, or by a photo changed by words.

    Prices and exclusions written in the words narrow the search, colours and kinds of product lift what fits.
    Exits with 1 where nothing is found.

    \b
    Example:
      vitrine search "白色运动鞋"
      vitrine search "red dress under 50, not striped" --json
      vitrine search --image photo.jpg --text "in red" --open
    """
    here = settings().connected("database_url", "qdrant_url", *(("assets_url",) if shown or sheet else ()))
    narrow = Narrow(
        all_of=tuple(map(_tag, tags)),
        none_of=tuple(map(_tag, without)),
        price_from=min_price,
        price_to=max_price,
        category=category,
        source=source,
    )
    photo = decode(image.read_bytes()).pixels if image else None
    words = " ".join(part for part in (query, more) if part)
    results = open_search(here).find(words, photo, narrow=narrow, limit=limit)
    if as_json:
        print_json(_as_json(results))
    else:
        _print(results)
    if (shown or sheet) and results.hits:
        place = sheet or Path(tempfile.mkdtemp(prefix="vitrine-")) / "hits.png"
        _draw(results, Assets(here.assets_url)).save(place)
        click.echo(f"contact sheet: {place}", err=True)
        if shown:
            click.launch(str(place))
    return 0 if results.hits else 1


def open_search(here: Settings, *, record: bool = True) -> Search:
    """A search over the deployment, in this process."""
    engines = build_engines(here, Device.choose())
    return Search(
        open_database(here.database_url, application="vitrine search"),
        VectorIndex(here.qdrant_url),
        engines,
        build_federation(here, engines).engine("segmenter"),
        record=record,
    )


def _tag(written: str) -> str:
    attribute, _, value = written.partition(":")
    words = vocabulary()
    if attribute not in words.attributes or value not in words.values(attribute):
        raise click.BadParameter(f"{written!r} is no ATTRIBUTE:VALUE of the vocabulary, such as colour:red")
    return written


def _print(results: Results) -> None:
    wish = results.wish
    notes = [
        ("wished for", ", ".join(value for _, value in wish.wanted)),
        ("excluded", ", ".join([*(value for _, value in wish.unwanted), *wish.without])),
        ("price", str(wish.price)),
    ]
    if told := "; ".join(f"{name} {value}" for name, value in notes if value):
        click.echo(told, err=True)
    if not results.hits:
        click.echo("nothing found", err=True)
        return
    lines = (
        (number, cell(hit.score), hit.document["product_id"], hit.document["title"], _price(hit), _why(hit))
        for number, hit in enumerate(results.hits, start=1)
    )
    columns = ("", "score", "product", "title", "price", "why")
    console().print(rows(table(*columns, right=("", "score", "price")), lines))


def _price(hit: Hit) -> str:
    price = hit.document.get("price")
    return f"{float(price['amount']):.2f} {price['currency']}" if price else ""


def _why(hit: Hit) -> str:
    return "; ".join(
        one.words + (f" {one.value:.2f}" if one.value is not None else "") for one in hit.reasons
    )


def _draw(results: Results, assets: Assets) -> Any:
    return contact_sheet(
        [(_photo(hit, assets), hit.document["title"] or hit.document["product_id"], _why(hit))
         for hit in results.hits]
    )  # fmt: skip


def _photo(hit: Hit, assets: Assets) -> bytes | None:
    for image in hit.document["images"]:
        if blob := image.get("photo"):
            try:
                return assets.get(blob["digest"], blob["media_type"])
            except Transient:
                return None
    return None


def _as_json(results: Results) -> object:
    wish = results.wish
    return {
        "engine": results.engine,
        "understood": {
            "text": wish.text,
            "wanted": [f"{attribute}:{value}" for attribute, value in wish.wanted],
            "unwanted": [f"{attribute}:{value}" for attribute, value in wish.unwanted],
            "without": list(wish.without),
            "price": str(wish.price),
        },
        "hits": [
            {
                "score": hit.score,
                "source": hit.document["source"],
                "product_id": hit.document["product_id"],
                "revision": hit.document["revision"],
                "title": hit.document["title"],
                "price": hit.document["price"],
                "reasons": [
                    {"kind": one.kind, "words": one.words, "value": one.value} for one in hit.reasons
                ],
            }
            for hit in results.hits
        ],
    }
