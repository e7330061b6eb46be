"""The shape of nano-vlm: configuration, tokenizer, processor, and the folder they are saved in.

The architecture is transformers' FastVLM (a convolutional image tower, a projector and a Qwen2
language model), made very small.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from data import GRID, SIDE
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from transformers import (
    CLIPImageProcessor,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from vision import TOWER, TOWER_ARGS, WIDTH

from mmsearch.demo.picturebook import words

SPECIAL = ("<pad>", "<unk>", "<image>", "<user>", "<assistant>", "<end>")
# The question a reranker asks is always the same: whole as one token it costs nothing.
PHRASES = ("Does this picture show", "Answer yes or no.")
EXTRA = ("image", "answer", "yes", "no", "does", "describe", "question")
PUNCTUATION = ".,?!;:'\"()-/&%"
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<assistant>' }}{% else %}{{ '<user>' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '<end>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words of the picture book; any other word is spelled letter by letter."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    entries = [*SPECIAL, *PUNCTUATION, *letters, *("##" + letter for letter in letters)]
    entries += sorted((words() | set(EXTRA)) - set(entries))
    vocabulary = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="<unk>", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_tokens([AddedToken(p, normalized=False, lstrip=True) for p in PHRASES])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<end>",
        additional_special_tokens=["<image>", "<user>", "<assistant>"],
        model_max_length=512,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_config(tokenizer: PreTrainedTokenizerFast) -> FastVlmConfig:
    image = tokenizer.convert_tokens_to_ids("<image>")
    return FastVlmConfig(
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": TOWER,
            "model_args": TOWER_ARGS,
            "do_pooling": False,
            "hidden_size": WIDTH,
            "num_features": WIDTH,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 160,
            "intermediate_size": 320,
            "num_hidden_layers": 4,
            "num_attention_heads": 5,
            "num_key_value_heads": 5,
            "max_position_embeddings": 512,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        image_token_index=image,
        image_seq_length=GRID * GRID,
        tie_word_embeddings=True,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> FastVlmForConditionalGeneration:
    return FastVlmForConditionalGeneration(build_config(tokenizer))


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    images = CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE},
        do_center_crop=False,
        do_resize=True,
        resample=3,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        do_convert_rgb=True,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=SIDE // GRID,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
        image_token="<image>",
    )


def save(model: FastVlmForConditionalGeneration, folder: Path) -> None:
    """Writes the folder that AutoProcessor and AutoModelForImageTextToText load, weights fp16."""
    tokenizer = build_tokenizer()
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    state = {n: v.to(torch.float16) if v.is_floating_point() else v for n, v in state.items()}
    half = build_model(tokenizer).to(torch.float16)
    half.load_state_dict(state)
    half.save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
