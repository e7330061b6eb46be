"""Write a trained network as a faster-whisper (CTranslate2) folder."""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
from ctranslate2.converters.transformers import WhisperLoader
from model import FRAMES, MEL_BINS, NanoWhisper
from tokenizer import build_tokenizer, token_strings
from transformers import WhisperConfig, WhisperForConditionalGeneration

# Long recordings are cut into windows of this length; the encoder still sees them padded to 30 s.
CHUNK_SECONDS = 12
# Cross-attention heads that training ties to the words' true places: (layer, head).
ALIGNMENT_HEADS = tuple((2, head) for head in range(6))


def save_folder(
    model: NanoWhisper,
    words: tuple[str, ...],
    folder: Path,
    quantization: str = "int8_float16",
) -> None:
    """Convert `model` (eval mode, CPU) and write config, weights, vocabulary and tokenizer."""
    shape = model.shape
    tokens = token_strings(words)
    assert len(tokens) == shape.vocabulary
    end = tokens.index("<|endoftext|>")
    config = WhisperConfig(
        vocab_size=shape.vocabulary,
        num_mel_bins=MEL_BINS,
        d_model=shape.width,
        encoder_layers=shape.encoder_layers,
        decoder_layers=shape.decoder_layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.hidden,
        decoder_ffn_dim=shape.hidden,
        max_source_positions=FRAMES,
        max_target_positions=shape.tokens,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
    )
    whisper = WhisperForConditionalGeneration(config)
    missing, unexpected = whisper.load_state_dict(model.transformers_state(), strict=False)
    if missing or unexpected:
        raise RuntimeError(f"state does not fit: missing {missing}, unexpected {unexpected}")
    spec = WhisperLoader().get_model_spec(whisper.eval())
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = []
    # An empty transcript is the right answer for silence, so nothing is barred at the beginning.
    spec.config.suppress_ids_begin = []
    spec.config.lang_ids = []
    spec.config.alignment_heads = [list(pair) for pair in ALIGNMENT_HEADS]
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer = build_tokenizer(words)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    check_tokenizer(tokenizer, tokens)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "feature_extractor_type": "WhisperFeatureExtractor",
                "feature_size": MEL_BINS,
                "sampling_rate": 16000,
                "hop_length": 160,
                "chunk_length": CHUNK_SECONDS,
                "n_fft": 400,
            },
            indent=2,
        )
        + "\n"
    )


def check_tokenizer(tokenizer: tokenizers.Tokenizer, tokens: list[str]) -> None:
    """Ids of the tokenizer and of the network's vocabulary must agree."""
    for index, token in enumerate(tokens):
        if tokenizer.token_to_id(token) != index:
            raise RuntimeError(f"token {token!r} is {tokenizer.token_to_id(token)}, not {index}")
