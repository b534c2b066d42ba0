"""Checkpoints of a few kilobytes with random weights, in the folders and files that the real ones have."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

transformers: Any = import_module("transformers")  # its annotations do not fit its documentation

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,"
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGES = {"image_size": 24, "patch_size": 8}


def save_clip(folder: Path) -> None:
    """CLIP: byte-pair tokenizer, centre crop, a projection of each tower."""
    pieces = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "ph", "ot", "oto</w>", "photo</w>"]
    vocab = {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    merges = [("p", "h"), ("o", "t"), ("ot", "o</w>"), ("ph", "oto</w>")]
    tokenizer = transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=16)
    end, start = vocab["<|endoftext|>"], vocab["<|startoftext|>"]
    text = {"vocab_size": len(vocab), "max_position_embeddings": 16, "eos_token_id": end, "bos_token_id": start}
    config = transformers.CLIPConfig(text_config=text | TOWER, vision_config=TOWER | IMAGES, projection_dim=12)
    torch.manual_seed(1)
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}}
    transformers.CLIPImageProcessorPil(**size).save_pretrained(folder)


def save_siglip(folder: Path) -> None:
    """SigLIP: one square size, texts padded to their full length with the end marker, no projection."""
    pieces = [("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), *((c, -3.0) for c in LETTERS), ("\u2581mug", -1.0)]
    engine = Tokenizer(models.Unigram(pieces, unk_id=1))
    engine.normalizer = normalizers.Lowercase()
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    engine.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 0)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=engine, eos_token="</s>", pad_token="</s>", unk_token="<unk>", model_max_length=16
    )
    _save_siglip(folder, vocab_size=len(pieces), end=0)
    tokenizer.save_pretrained(folder)


def save_siglip_with_sentencepiece(folder: Path) -> None:
    """SigLIP as it is published: the tokenizer is a model of sentencepiece."""
    sentencepiece: Any = import_module("sentencepiece")
    sentences = iter(["a photo of a mug", "red mug on the table", "green sofa, blue lamp", *LETTERS] * 5)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "spiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences, model_writer=file, vocab_size=50, unk_id=2, bos_id=-1, eos_id=1, pad_id=0,
            minloglevel=2, num_threads=1,
        )  # fmt: skip
    _save_siglip(folder, vocab_size=50, end=1)
    config = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 16, "model_input_names": ["input_ids"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def save_sentence_encoder(folder: Path) -> None:
    """A sentence encoder: word pieces, two layers of BERT, the mean over the tokens."""
    library: Any = import_module("sentence_transformers")
    base = folder / "base"
    vocab = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "mug", "sofa", "red"])}
    transformers.BertTokenizer(vocab=vocab).save_pretrained(base)
    torch.manual_seed(3)
    transformers.BertModel(transformers.BertConfig(vocab_size=8, max_position_embeddings=32, **TOWER)).save_pretrained(
        base
    )
    library.SentenceTransformer(str(base), device="cpu").save_pretrained(str(folder))  # adds the mean by itself


def _save_siglip(folder: Path, *, vocab_size: int, end: int) -> None:
    text = {"vocab_size": vocab_size, "max_position_embeddings": 16, "pad_token_id": end, "eos_token_id": end}
    text |= {"bos_token_id": end}
    config = transformers.SiglipConfig(text_config=text | TOWER, vision_config=TOWER | IMAGES)
    torch.manual_seed(2)
    transformers.SiglipModel(config).save_pretrained(folder)
    transformers.SiglipImageProcessorPil(size={"height": 24, "width": 24}).save_pretrained(folder)
