"""The sentence-transformers adapter: prompts by role, limits, and text that is only text."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Pooling,
    StaticEmbedding,
    Transformer,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mmsearch.errors import DamagedModelError, WeightsNotFoundError
from mmsearch.models.runtime import Runtime
from mmsearch.models.text.sentence import SentenceEmbedder
from mmsearch.protocols import TextEmbedder

WORDS = "[PAD] [UNK] [CLS] [SEP] a red boat on the sea dog cat query : passage".split()  # noqa: SIM905


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Static word vectors, as the nano text model is."""
    folder = tmp_path_factory.mktemp("static")
    torch.manual_seed(1)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer(), embedding_dim=32)]).save(str(folder))
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer of two layers that reads 16 tokens and has no prompts of its own."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(1)
    made = tokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=16,
    ).save_pretrained(folder / "hf")
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder / "hf")
    model = SentenceTransformer(modules=[Transformer(str(folder / "hf")), Pooling(32)])
    model.save(str(folder / "model"))
    return folder / "model"


def test_prompts_by_role(bert: Path) -> None:
    """Queries and documents get their own prefixes, and nothing else is changed."""
    embedder: TextEmbedder = SentenceEmbedder(
        str(bert), prompts={"query": "query: ", "document": "passage: "}
    )
    texts = ["a red boat", "the dog"]
    library = SentenceTransformer(str(bert))
    for role, prefix in (("query", "query: "), ("document", "passage: ")):
        expected = library.encode([prefix + t for t in texts], normalize_embeddings=True)
        got = embedder.encode_texts(texts, role)  # type: ignore[arg-type]
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert embedder.count_tokens(texts) == [5, 4]
    assert embedder.max_tokens == 13, "16 less the two tokens of a prompt and one of slack"


def test_the_models_own_prompts(bert: Path, tmp_path: Path) -> None:
    """Where the model's files name prompts, they are used and enter the fingerprint."""
    model = SentenceTransformer(str(bert), prompts={"query": "query: ", "document": ""})
    model.save(str(tmp_path))
    with_prompts, without = SentenceEmbedder(str(tmp_path)), SentenceEmbedder(str(bert))
    np.testing.assert_allclose(
        with_prompts.encode_texts(["dog"], "query"),
        without.encode_texts(["query: dog"], "query"),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        with_prompts.encode_texts(["dog"], "document"),
        without.encode_texts(["dog"], "document"),
        atol=1e-6,
    )
    assert with_prompts.space.fingerprint != without.space.fingerprint


def test_the_end_of_a_long_text_counts(bert: Path, static: Path) -> None:
    """Beyond the limit the library would read nothing."""
    long = "a red boat on the sea " * 10
    for folder in (bert, static):
        embedder = SentenceEmbedder(str(folder))
        one, other, short = embedder.encode_texts([long, long + "dog " * 12, "dog"], "document")
        assert float(one @ other) < 0.9999
        np.testing.assert_allclose(short, embedder.encode_texts(["dog"], "document")[0], atol=1e-6)
    assert SentenceEmbedder(str(static)).max_tokens == 8192


def test_a_path_or_address_is_only_text(
    bert: Path, static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture's path that exists, and an address, are encoded as the words they are."""
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    monkeypatch.chdir(tmp_path)
    opened: list[object] = []
    monkeypatch.setattr(Image, "open", lambda *args, **kwargs: opened.append(args))
    texts = ["red.png", "https://example.org/red.png", "data:image/png;base64,AAAA"]
    for folder, dicts in ((bert, True), (static, False)):
        embedder = SentenceEmbedder(str(folder))
        vectors = embedder.encode_texts(texts, "query")
        assert vectors.shape == (3, 32)
        spaced = [" ".join(re.findall(r"\w+|[^\w\s]+", text)) for text in texts]
        np.testing.assert_allclose(vectors, embedder.encode_texts(spaced, "query"), atol=1e-5)
        assert embedder._lazy.get().takes_dicts is dicts
    assert opened == []


def test_text_without_a_known_word_has_a_unit_vector(static: Path) -> None:
    vectors = SentenceEmbedder(str(static)).encode_texts(["", "   ", "dog"], "query")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert SentenceEmbedder(str(static)).encode_texts([], "query").shape == (0, 32)


def test_threads_share_one_model(bert: Path) -> None:
    """Tokenizers must not be used by two threads at once ("Already borrowed")."""
    embedder = SentenceEmbedder(str(bert), runtime=Runtime(threads=1))
    texts = ["a red boat on the sea", "dog", "a cat"]
    expected = embedder.encode_texts(texts, "query")
    wrong: list[Any] = []

    def work() -> None:
        try:
            for _ in range(5):
                embedder.count_tokens(texts)
                np.testing.assert_allclose(
                    embedder.encode_texts(texts, "query"), expected, atol=1e-6
                )
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_tokenising_does_not_wait_for_a_forward_pass(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = SentenceEmbedder(str(bert), runtime=Runtime(threads=1))
    model = embedder._lazy.get().model
    forward = model.forward
    in_forward, resume = threading.Event(), threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        in_forward.set()
        assert resume.wait(60)
        return forward(*args, **options)

    monkeypatch.setattr(model, "forward", slow)
    encoding = threading.Thread(target=embedder.encode_texts, args=(["a red boat"], "query"))
    counting = threading.Thread(target=embedder.count_tokens, args=(["a dog"],))
    encoding.start()
    try:
        assert in_forward.wait(60)
        counting.start()
        counting.join(10)
        assert not counting.is_alive()
        assert encoding.is_alive()
    finally:
        resume.set()
        encoding.join()
        counting.join()


def test_missing_and_damaged_models(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="nano"):
        _ = SentenceEmbedder("nobody/nothing", runtime=Runtime(model_folder=tmp_path)).space
    damaged = tmp_path / "nothing"
    damaged.mkdir()
    for file in bert.rglob("*"):
        if file.is_file():
            target = damaged / file.relative_to(bert)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes()[: 200 if file.suffix == ".safetensors" else None])
    with pytest.raises(DamagedModelError, match="fetch them again"):
        _ = SentenceEmbedder("nobody/nothing", runtime=Runtime(model_folder=tmp_path)).space


def test_found_in_the_model_folder(bert: Path, tmp_path: Path) -> None:
    """A hub id may lie as org--model, or by its last part, in the model folder."""
    (tmp_path / "org--small").symlink_to(bert)
    (tmp_path / "other").symlink_to(bert)
    for name in ("org/small", "org/other"):
        assert SentenceEmbedder(name, runtime=Runtime(model_folder=tmp_path)).space.dimension == 32
