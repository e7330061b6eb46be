"""Speaker diarisation by clustering cepstra, without a model.

Speech is split into short pieces. Pieces whose cepstra are better described by one Gaussian than
by two are merged (the Bayesian information criterion of Chen and Gopalakrishnan, "Speaker,
environment and channel change detection and clustering via the Bayesian information criterion",
1998). The most likely sequence of voices is then assigned to all frames of speech (Viterbi).

It separates two voices in a quiet room well. For many voices, or music under speech, use pyannote.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmsearch.models import loading
from mmsearch.models.speech.cepstrum import HOP_SECONDS, SPEECH_RATE, cepstra
from mmsearch.types import Samples, Turn

Matrix = npt.NDArray[np.float64]

PENALTY = 3.0
"""Weight of a second Gaussian's parameters: higher finds fewer voices. Neighbouring frames overlap
and are not independent, so the criterion's own weight of 1 finds far too many."""

ENOUGH_SECONDS = 20.0
"""Cap of the speech of a voice that counts as evidence."""

_WINDOW_SECONDS = 90.0
"""Speech that is clustered at once; later windows are matched to the known voices. In longer
windows clusters follow the content of the speech rather than the speaker."""
_PIECE_SECONDS = 2.0
_MOST_PIECES = 400
_LEAST_SECONDS = 3.0
"""Least speech of a voice."""
_SWITCH_COST = 120.0
"""Log likelihood that a change of voice must gain, so that no single syllable changes it."""
_MOST_VOICES = 8
_PAUSE_SECONDS = 0.6
"""A shorter pause of the same voice does not end its turn."""


@dataclass(slots=True)
class _Voice:
    """Sufficient statistics of a Gaussian over some frames."""

    count: float
    total: Matrix
    """(d,)"""
    products: Matrix
    """(d, d)"""

    @classmethod
    def of(cls, frames: Matrix) -> _Voice:
        return cls(float(len(frames)), frames.sum(axis=0), frames.T @ frames)

    def joined(self, other: _Voice) -> _Voice:
        return _Voice(
            self.count + other.count, self.total + other.total, self.products + other.products
        )

    def gaussian(self) -> tuple[Matrix, Matrix]:
        """Mean (d,) and covariance (d, d)."""
        counts, totals, products = np.array([self.count]), self.total[None], self.products[None]
        return self.total / self.count, _covariances(counts, totals, products)[0]


class ClusteringDiariser:
    """A `Diariser`. Thread-safe; it has no state."""

    def __init__(self, *, penalty: float = PENALTY) -> None:
        self._penalty = penalty

    @property
    def fingerprint(self) -> str:
        return loading.fingerprint(
            adapter="clustering/1",
            penalty=self._penalty,
            rules=[
                ENOUGH_SECONDS,
                _PIECE_SECONDS,
                _LEAST_SECONDS,
                _SWITCH_COST,
                _MOST_VOICES,
                _PAUSE_SECONDS,
            ],
        )

    @property
    def weights(self) -> str:
        """It has no files."""
        return ""

    def begin(self) -> ClusteringTracker:
        return ClusteringTracker(self._penalty)

    def release(self) -> None:
        """There is nothing to free."""


