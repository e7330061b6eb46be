"""`mmsearch`: the commands, and how errors become messages and exit statuses.

Exit status: 0 success, 1 some files failed, 2 the command could not run, 130 interrupted.
Results go to standard output. Progress, warnings and errors go to standard error.
"""

from __future__ import annotations

import logging
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer

from mmsearch import __version__
from mmsearch.cli import evaluate
from mmsearch.cli import jobs as jobs_commands
from mmsearch.cli import library as library_commands
from mmsearch.cli.collections import collections
from mmsearch.cli.models import models
from mmsearch.cli.options import Collection, Json, LibraryOption, ProfileName, Set, settings_from
from mmsearch.cli.printable import PrintableFormatter, escape
from mmsearch.cli.terms import (
    facet_from,
    json_object,
    query_from_options,
    terms_from,
    weights_from,
)
from mmsearch.cli.weights import weights
from mmsearch.settings_loading import load_settings

ABOUT = "Search photos, films, recordings and documents by their content."

BACKGROUND = "Commands for indexing in the background"
QUALITY = "Commands for search quality"
MAINTENANCE = "Commands for maintenance"

app = typer.Typer(
    name="mmsearch",
    help=ABOUT,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:  # the signature of Typer's callbacks
    if requested:
        typer.echo(f"mmsearch {__version__}")
        raise typer.Exit


@app.callback()
def common(
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print log messages to standard error.")
    ] = False,
    version: Annotated[  # noqa: ARG001  # handled by its callback
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Set up logging for every command."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, handlers=[handler])


@app.command()
def index(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Files, folders, tar shards, tables (.jsonl, .parquet) or URLs. "
            "- reads a list from standard input.",
        ),
    ] = None,
    *,
    from_list: Annotated[
        str | None,
        typer.Option(
            "--from-list",
            metavar="FILE",
            help="File with one path or URL per line. - reads standard input.",
            show_default=False,
        ),
    ] = None,
    library: LibraryOption = None,
    collection: Annotated[
        str, typer.Option(help="Collection to index into. It is created if needed.")
    ] = "default",
    profile: ProfileName = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            help="Index only files that match this glob. May be repeated.", show_default=False
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Skip files that match this glob. May be repeated.", show_default=False),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Remove sources whose files no longer exist, but not those of folders that show "
            "no files any more, as unmounted disks do.",
        ),
    ] = False,
    prune_empty: Annotated[
        bool,
        typer.Option("--prune-empty", help="As --prune, for empty and missing folders too."),
    ] = False,
    rehash: Annotated[
        bool,
        typer.Option(
            "--rehash", help="Compare the content of files whose size and times are the same."
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Retry files that failed before. Without PATH, index only those.",
        ),
    ] = False,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Index files and folders. Later runs process only what changed."""
    from indexer import runs
    from indexer.inputs.named import open_list
    from mmsearch.cli import output

    settings = settings_from(set_, profile=profile)
    named = [path for path in paths or () if path != "-"]
    lists = [open_list(name) for name in (from_list, "-" if "-" in (paths or ()) else None) if name]
    with output.RunProgress(named, include or (), exclude or (), open_end=bool(lists)) as progress:
        summary = runs.index(
            [*named],
            library or load_settings().library,
            listed=chain.from_iterable(lists) if lists else (),
            collection=collection,
            include=include or (),
            exclude=exclude or (),
            prune=prune,
            prune_empty=prune_empty,
            retry_failed=retry_failed,
            rehash=rehash,
            on_progress=progress,
            **settings,
        )
    output.print_summary(summary)
    if as_json:
        output.print_json(summary.to_json())
    if not summary.ok:
        raise typer.Exit(1)


@app.command()
def search(
    query: Annotated[
        str | None,
        typer.Argument(
            help='What to search for: words, "a phrase", -exclude, a OR b, prefix*, type:image, '
            "tag:beach, after:2024-06, without:this, like:ID."
        ),
    ] = None,
    *,
    library: LibraryOption = None,
    collection: Collection = None,
    profile: ProfileName = None,
    image: Annotated[
        list[str] | None,
        typer.Option(help="Picture to search with. FILE^0.5 sets its weight.", show_default=False),
    ] = None,
    audio: Annotated[
        list[str] | None,
        typer.Option(help="Recording to search with: its words and its sound.", show_default=False),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(help="Id of a segment to search with.", show_default=False),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Further words. WORDS^2 sets their weight.", show_default=False),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            "--not",
            help="Move away from the meaning of these words.",
            show_default=False,
        ),
    ] = None,
    term: Annotated[
        list[str] | None,
        typer.Option(help='Any term, as JSON: {"text": "4711", "channels": ["lexical"]}.'),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(help="Search only this modality: image, text, speech, sound, video, page."),
    ] = None,
    filter_: Annotated[
        str | None,
        typer.Option(
            "--filter", help='Filter, as JSON: {"mime": {"like": "image/%"}}.', show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Number of hits. Default: 10.", show_default=False)
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(help="Leave out hits with a lower score, 0 to 1."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="Weight of a channel, 0 to 10: lexical=0.5, clip:image=2."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Exact vector search.")] = False,
    sort: Annotated[
        list[str] | None,
        typer.Option(help="Sort by a field. -taken_at: newest first."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="What one hit is: segment, moment, source.", show_default="moment"),
    ] = None,
    best: Annotated[
        int | None,
        typer.Option(help="Best segments shown per file, with --group source.", show_default="3"),
    ] = None,
    fold: Annotated[
        bool, typer.Option("--fold", help="Collapse copies and near-duplicates.")
    ] = False,
    fold_at: Annotated[
        float | None,
        typer.Option(help="Collapse from this cosine similarity on.", show_default="0.95"),
    ] = None,
    diversity: Annotated[
        float,
        typer.Option(help="Rank hits higher that are unlike those before them, 0 to 1 (MMR)."),
    ] = 0.0,
    facet: Annotated[
        list[str] | None,
        typer.Option(help="Count the values of a field. taken_at:year counts by year."),
    ] = None,
    cursor: Annotated[
        str | None, typer.Option(help="Next page: the cursor of the previous --json result.")
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            help="Rerank the best hits: none, auto, vlm, blip2, cross-encoder, openai, "
            "server, or two joined by +.",
            show_default=False,
        ),
    ] = None,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="Show the reranker's reasons.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show channels, ranks, scores and times.")
    ] = False,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Search a library by words, pictures, recordings, segments, or a mix of them."""
    from mmsearch.cli import output
    from mmsearch.search.engine import SearchEngine
    from mmsearch.search.parse.json_form import result_to_json

    terms = terms_from(query, image, audio, like, text, without, term)
    with SearchEngine.open(
        library or load_settings().library, **settings_from(set_, profile=profile)
    ) as engine:
        result = engine.search(
            query_from_options(
                terms,
                modalities=modality,
                filter=None if filter_ is None else json_object(filter_, "--filter"),
                limit=engine.settings.limit if limit is None else limit,
                min_score=min_score,
                weights=weights_from(weight) if weight else None,
                collection=collection,
                exact=exact,
                sort=sort,
                group=group if best is None else {"by": group or "source", "best": best},
                fold=fold if fold_at is None else fold_at,
                diversity=diversity,
                facets=[facet_from(one) for one in facet or ()],
                cursor=cursor,
                rerank=rerank,
                reasons=reasons,
                explain=explain,
            )
        )
    if as_json:
        for warning in result.warnings:
            output.err.print(f"[yellow]warning:[/] {escape(warning)}")
        output.print_json(result_to_json(result))
    else:
        output.print_result(result)


