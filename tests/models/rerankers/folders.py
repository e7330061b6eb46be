"""Small models that rerank, at random weights, written as transformers itself writes them."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2Processor,
    BlipImageProcessor,
    CLIPImageProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

SPECIAL = ["<pad>", "<unk>", "<image>", "<user>", "<assistant>", "<end>"]
_WORDS = (
    "yes no does this picture show answer or how well match the description give a score from 0 "
    "not at all to 10 perfectly with json only number red blue green boat house tea boil water "
    "and one short sentence say why in ? . , : ; \" ' ( ) { } -"
)
WORDS = _WORDS.split()
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% elif part['type'] == 'text' %}"
    " {{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def a_tokenizer(*, pair: bool = False) -> PreTrainedTokenizerFast:
    """Whole words, lower case; with `pair`, as BERT puts two texts together."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] if pair else SPECIAL
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*special, *WORDS]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special[1]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if pair:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]",
            cls_token="[CLS]", sep_token="[SEP]", model_max_length=64,
        )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<end>",
        additional_special_tokens=SPECIAL[2:5], model_max_length=256,
    )  # fmt: skip


def write_vlm(folder: Path, *, seed: int = 0) -> Path:
    """A LLaVA of some ten thousand parameters, which answers every question with yes or no."""
    tokenizer = a_tokenizer()
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model", "image_size": 32, "patch_size": 16,
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "projection_dim": 16, "initializer_range": 0.5,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": len(tokenizer), "hidden_size": 32,
            "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.5,
            "tie_word_embeddings": False, "pad_token_id": 0, "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
        for parameter in model.model.multi_modal_projector.parameters():
            parameter.data.normal_(0, 0.7)
        # The logits of yes and no are each other's opposite, all others are 0.
        answer = torch.randn(32) * 0.3
        head = model.lm_head.weight.data
        head.zero_()
        head[tokenizer.convert_tokens_to_ids("yes")] = answer
        head[tokenizer.convert_tokens_to_ids("no")] = -answer
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    images = CLIPImageProcessor(
        size={"height": 32, "width": 32}, do_center_crop=False, do_resize=True, do_convert_rgb=True
    )
    LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
        image_token="<image>",
    ).save_pretrained(folder)
    return folder


def write_cross_encoder(folder: Path, *, labels: int = 1) -> Path:
    """A BERT that reads a pair of texts."""
    tokenizer = a_tokenizer(pair=True)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=64, num_labels=labels,
        initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_blip2(folder: Path) -> Path:
    """A BLIP-2 with its matching head."""
    tokenizer = a_tokenizer(pair=True)
    config = Blip2Config(
        vision_config={
            "image_size": 32, "patch_size": 16, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.5,
        },
        qformer_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "encoder_hidden_size": 32,
            "max_position_embeddings": 64, "cross_attention_frequency": 1,
            "use_qformer_text_input": True, "initializer_range": 0.5,
        },
        text_config={
            "model_type": "opt", "vocab_size": len(tokenizer), "hidden_size": 16, "ffn_dim": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "word_embed_proj_dim": 16,
            "max_position_embeddings": 64,
        },
        num_query_tokens=4,
        image_text_hidden_size=16,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = Blip2ForImageTextRetrieval(config)
        model.query_tokens.data.normal_(0, 1)
        model.save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    Blip2Processor(images, tokenizer).save_pretrained(folder)
    return folder
