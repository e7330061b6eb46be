"""Sound around the speech: noise, rooms, levels; and log-mels as faster-whisper makes them."""

from __future__ import annotations

import numpy as np
from espeak import RATE
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray
from scipy import fft, signal

Samples = NDArray[np.float32]
_FILTERS = FeatureExtractor().mel_filters
_HANN = np.hanning(401)[:-1].astype(np.float32)


def log_mel(audio: Samples) -> NDArray[np.float32]:
    """log10 mel power, (frames, 80), one frame each 10 ms; not yet normalised."""
    padded = np.pad(audio, (0, 160))
    padded = np.pad(padded, 200, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160]
    # The extractor drops one frame, and transcription the last one of what is left.
    power = np.abs(fft.rfft(windows * _HANN, axis=1)[:-2]) ** 2
    return np.log10(np.maximum(power @ _FILTERS.T, 1e-10)).astype(np.float32)


def noise(length: int, colour: str, draw: np.random.Generator) -> Samples:
    """Noise of unit power: white, pink or brown, or mains hum."""
    if colour == "hum":
        time = np.arange(length) / RATE
        base = draw.choice((50.0, 60.0))
        parts = [draw.uniform(0.1, 1) * np.sin(2 * np.pi * base * k * time) for k in range(1, 7)]
        made = np.sum(parts, axis=0) + 0.05 * draw.standard_normal(length)
    elif colour == "white":
        made = draw.standard_normal(length)
    elif colour == "pink":
        white = draw.standard_normal(length)
        made = signal.lfilter(
            [0.049922, -0.095994, 0.050613, -0.004409], [1, -2.494956, 2.017266, -0.522189], white
        )
    else:
        made = signal.lfilter([1.0], [1.0, -0.985], draw.standard_normal(length))
    return (made / (np.sqrt(np.mean(made**2)) + 1e-9)).astype(np.float32)


def music(seconds: float, draw: np.random.Generator) -> Samples:
    """Chords of plucked or blown tones, sometimes with beats of noise; peak below 1."""
    length = int(seconds * RATE)
    out = np.zeros(length, np.float32)
    beat = draw.uniform(0.15, 0.8)
    scale = 110 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 19, 24]) / 12)
    harmonics = draw.uniform(0, 1, 6) / np.arange(1, 7)
    at = 0.0
    while at < seconds:
        held = beat * draw.choice((1, 1, 2, 4))
        count = int(min(held * 1.5 * RATE, length - int(at * RATE)))
        time = np.arange(count) / RATE
        shape = np.exp(-time * draw.uniform(0.5, 6)) * np.minimum(1, time / 0.01)
        for tone in draw.choice(scale, size=draw.integers(1, 4)):
            pitch = tone * draw.choice((1, 2, 4))
            for k, level in enumerate(harmonics, 1):
                if pitch * k < 7500:
                    part = level * shape * np.sin(2 * np.pi * pitch * k * time)
                    out[int(at * RATE) : int(at * RATE) + count] += part.astype(np.float32)
        if draw.random() < 0.4:
            hit = draw.standard_normal(min(1600, count)) * np.exp(
                -np.arange(min(1600, count)) / 300
            )
            out[int(at * RATE) : int(at * RATE) + len(hit)] += hit.astype(np.float32)
        at += held
    return 0.8 * out / (np.abs(out).max() + 1e-6)


def disturb(
    audio: Samples, draw: np.random.Generator, crowd: list[Samples], noisy: bool = False
) -> Samples:
    """Room, band limit, tilt, noise and level, each only sometimes. `noisy`: noise in any case."""
    power = float(np.sqrt(np.mean(audio**2))) + 1e-6
    if draw.random() < 0.12 and power > 1e-4:
        tail = int(draw.uniform(0.08, 0.35) * RATE)
        room = draw.standard_normal(tail) * np.exp(-np.arange(tail) / (tail / 6))
        room = room / np.sqrt(np.sum(room**2)) * draw.uniform(0.1, 0.5)
        room[0] = 1.0
        audio = signal.fftconvolve(audio, room)[: len(audio)].astype(np.float32)
    if draw.random() < 0.25:
        tilt = draw.uniform(-0.5, 0.7)
        audio = signal.lfilter([1.0, -tilt], [1.0], audio).astype(np.float32)
    if draw.random() < 0.12:
        sos = signal.butter(6, draw.uniform(3300, 6500), fs=RATE, output="sos")
        audio = signal.sosfilt(sos, audio).astype(np.float32)
    power = float(np.sqrt(np.mean(audio**2)))
    if power < 1e-4:
        power = 10 ** draw.uniform(-4, -1)
    if (noisy and draw.random() < 0.85) or draw.random() < 0.6:
        ratio = 10 ** (-draw.uniform(6 if draw.random() < 0.35 else 15, 45) / 20)
        colour = str(draw.choice(("white", "pink", "brown", "hum", "crowd")))
        if colour == "crowd" and len(crowd) > 8:
            made = np.zeros(len(audio), np.float32)
            for _ in range(draw.integers(4, 8)):
                other = crowd[draw.integers(len(crowd))]
                start = int(draw.integers(0, max(1, len(audio) - len(other) // 2)))
                part = other[: len(audio) - start]
                made[start : start + len(part)] += part
            made = made / (np.sqrt(np.mean(made**2)) + 1e-6)
            ratio = min(ratio, 10 ** (-12 / 20))
        else:
            made = noise(len(audio), "pink" if colour == "crowd" else colour, draw)
        audio = audio + ratio * power * made
    if draw.random() < 0.3:  # recorded with 16 bits, sometimes fewer
        audio = np.round(audio * 32768) / 32768
    level = 10 ** draw.uniform(-1.5, 0.0) / (np.abs(audio).max() + 1e-6)
    if np.abs(audio).max() > 1e-4:
        audio = audio * level
    return np.clip(audio, -1, 1).astype(np.float32)
