"""The faster-whisper adapter: what is kept, what is dropped, in both ways of decoding."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mmsearch.errors import ConfigurationError, DamagedModelError, WeightsNotFoundError
from mmsearch.models import loading
from mmsearch.models.runtime import Runtime
from mmsearch.models.speech import whisper
from mmsearch.models.speech.whisper import WhisperTranscriber
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


class Engine:
    """Stands in for faster-whisper's model where the adapter's own part is tested."""

    def __init__(self, segments: list[Segment], languages: tuple[str, ...] = ()) -> None:
        self.segments = segments
        self.languages = list(languages)
        self.options: list[dict[str, Any]] = []
        self.lengths: list[int] = []
        self.model = type("Model", (), {"is_multilingual": bool(languages)})

    def transcribe(
        self, samples: npt.NDArray[np.float32], **options: Any
    ) -> tuple[Iterator[Segment], Any]:
        self.options.append(options)
        self.lengths.append(len(samples))
        return iter(self.segments), None

    def detect_language(self, audio: npt.NDArray[np.float32]) -> tuple[str, float, list[Any]]:
        # The louder, the later in the list.
        return self.languages[int(np.abs(audio).max() > 0.5)], 0.95, []


def with_engine(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    speech: tuple[tuple[float, float], ...] = ((0, 1),),
    **options: Any,
) -> WhisperTranscriber:
    """A transcriber with that engine, in recordings with speech at these seconds."""
    transcriber = WhisperTranscriber("nobody", **options)
    loaded = whisper._Loaded(engine)
    monkeypatch.setattr(transcriber, "_lazy", loading.Lazy(lambda: loaded))
    spans = [(int(a * 16_000), int(b * 16_000)) for a, b in speech]
    monkeypatch.setattr(whisper, "detect_speech", lambda samples, longest, sentences: spans)
    return transcriber


def test_language_is_discarded_when_nothing_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language heard in noise is a guess about nothing."""
    noise = np.zeros(16_000, np.float32)
    made_up = Engine([Segment("ja ja ja ja", compression_ratio=3)], ("de", "de"))
    heard = with_engine(made_up, monkeypatch).transcribe(noise)
    assert (heard.language, heard.language_probability, heard.utterances) == (None, 0.0, ())


def test_where_nobody_speaks_whisper_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine([Segment("Thanks for watching!")], ("en", "en"))
    heard = with_engine(engine, monkeypatch, speech=()).transcribe(np.zeros(16_000, np.float32))
    assert heard.utterances == ()
    assert engine.options == []


