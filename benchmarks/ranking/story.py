"""The result page: targets, what each part of ranking is worth, then every set in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ceiling import ceiling

from mmsearch.evaluation.experiment import Evaluation
from mmsearch.evaluation.page import Bar, Block, Chart, Heading, Page, Paragraph, Table
from mmsearch.evaluation.report import blocks, comparison_table
from mmsearch.evaluation.runs import Run, compare_runs
from mmsearch.evaluation.significance import Comparison, holm
from mmsearch.settings import Settings

MAIN = "nDCG@10"
TOGETHER = ("mixed", "everything")
"""The sets in which all kinds lie together, asked for in words."""

ABOUT = {
    "pictures": "Drawn scenes of combinations that no model was trained on, asked for in three "
    "words (object), with the place, with a relation, or in a whole sentence (detailed).",
    "relational": "Scenes and their rivals: the same things mirrored, in each other's colours or "
    "places. One picture is right.",
    "photos": "Real photos (Flickr8k, never trained on), two human captions each.",
    "texts": "Notes asked for in other words than theirs (told), records asked for by number or "
    "code (typed words), by a family name without its accents (typed names) and by what they are "
    "about.",
    "speech": "Memos spoken by eSpeak NG, as nano-whisper hears them; and published transcripts of "
    "real recordings, as text files (nano-whisper does not understand real voices), asked for "
    "by hand-written questions and by four words said in them.",
    "mixed": "Stories of which a picture, a note, a spoken memo or several were kept. Every query "
    "has right answers of at least two kinds.",
    "otherwise": "The mixed set's files, asked for by a picture of the same scene in another "
    "style, and by voice (eSpeak NG).",
    "everything": "All kinds in one library, as people's are: real photos, drawn pictures with "
    "their notes and memos, records, transcripts of real recordings. Asked for as in the other "
    "sets; most queries have answers of one kind, which any of the others may push down.",
}

PARTS = {
    "fusion": (
        "Fusion",
        "The first stage (with) against the set's best single channel, chosen after the fact.",
    ),
    "raw": (
        "Raw cosines",
        "The first stage (with) against sorting raw cosines of all modalities together.",
    ),
    "lexical": ("The lexical channel", "Full text beside the vectors."),
    "text": ("The text space", "Sentence vectors of passages and transcripts."),
    "clip": ("CLIP", "Pictures by words."),
    "calibration": ("Calibration", "Calibrated scores (with) in place of ranks (without)."),
    "cut-off": (
        "The cut-off",
        "What the default least score (with) costs; without it everything is ranked.",
    ),
    "rerank": ("Reranking", "A second look at the first stage's best, at default settings."),
}


@dataclass(frozen=True)
class Finding:
    """One part on one set, with against without."""

    part: str
    of: str
    comparison: Comparison


def page(found: Sequence[Evaluation], part: str, machine: str) -> Page:
    findings = _findings(found)
    parts: list[Block] = [
        Paragraph(
            "What ranking is worth, part by part, on data that nothing was trained or tuned on. "
            f"Part: {part}. Made by benchmarks/ranking/data.py and benchmarks/ranking/measure.py "
            "(its first lines say how to make it again); all figures, also those not shown here, "
            "are in results.json. Weights and defaults are to be chosen on the part dev, which "
            "has other scenes, photos and seeds; none of these queries was looked at for that."
        ),
        Paragraph(f"Machine: {machine}. The figures do not depend on it."),
        Paragraph(_defaults()),
        Heading("Targets"),
        _targets(found),
        *_ceilings(found),
        *_not_measured(found),
        Chart(
            f"{MAIN} of the first stage, every set",
            [Bar(e.dataset.name, e.stages[0].figures()[MAIN], strong=True) for e in found],
        ),
        Heading("What each part is worth"),
        Paragraph(
            f"{MAIN} with the part and without it, on the same queries. Paired randomisation "
            "tests, two-sided, corrected by Holm's method over all rows of all tables of this "
            "section; rows in bold are significant at the 5 % level; intervals are 95 % bootstrap "
            "intervals."
        ),
    ]
    for name, (title, sentence) in PARTS.items():
        rows = [f for f in findings if f.part == name]
        if rows:
            parts += [
                Heading(title, 3),
                comparison_table(
                    sentence, "set", [(f.of, f.comparison) for f in rows], ("without", "with")
                ),
                Paragraph(_refused(found) if name == "cut-off" else _verdict(rows)),
            ]
    for evaluation in found:
        name = evaluation.dataset.name
        parts += [Heading(f"Set: {name}"), Paragraph(ABOUT.get(name, ""))]
        parts += blocks(replace(evaluation, versus=()), level=3)
    return Page("What ranking is worth", parts)


def _findings(found: Sequence[Evaluation]) -> list[Finding]:
    """Every part on every set it was measured on, corrected together."""
    pairs: list[tuple[str, str, Run, Run]] = []
    for evaluation in found:
        name, base = evaluation.dataset.name, evaluation.stages[0]
        if len(evaluation.channels) > 1:
            best = max(evaluation.channels, key=lambda run: run.figures()[MAIN].mean)
            pairs.append(("fusion", f"{name} (best: {best.name})", best, base))
        if len(set(evaluation.dataset.kinds().values())) > 1:
            pairs += [("raw", f"{name} ({run.name})", run, base) for run in evaluation.baselines]
        for run in evaluation.stages[1:]:
            if run.name.startswith("without "):
                pairs.append((run.name.removeprefix("without "), name, run, base))
            elif run.name == "with the cut-off":
                pairs.append(("cut-off", name, base, run))
            elif run.name.startswith("reranked"):
                pairs.append(("rerank", f"{name} ({run.name.partition(': ')[2]})", base, run))
    compared = [
        (part, of, next(c for c in compare_runs(a, b) if c.measure == MAIN))
        for part, of, a, b in pairs
    ]
    adjusted = holm([comparison.p_value for _, _, comparison in compared])
    return [
        Finding(part, of, replace(comparison, p_adjusted=p))
        for (part, of, comparison), p in zip(compared, adjusted, strict=True)
    ]


NO_RERANKING = (
    "Reranking was not measured through the engine in this run; it is off by default. The figures "
    "of nano-vlm alone are in its model card."
)


def _not_measured(found: Sequence[Evaluation]) -> list[Block]:
    reranked = any(run.name.startswith("reranked") for one in found for run in one.stages)
    return [] if reranked else [Paragraph(NO_RERANKING)]


def _ceilings(found: Sequence[Evaluation]) -> list[Block]:
    told = [
        f"{one.dataset.name} {ceiling(one.stages[0], one.dataset):.3f}"
        for one in found
        if one.dataset.name in TOGETHER
    ]
    if not told:
        return []
    return [
        Paragraph(
            f"What merging can reach at all, {MAIN}: {', '.join(told)}. That is with each kind in "
            "the order that the engine gives it, and the kinds merged by somebody who knows the "
            "answers."
        )
    ]


def _defaults() -> str:
    fields = Settings.model_fields
    return (
        f"As shipped: channels are joined by {fields['fusion'].default} (fusion), the lexical "
        "channel and both spaces weigh 1, hits are cut off at a score of "
        f"{fields['min_score'].default} and answers at {fields['answer_score'].default}, "
        f"reranking is '{fields['rerank'].default}' with a weight of "
        f"{fields['rerank_weight'].default} where it is asked for."
    )


def _refused(found: Sequence[Evaluation]) -> str:
    told = []
    for evaluation in found:
        for run in evaluation.stages:
            if run.name == "with the cut-off":
                empty = sum(not ranking for ranking in run.rankings.values())
                told.append(f"{evaluation.dataset.name} {empty} of {len(run.rankings)}")
    return (
        f"Answerable queries that it leaves without any hit: {', '.join(told)}. What it is for, "
        "queries that nothing answers, is not in these sets."
    )


def _verdict(rows: Sequence[Finding]) -> str:
    better = [f for f in rows if f.comparison.significant and f.comparison.difference.mean > 0]
    worse = [f for f in rows if f.comparison.significant and f.comparison.difference.mean < 0]
    told = []
    if better:
        told.append(f"A significant gain on {_names(better)}.")
    if worse:
        told.append(f"A significant loss on {_names(worse)}.")
    if not better and not worse:
        told.append("No significant difference on any set.")
    if better and not worse:
        told.append("It earns its place.")
    elif worse:
        told.append("It does not earn a place everywhere; see the defaults.")
    else:
        told.append("It does not earn its place by these figures.")
    return " ".join(told)


def _names(findings: Sequence[Finding]) -> str:
    return ", ".join(f"{f.of} ({f.comparison.difference.mean:+.3f})" for f in findings)


def _targets(found: Sequence[Evaluation]) -> Table:
    by_name = {evaluation.dataset.name: evaluation for evaluation in found}
    rows: list[tuple[str, str, str, str]] = []
    for mixed in (by_name[name] for name in TOGETHER if name in by_name):
        base = mixed.stages[0].figures()[MAIN].mean
        best = max(mixed.channels, key=lambda run: run.figures()[MAIN].mean)
        for run in (best, *mixed.baselines):
            other = run.figures()[MAIN].mean
            gain = base / other - 1 if other else float("inf")
            label = "best single channel, " + run.name if run is best else run.name
            rows.append(
                (
                    f"{mixed.dataset.name}: {MAIN} against {label}",
                    "+15 %",
                    f"{100 * gain:+.1f} % ({other:.3f} to {base:.3f})",
                    _met(gain >= 0.15),
                )
            )
    for name, evaluation in by_name.items():
        base_run = evaluation.stages[0].figures()
        for run in evaluation.stages[1:]:
            if not run.name.startswith("reranked"):
                continue
            if name == "relational":
                gain = run.figures()["R@1"].mean - base_run["R@1"].mean
                measured = f"{100 * gain:+.1f} points ({base_run['R@1'].mean:.3f} to "
                measured += f"{run.figures()['R@1'].mean:.3f})"
                rows.append((f"{name}: R@1, {run.name}", "+20 points", measured, _met(gain >= 0.2)))
            else:
                change = run.figures()[MAIN].mean - base_run[MAIN].mean
                measured = f"{100 * change:+.1f} points ({base_run[MAIN].mean:.3f} to "
                measured += f"{run.figures()[MAIN].mean:.3f})"
                rows.append(
                    (
                        f"{name}: {MAIN}, {run.name}",
                        "at most 1 point less",
                        measured,
                        _met(change >= -0.01),
                    )
                )
    return Table(("what", "target", "measured", "met"), rows)


def _met(yes: bool) -> str:
    return "yes" if yes else "NO"