@app.command()
def serve(
    *,
    library: LibraryOption = None,
    profile: ProfileName = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on. Default: 8765. 0 picks a free port.")
    ] = None,
    worker: Annotated[
        Literal["thread", "process", "none"],
        typer.Option(
            help="Where uploads are indexed. process: in a child process with its own models. "
            "thread: in a thread of the service. none: by a separate `mmsearch worker`."
        ),
    ] = "process",
    set_: Set = None,
) -> None:
    """Serve the search page and the HTTP API."""
    from mmsearch.cli.serve import run_server
    from mmsearch.search.engine import SearchEngine

    settings = settings_from(set_, profile=profile, host=host, port=port)
    with SearchEngine.open(library or load_settings().library, **settings) as engine:
        run_server(engine, worker=worker)


@app.command()
def demo(
    *,
    library: Annotated[
        Path | None,
        typer.Option(
            "--library",
            help="Folder for the demo library. Default: ~/.cache/mmsearch/demo.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on. Default: 8765. 0 picks a free port.")
    ] = None,
    no_serve: Annotated[
        bool, typer.Option("--no-serve", help="Run the example queries, then exit.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build a small library of drawn pictures, voice memos and notes. Search it and serve it."""
    from mmsearch.cli import demo as demonstration
    from mmsearch.cli import output
    from mmsearch.cli.serve import run_server
    from mmsearch.demo.contents import default_folder

    folder = library or default_folder()
    with demonstration.build_demo(folder, port) as engine:
        shown = demonstration.show_examples(engine)
        output.out.print(demonstration.NEXT)
        if as_json:
            output.print_json({"library": str(folder), "examples": shown})
        if not no_serve:
            run_server(engine, worker="process")


# The order of `mmsearch --help`: by what most people need first.
app.command()(library_commands.status)
for command in (jobs_commands.watch, jobs_commands.worker, jobs_commands.failures):
    app.command(rich_help_panel=BACKGROUND)(command)
app.add_typer(jobs_commands.jobs, name="jobs", rich_help_panel=BACKGROUND)
app.command("eval", rich_help_panel=QUALITY)(evaluate.evaluate)
app.command("compare", rich_help_panel=QUALITY)(evaluate.compare)
app.command(rich_help_panel=QUALITY)(weights)
app.command("import", rich_help_panel=MAINTENANCE)(jobs_commands.import_)
app.command(rich_help_panel=MAINTENANCE)(library_commands.reindex)
app.add_typer(collections, name="collections", rich_help_panel=MAINTENANCE)
app.add_typer(models, name="models", rich_help_panel=MAINTENANCE)
app.add_typer(library_commands.database, name="db", rich_help_panel=MAINTENANCE)