@pytest.mark.parametrize("mode", ["sequential"])
def test_sensible_options_reach_the_library(monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    engine = Engine([Segment("Guten Tag", end=0.8)], ("de", "de"))
    heard = with_engine(engine, monkeypatch, mode=mode).transcribe(np.zeros(16_000, np.float32))
    assert (heard.language, heard.utterances[0].text) == ("de", "Guten Tag")
    (options,) = engine.options
    assert options["vad_filter"] is False  # voice activity was detected before
    assert options["word_timestamps"] is True
    assert options["condition_on_previous_text"] is False
    assert options["task"] == "transcribe"
    assert options["language"] == "de"


def test_each_language_is_written_in_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording of two languages is heard in two runs, with times of the whole."""
    word = type("Word", (), {"word": " so", "start": 0.5, "end": 22.0, "probability": 0.9})
    engine = Engine([Segment("So.", 0.5, 22.0, words=(word,))], ("en", "de"))
    samples = np.full(50 * 16_000, 0.1, np.float32)
    samples[24 * 16_000 :] = 0.9
    speech = ((0.0, 20.0), (28.0, 50.0))
    heard = with_engine(engine, monkeypatch, speech).transcribe(samples)
    assert [one.language for one in heard.utterances] == ["en", "de"]
    assert [options["language"] for options in engine.options] == ["en", "de"]
    # Each run is decoded from 0.2 s before its speech.
    assert [one.start for one in heard.utterances] == pytest.approx([0.5, 28.3])
    assert [one.words[0].end for one in heard.utterances] == pytest.approx([20.2, 49.8])
    once = with_engine(engine, monkeypatch, speech, each_language=False).transcribe(samples)
    assert {one.language for one in once.utterances} == {"en"}


class Forgetful(Engine):
    """Writes only the first second of what it is shown; German is louder than English."""

    def transcribe(
        self, samples: npt.NDArray[np.float32], **options: Any
    ) -> tuple[Iterator[Segment], Any]:
        super().transcribe(samples, **options)
        text = f"text {len(self.options)}"
        return iter([Segment(text, 0.0, min(2.0, len(samples) / 16_000))]), None


@pytest.mark.parametrize("mode", ["sequential"])
def test_speech_without_text_is_decoded_again_alone(
    monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    """Once, and in its own language, whatever the language around it."""
    engine = Forgetful([], ("en", "de"))
    samples = np.full(20 * 16_000, 0.1, np.float32)
    samples[10 * 16_000 : 14 * 16_000] = 0.9
    speech = ((0.0, 1.8), (4.0, 4.7), (10.0, 13.0), (17.0, 17.3))
    heard = with_engine(engine, monkeypatch, speech, mode=mode).transcribe(samples)
    written = [(one.text, one.language, round(one.start, 1)) for one in heard.utterances]
    assert written == [
        ("text 1", "en", 0.0),
        ("text 4", "en", 4.0),
        ("text 2", "de", 9.8),
        ("text 5", "de", 11.8),
        ("text 3", "en", 16.8),
    ]
    assert len(engine.options) == 5
    once = with_engine(Forgetful([], ("en", "de")), monkeypatch, ((0.0, 1.9),), mode=mode)
    assert len(once.transcribe(samples[: 2 * 16_000]).utterances) == 1


def test_translation_is_asked_of_other_languages_only(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine([Segment("Good day.", end=0.8)], ("de", "en"))
    transcriber = with_engine(engine, monkeypatch, translate=True)
    (german,) = transcriber.transcribe(np.full(16_000, 0.1, np.float32)).utterances
    (english,) = transcriber.transcribe(np.full(16_000, 0.9, np.float32)).utterances
    assert [options["task"] for options in engine.options] == ["translate", "transcribe"]
    assert (german.language, german.translated) == ("de", True)
    assert (english.language, english.translated) == ("en", False)


def test_a_model_that_cannot_translate_says_so(tiny: Path) -> None:
    with pytest.raises(ConfigurationError, match="English only"):
        _ = WhisperTranscriber(str(tiny), translate=True).fingerprint


def test_a_models_own_rules_and_the_settings_on_top(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "described"
    shutil.copytree(tiny, folder)
    told = {"rules": {"max_compression": 2.0, "floor_logprob": -0.9}}
    (folder / "mmsearch.json").write_text(json.dumps(told))
    rules = WhisperTranscriber(str(folder), rules={"min_logprob": -0.5})._lazy.get().rules
    assert (rules.max_compression, rules.floor_logprob, rules.min_logprob) == (2.0, -0.9, -0.5)
    (folder / "mmsearch.json").write_text('{"rules": {"unheard_of": 1}}')
    with pytest.raises(DamagedModelError, match="cannot be loaded"):
        _ = WhisperTranscriber(str(folder)).fingerprint


def test_a_model_hears_only_in_domain_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has never learnt from it is not shown."""

    class Loud:
        def in_domain(self, samples: Any, speech: list[tuple[int, int]]) -> list[tuple[int, int]]:
            return [(a, b) for a, b in speech if np.abs(samples[a:b]).max() > 0.5]

    engine = Engine([Segment("hello")])
    transcriber = with_engine(engine, monkeypatch, ((0, 1), (2, 3)))
    transcriber._lazy.get()
    loaded = whisper._Loaded(engine, detector=Loud())  # type: ignore[arg-type]
    monkeypatch.setattr(transcriber, "_lazy", loading.Lazy(lambda: loaded))
    shown: list[npt.NDArray[np.float32]] = []

    def transcribe(samples: npt.NDArray[np.float32], **_: Any) -> Any:
        shown.append(samples)
        return iter([]), None

    monkeypatch.setattr(engine, "transcribe", transcribe)
    samples = np.full(3 * 16_000, 0.1, np.float32)
    transcriber.transcribe(samples)
    assert shown == []
    samples[2 * 16_000 :] = 0.9
    transcriber.transcribe(samples)
    margin = 16_000 // 5
    assert len(shown[0]) == 16_000 + margin
    assert not shown[0][:margin].any()
    assert shown[0][margin:].all()


def test_a_model_that_hears_one_utterance_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stretch of speech is a window of its own, and the library cuts no others."""
    engine = Engine([Segment("hello")])
    transcriber = with_engine(engine, monkeypatch, ((0, 1), (2, 3.5)))
    loaded = whisper._Loaded(engine, alone=11.0)
    monkeypatch.setattr(transcriber, "_lazy", loading.Lazy(lambda: loaded))
    transcriber.transcribe(np.full(3 * 16_000, 0.1, np.float32))
    (options,) = engine.options
    assert options["vad_filter"] is False
    assert options["clip_timestamps"] == [0.0, 1.0, 2.0, 3.0]


def test_silence_that_only_fills_a_window_up_is_left_out() -> None:
    """Down to what the model wants; what is heard stays whole."""
    seen: list[np.ndarray[Any, Any]] = []
    encode = whisper.shortened(seen.append, seconds=8.0)
    features = np.zeros((80, 3000), np.float32)
    features[:, :499] = -1.0
    encode(features)
    features[:, :1233] = -1.0
    encode(features)
    encode(np.stack([features, np.zeros_like(features)]))
    assert [one.shape for one in seen] == [(80, 800), (80, 1234), (2, 80, 1234)]
    assert all(one.flags.c_contiguous for one in seen)


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
    with pytest.raises(ConfigurationError, match="no device"):
        _ = WhisperTranscriber(str(tmp_path), runtime=Runtime(device="cuda:99")).fingerprint


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
    transcriber = WhisperTranscriber(str(tiny), mode=mode, runtime=Runtime(threads=1))
    heard = transcriber.transcribe(np.zeros(5 * 16_000, np.float32))
    assert (heard.language, heard.utterances) == (None, ())


def test_fingerprint_follows_what_changes_a_transcript(tiny: Path) -> None:
    one = WhisperTranscriber(str(tiny), runtime=Runtime(threads=1)).fingerprint
    assert (
        WhisperTranscriber(str(tiny), runtime=Runtime(threads=2, precision="fp32")).fingerprint
        == one
    )
    assert WhisperTranscriber(str(tiny), mode="batched").fingerprint != one


@pytest.mark.parametrize("mode", ["sequential", "batched"])
def test_voice_activity_is_detected_once(
    tiny: Path, data: Path, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    import faster_whisper.transcribe
    import faster_whisper.vad
    from faster_whisper.audio import decode_audio

    calls: list[int] = []
    detect = faster_whisper.vad.get_speech_timestamps

    def counted(samples: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(len(samples))
        return detect(samples, *arguments, **options)

    monkeypatch.setattr(faster_whisper.vad, "get_speech_timestamps", counted)
    monkeypatch.setattr(faster_whisper.transcribe, "get_speech_timestamps", counted)
    samples = decode_audio(str(data / "audio/jfk.wav"))
    WhisperTranscriber(str(tiny), mode=mode, runtime=Runtime(threads=1)).transcribe(samples)
    assert calls == [len(samples)]


@pytest.mark.parametrize("mode", ["sequential", "batched"])
def test_speech_has_words_within_its_stretches(tiny: Path, data: Path, mode: Any) -> None:
    """On real speech, whatever the model babbles, no time lies outside the recording."""
    from faster_whisper.audio import decode_audio

    file = max((data / "audio").glob("*.wav"), key=lambda p: p.stat().st_size)
    samples = decode_audio(str(file))[: 8 * 16_000]
    transcriber = WhisperTranscriber(str(tiny), mode=mode, runtime=Runtime(threads=1))
    heard = transcriber.transcribe(samples, language="en")
    for utterance in heard.utterances:
        assert 0 <= utterance.start <= utterance.end <= len(samples) / 16_000
        assert utterance.text
    transcriber.release()
