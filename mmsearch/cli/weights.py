"""`mmsearch weights`: the weights of a collection's channels."""

from __future__ import annotations

from typing import Annotated

import typer

from mmsearch.cli.options import Collection, Json, LibraryOption, Set, settings_from
from mmsearch.cli.terms import weights_from
from mmsearch.settings_loading import load_settings


def weights(
    assignments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHANNEL=NUMBER]...",
            help="New weights, for example lexical=0.5 clip:image=2. 0 turns a channel off.",
        ),
    ] = None,
    *,
    library: LibraryOption = None,
    collection: Collection = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Remove all weights that were set before.")
    ] = False,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Show or set the channel weights of a collection."""
    from mmsearch.cli import output
    from mmsearch.library import Library
    from mmsearch.search.parse.json_form import check_weight

    changed = weights_from(assignments or ())
    for name, weight in changed.items():
        check_weight(name, weight)
    with Library.open(library or load_settings().library, **settings_from(set_)) as opened:
        target = opened.store.collections.get(collection)
        now = {**({} if reset else dict(target.weights)), **changed}
        if changed or reset:
            opened.store.collections.set_weights(target.id, now)
        inherited = opened.settings.weights
    if as_json:
        output.print_json({"collection": target.name, "weights": now, "library": inherited})
        return
    in_force = {**inherited, **now}
    output.out.print(
        "\n".join(f"{name} {weight:g}" for name, weight in sorted(in_force.items()))
        or "every channel has weight 1"
    )