class ClusteringTracker:
    """A `SpeakerTracker`: stores the voices of one recording."""

    def __init__(self, penalty: float) -> None:
        self._penalty = penalty
        self._known: list[_Voice] = []
        self._lock = threading.Lock()

    def turns(self, samples: Samples) -> tuple[Turn, ...]:
        frames, where = _speech_frames(samples)
        if len(frames) == 0:
            return ()
        speakers = np.zeros(len(frames), np.int64)
        with self._lock:
            for a, b in _windows(where):
                speakers[a:b] = self._window(frames[a:b], where[a:b])
        return _turns(where, speakers)

    def _window(self, frames: Matrix, where: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The number, within the recording, of the voice of each frame."""
        voices = _clustered([_Voice.of(frames[a:b]) for a, b in _pieces(where)], self._penalty)
        assigned = _assigned(frames, where, voices)
        return self._numbered(frames, assigned, len(voices))[assigned]

    def _numbered(
        self, frames: Matrix, assigned: npt.NDArray[np.intp], count: int
    ) -> npt.NDArray[np.int64]:
        """The number, within the recording, of each voice of this window; new ones are stored."""
        numbers = np.zeros(count, np.int64)
        taken: set[int] = set()
        by_first_frame = dict.fromkeys(assigned.tolist())
        for voice in by_first_frame:
            current = _Voice.of(frames[assigned == voice])
            free = [n for n in range(1, len(self._known) + 1) if n not in taken]
            cost, number = np.inf, 0
            if free:
                known = [self._known[n - 1] for n in free]
                costs = _merging_costs(current, known, self._penalty)
                cost, number = float(costs.min()), free[int(costs.argmin())]
            if cost < 0 or (number and len(self._known) >= _MOST_VOICES):
                self._known[number - 1] = self._known[number - 1].joined(current)
            else:
                self._known.append(current)
                number = len(self._known)
            numbers[voice] = number
            taken.add(number)
        return numbers


# ------------------------------------------------------------------ frames


def _speech_frames(samples: Samples) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """Cepstra of the frames of speech (n, d), and their frame numbers in the stretch (n,)."""
    from faster_whisper.vad import get_speech_timestamps

    speech = get_speech_timestamps(
        np.ascontiguousarray(samples, np.float32), min_silence_duration_ms=300, speech_pad_ms=30
    )
    rows: list[Matrix] = []
    places: list[npt.NDArray[np.int64]] = []
    step = int(HOP_SECONDS * SPEECH_RATE)
    for stretch in speech:
        frames, loud = cepstra(samples[stretch["start"] : stretch["end"]])
        rows.append(frames[loud])
        places.append(stretch["start"] // step + np.flatnonzero(loud))
    if not rows:
        return np.empty((0, 1)), np.empty(0, np.int64)
    return np.concatenate(rows), np.concatenate(places).astype(np.int64)


def _windows(where: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Spans of rows of at most about _WINDOW_SECONDS of speech, split at the longest pause."""
    longest = int(_WINDOW_SECONDS / HOP_SECONDS)
    spans: list[tuple[int, int]] = []
    start = 0
    while len(where) - start > longest * 1.5:
        first = start + longest // 2
        gaps = np.diff(where[first : start + longest])
        end = first + int(gaps.argmax()) + 1
        spans.append((start, end))
        start = end
    return [*spans, (start, len(where))]


def _pieces(where: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Spans of rows of about _PIECE_SECONDS each, split at pauses where there are any."""
    length = max(_PIECE_SECONDS, len(where) * HOP_SECONDS / _MOST_PIECES) / HOP_SECONDS
    pauses = np.flatnonzero(np.diff(where) > 0.25 / HOP_SECONDS) + 1
    spans: list[tuple[int, int]] = []
    for start, end in zip([0, *pauses], [*pauses, len(where)], strict=True):
        count = max(1, round((end - start) / length))
        edges = np.linspace(start, end, count + 1).astype(int)
        spans += [(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        # A single word says little about a voice: it is appended to the piece before it.
        short = joined and end - start < 0.5 / HOP_SECONDS
        near = joined and where[start] - where[start - 1] < 0.5 / HOP_SECONDS
        if short and near:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


# ------------------------------------------------------------------ clusters


def _covariances(counts: Matrix, totals: Matrix, products: Matrix) -> Matrix:
    """(n, d, d) by maximum likelihood, shrunk towards their diagonals against singularity."""
    means = totals / counts[:, None]
    covariances = products / counts[:, None, None] - means[:, :, None] * means[:, None, :]
    dimension = totals.shape[1]
    share = (dimension / (dimension + counts))[:, None, None]
    identity = np.eye(dimension)
    return np.asarray((1 - share * (1 - identity)) * covariances + 1e-3 * identity)


def _log_volumes(counts: Matrix, totals: Matrix, products: Matrix) -> Matrix:
    """count * log det of the covariance, (n,)."""
    logdets = np.linalg.slogdet(_covariances(counts, totals, products))[1]
    return np.asarray(counts * logdets)


def _merging_costs(voice: _Voice, others: Sequence[_Voice], penalty: float) -> Matrix:
    """The criterion for `voice` and each of the others, (n,); below 0: one Gaussian is better."""
    voices = [voice, *others]
    counts = np.array([voice.count for voice in voices])
    # No voice is exactly Gaussian: with enough frames any difference becomes significant.
    share = np.minimum(1.0, ENOUGH_SECONDS / HOP_SECONDS / counts)
    counts = share * counts
    totals = share[:, None] * np.stack([voice.total for voice in voices])
    products = share[:, None, None] * np.stack([voice.products for voice in voices])
    alone = _log_volumes(counts, totals, products)
    together = counts[1:] + counts[0]
    joined = _log_volumes(together, totals[1:] + totals[0], products[1:] + products[0])
    dimension = totals.shape[1]
    parameters = dimension + dimension * (dimension + 1) / 2
    gain = 0.5 * (joined - alone[1:] - alone[0])
    return np.asarray(gain - 0.5 * penalty * parameters * np.log(together))


def _clustered(pieces: Sequence[_Voice], penalty: float) -> list[_Voice]:
    """Merge the most similar pair until no merge is an improvement; drop voices that are short."""
    voices = list(pieces)
    costs = np.full((len(voices), len(voices)), np.inf)
    for i in range(1, len(voices)):
        costs[i, :i] = _merging_costs(voices[i], voices[:i], penalty)
    while len(voices) > 1:
        i, j = divmod(int(np.argmin(costs)), len(voices))
        if costs[i, j] >= 0 and len(voices) <= _MOST_VOICES:
            break
        voices[j] = voices[j].joined(voices[i])
        del voices[i]
        costs = np.delete(np.delete(costs, i, axis=0), i, axis=1)
        if len(voices) > 1:
            others = [k for k in range(len(voices)) if k != j]
            row = _merging_costs(voices[j], [voices[k] for k in others], penalty)
            for k, cost in zip(others, row, strict=True):
                costs[max(k, j), min(k, j)] = cost
    least = _LEAST_SECONDS / HOP_SECONDS
    lasting = [voice for voice in voices if voice.count >= least]
    return lasting or [max(voices, key=lambda voice: voice.count)]


def _assigned(
    frames: Matrix, where: npt.NDArray[np.int64], voices: Sequence[_Voice]
) -> npt.NDArray[np.intp]:
    """The voice of every frame: the most likely sequence with a cost of changes (Viterbi)."""
    if len(voices) == 1:
        return np.zeros(len(frames), np.intp)
    likelihoods = np.stack([_log_likelihood(frames, voice) for voice in voices], axis=1)
    count = len(voices)
    best = likelihoods[0].copy()
    came_from = np.zeros((len(frames), count), np.intp)
    gaps = np.diff(where, prepend=where[0])
    # A change of voice is cheaper after a pause.
    prices = _SWITCH_COST / (1 + gaps * HOP_SECONDS * 2)
    for at in range(1, len(frames)):
        top = int(best.argmax())
        stay = best >= best[top] - prices[at]
        came_from[at] = np.where(stay, np.arange(count), top)
        best = np.where(stay, best, best[top] - prices[at]) + likelihoods[at]
    path = np.zeros(len(frames), np.intp)
    path[-1] = int(best.argmax())
    for at in range(len(frames) - 1, 0, -1):
        path[at - 1] = came_from[at, path[at]]
    return path


def _log_likelihood(frames: Matrix, voice: _Voice) -> Matrix:
    mean, covariance = voice.gaussian()
    inverse = np.linalg.inv(covariance)
    _, logdet = np.linalg.slogdet(covariance)
    away = frames - mean
    return np.asarray(-0.5 * (np.einsum("nd,de,ne->n", away, inverse, away) + logdet))


def _turns(where: npt.NDArray[np.int64], speakers: npt.NDArray[np.int64]) -> tuple[Turn, ...]:
    """Runs of one speaker, joined over short pauses."""
    turns: list[Turn] = []
    for frame, speaker in zip(where.tolist(), speakers.tolist(), strict=True):
        start = frame * HOP_SECONDS
        last = turns[-1] if turns else None
        if last and last.speaker == speaker and start - last.end <= _PAUSE_SECONDS:
            turns[-1] = Turn(last.start, start + HOP_SECONDS, speaker)
        else:
            begin = max(start, last.end) if last else start
            turns.append(Turn(begin, start + HOP_SECONDS, speaker))
    return tuple(Turn(round(t.start, 2), round(t.end, 2), t.speaker) for t in turns)
