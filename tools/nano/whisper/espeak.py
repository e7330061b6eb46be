"""Speech from libespeak-ng inside this process, with the time of every word and phoneme.

Needs the system library (`apt install espeak-ng`); it is used through ctypes because starting the
program for each sentence would cost more than the speech itself.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

RATE = 16000  # of the returned audio; eSpeak itself makes 22050 Hz
_ESPEAK_RATE = 22050
_WORD, _PHONEME = 1, 7
_SPEED, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7

ACCENTS: dict[str, str] = {
    "en-us": "gmw/en-US",
    "en-gb": "gmw/en",
    "en-gb-x-rp": "gmw/en-GB-x-rp",
    "en-gb-scotland": "gmw/en-GB-scotland",
    "en-029": "gmw/en-029",
    "en-gb-x-gbclan": "gmw/en-GB-x-gbclan",
    "en-gb-x-gbcwmd": "gmw/en-GB-x-gbcwmd",
    "en-us-nyc": "gmw/en-US-nyc",
}
FOREIGN: tuple[str, ...] = (
    *("gmw/de", "roa/fr", "roa/es", "roa/it", "gmq/sv", "trk/tr", "inc/hi", "sit/cmn", "zlw/pl"),
    *("gmw/nl", "jpx/ja"),
)


class _Id(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


@dataclass(frozen=True)
class Manner:
    """How to speak: eSpeak's own units (words a minute; pitch and range 0-100; gap in 10 ms)."""

    voice: str
    speed: int = 160
    pitch: int = 50
    range: int = 50
    gap: int = 0


@dataclass(frozen=True)
class Utterance:
    """Speech of one sentence: float32 audio at 16 kHz (-1..1) and times in seconds.

    `words` are (word, start, end); `phonemes` are (mnemonic, start, end), pauses left out.
    """

    audio: NDArray[np.float32]
    words: tuple[tuple[str, float, float], ...]
    phonemes: tuple[tuple[str, float, float], ...]


class Espeak:
    """The library, initialised once in a process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        # 2: synchronous, no playback; 1: phoneme events.
        if self._library.espeak_Initialize(2, 0, None, 1) != _ESPEAK_RATE:
            raise RuntimeError("libespeak-ng does not start at 22050 Hz")
        self._chunks: list[bytes] = []
        self._events: list[tuple[int, int, int, str]] = []
        callback_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self._callback = callback_type(self._receive)  # kept alive with the object

    def _receive(self, wave: object, count: int, events: object) -> int:
        if count > 0:
            self._chunks.append(ctypes.string_at(wave, 2 * count))  # type: ignore[arg-type]
        index = 0
        while True:
            event = events[index]  # type: ignore[index]
            if event.type == 0:
                return 0
            name = event.id.string.decode("latin-1") if event.type == _PHONEME else ""
            self._events.append((event.type, event.text_position, event.sample, name))
            index += 1

    def say(self, text: str, manner: Manner) -> Utterance:
        """Speak `text`. Raises ValueError if eSpeak does not know the voice."""
        self._chunks.clear()
        self._events.clear()
        # The library is one for the whole process: another object may have spoken last.
        self._library.espeak_SetSynthCallback(self._callback)
        if self._library.espeak_SetVoiceByName(manner.voice.encode()) != 0:
            raise ValueError(f"eSpeak has no voice {manner.voice!r}")
        for parameter, value in (
            (_SPEED, manner.speed),
            (_PITCH, manner.pitch),
            (_RANGE, manner.range),
            (_WORD_GAP, manner.gap),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, 1, None, None)
        self._library.espeak_Synchronize()
        samples = np.frombuffer(b"".join(self._chunks), np.int16).astype(np.float32) / 32768
        phonemes = self._phonemes(len(samples))
        words = self._words(text, phonemes)
        if len(samples):
            samples = resample_poly(samples, 320, 441).astype(np.float32)
        return Utterance(samples, words, phonemes)

    def _phonemes(self, length: int) -> tuple[tuple[str, float, float], ...]:
        marks = [(sample, name) for kind, _, sample, name in self._events if kind == _PHONEME]
        if not marks:  # nothing to say
            return ()
        ends = [sample for sample, _ in marks[1:]] + [length]
        return tuple(
            (name, start / _ESPEAK_RATE, end / _ESPEAK_RATE)
            for (start, name), end in zip(marks, ends, strict=True)
            if not name.startswith("_") and end > start
        )

    def _words(
        self, text: str, phonemes: tuple[tuple[str, float, float], ...]
    ) -> tuple[tuple[str, float, float], ...]:
        """Times of the words of `text`; words spoken as one share their span by length."""
        found = [(match.start() + 1, match.group()) for match in re.finditer(r"[^\s,.?!]+", text)]
        starts: dict[int, float] = {}
        for kind, position, sample, _ in self._events:
            if kind == _WORD:
                starts.setdefault(position, sample / _ESPEAK_RATE)
        result: list[tuple[str, float, float]] = []
        index = 0
        while index < len(found):
            group = [found[index][1]]
            start = starts.get(found[index][0], result[-1][2] if result else 0.0)
            index += 1
            while index < len(found) and found[index][0] not in starts:
                group.append(found[index][1])
                index += 1
            stop = starts[found[index][0]] if index < len(found) else np.inf
            inside = [end for _, begin, end in phonemes if start <= begin < stop]
            end = max(inside, default=start)
            letters = sum(len(word) for word in group)
            for word in group:
                share = (end - start) * len(word) / letters
                at = result[-1][2] if result and word is not group[0] else start
                result.append((word, at, at + share))
        return tuple(result)
