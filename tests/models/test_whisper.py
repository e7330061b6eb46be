"""The faster-whisper adapter: what is kept, what is dropped, in both ways of decoding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mmsearch.errors import ConfigurationError, DamagedModelError, WeightsNotFoundError
from mmsearch.models import whisper
from mmsearch.models.whisper import WhisperTranscriber
from mmsearch.protocols import Transcriber


@dataclass
class Segment:
    text: str
    start: float = 0.0
    end: float = 1.0
    avg_logprob: float = -0.2
    no_speech_prob: float = 0.1
    compression_ratio: float = 1.1
    words: tuple[Any, ...] | None = None


@pytest.mark.parametrize(
    ("segment", "kept"),
    [
        (Segment(" Hello there. "), True),
        (Segment("   "), False),
        (Segment("ha ha ha ha ha ha", compression_ratio=2.5), False),
        (Segment("Thanks for watching!", no_speech_prob=0.7, avg_logprob=-1.1), False),
        (Segment("A whisper in the noise.", no_speech_prob=0.7, avg_logprob=-0.5), True),
        (Segment("Hard to hear.", no_speech_prob=0.3, avg_logprob=-1.4), True),
    ],
)
def test_what_whisper_made_up_is_dropped(segment: Segment, kept: bool) -> None:
    utterances = list(whisper._kept([segment], duration=60))
    assert bool(utterances) == kept
    if kept:
        assert utterances[0].text == segment.text.strip()


class Engine:
    """Stands in for faster-whisper's model where the adapter's own part is tested."""

    def __init__(self, segments: list[Segment], language: str = "de") -> None:
        self.segments, self.language = segments, language
        self.options: dict[str, Any] = {}

    def transcribe(
        self, samples: npt.NDArray[np.float32], language: str | None, **options: Any
    ) -> tuple[Iterator[Segment], Any]:
        self.options = options
        info = type(
            "Info", (), {"language": language or self.language, "language_probability": 0.9}
        )
        return iter(self.segments), info


def with_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> WhisperTranscriber:
    monkeypatch.setattr(WhisperTranscriber, "_load", lambda self: engine)
    return WhisperTranscriber("nobody")


def test_language_is_discarded_when_nothing_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language heard in noise is a guess about nothing."""
    noise = np.zeros(16_000, np.float32)
    silent = with_engine(Engine([]), monkeypatch).transcribe(noise)
    assert (silent.language, silent.language_probability, silent.utterances) == (None, 0.0, ())
    made_up = Engine([Segment("ja ja ja ja", compression_ratio=3)])
    assert with_engine(made_up, monkeypatch).transcribe(noise).language is None


def test_sensible_options_reach_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine([Segment("Guten Tag", end=0.8)])
    heard = with_engine(engine, monkeypatch).transcribe(np.zeros(16_000, np.float32))
    assert (heard.language, heard.utterances[0].text) == ("de", "Guten Tag")
    assert engine.options["vad_filter"] is True
    assert engine.options["word_timestamps"] is True
    assert engine.options["condition_on_previous_text"] is False


def test_no_samples_and_wrong_shapes() -> None:
    transcriber: Transcriber = WhisperTranscriber("nobody")
    assert transcriber.transcribe(np.zeros(0, np.float32)).utterances == ()
    with pytest.raises(ValueError, match="mono"):
        transcriber.transcribe(np.zeros((10, 2), np.float32))


def test_incomplete_folders(tmp_path: Path) -> None:
    """Without a tokenizer the library would fetch one from a hub."""
    (tmp_path / "model.bin").write_bytes(b"no model")
    with pytest.raises(WeightsNotFoundError, match=r"tokenizer\.json"):
        _ = WhisperTranscriber(str(tmp_path)).fingerprint
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DamagedModelError, match="fetch them again"):
        _ = WhisperTranscriber(str(tmp_path)).fingerprint
    with pytest.raises(ConfigurationError, match="is not there"):
        _ = WhisperTranscriber(str(tmp_path), device="cuda:99").fingerprint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper of two narrow layers at random weights: it babbles, but through the real code."""
    import torch
    from ctranslate2.converters.transformers import WhisperLoader
    from ctranslate2.specs import whisper_spec  # noqa: F401  # the loader wants it imported
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperForConditionalGeneration,
    )

    folder = tmp_path_factory.mktemp("whisper")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>"]
    special += ["<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    special += ["<|notimestamps|>", *(f"<|{i * 0.02:.2f}|>" for i in range(1501))]
    made.add_special_tokens([AddedToken(token, special=True) for token in special])
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=made.get_vocab_size(),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        bos_token_id=256,
        eos_token_id=256,
        pad_token_id=256,
        decoder_start_token_id=257,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    loader = WhisperLoader()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>")
    spec = loader.get_model_spec(model)
    loader.set_vocabulary(spec, loader.get_vocabulary(model, fast))
    loader.set_config(spec.config, model, fast)
    spec.validate()
    spec.optimize(quantization="int8")
    spec.save(str(folder))
    made.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"feature_size": 80, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400})
    )
    return folder


@pytest.mark.parametrize("mode", ["sequential", "batched"])
def test_silence_says_nothing_through_the_real_library(tiny: Path, mode: Any) -> None:
    """Voice activity detection leaves nothing, and then nothing may come back or fail."""
    transcriber = WhisperTranscriber(str(tiny), mode=mode, threads=1)
    heard = transcriber.transcribe(np.zeros(5 * 16_000, np.float32))
    assert (heard.language, heard.utterances) == (None, ())


def test_fingerprint_follows_what_changes_a_transcript(tiny: Path) -> None:
    one = WhisperTranscriber(str(tiny), threads=1).fingerprint
    assert WhisperTranscriber(str(tiny), threads=2, precision="fp32").fingerprint == one
    assert WhisperTranscriber(str(tiny), mode="batched").fingerprint != one


@pytest.mark.parametrize("mode", ["sequential", "batched"])
def test_speech_has_words_within_its_stretches(tiny: Path, data: Path, mode: Any) -> None:
    """On real speech, whatever the model babbles, no time lies outside the recording."""
    from faster_whisper.audio import decode_audio

    file = max((data / "audio").glob("*.wav"), key=lambda p: p.stat().st_size)
    samples = decode_audio(str(file))[: 8 * 16_000]
    transcriber = WhisperTranscriber(str(tiny), mode=mode, threads=1)
    heard = transcriber.transcribe(samples, language="en")
    for utterance in heard.utterances:
        assert 0 <= utterance.start <= utterance.end <= len(samples) / 16_000
        assert utterance.text
    transcriber.release()
