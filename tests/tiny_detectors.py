"""Checkpoints of open-vocabulary detectors with random weights, in the folders and files that the real ones have."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_models import LETTERS, TOWER, transformers


def save_owlv2(folder: Path) -> None:
    """OWLv2: byte-pair tokenizer, images padded to a square of 32 pixels, 16 patches."""
    pieces = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "ph", "ot", "oto</w>", "photo</w>"]
    vocab = {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    merges = [("p", "h"), ("o", "t"), ("ot", "o</w>"), ("ph", "oto</w>")]
    tokenizer = transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=16, pad_token="<|endoftext|>")
    end, start = vocab["<|endoftext|>"], vocab["<|startoftext|>"]
    text = {"vocab_size": len(vocab), "max_position_embeddings": 16, "eos_token_id": end, "bos_token_id": start}
    vision = {"image_size": 32, "patch_size": 8}
    config = transformers.Owlv2Config(text_config=text | TOWER, vision_config=vision | TOWER, projection_dim=16)
    torch.manual_seed(5)
    transformers.Owlv2ForObjectDetection(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.Owlv2ImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)


def save_grounding_dino(folder: Path) -> None:
    """Grounding DINO: word pieces with the marks where BERT has them, a Swin of one block a stage, 6 queries."""
    pieces = [f"[unused{i}]" for i in range(1030)]
    for piece, i in {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}.items():
        pieces[i] = piece
    vocab = {piece: i for i, piece in enumerate([*pieces, "mug", "red", "chair", "a", "##b", "sofa"])}
    tokenizer = transformers.BertTokenizer(vocab=vocab)
    backbone = transformers.SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 1, 2], window_size=4,
        out_features=["stage2", "stage3"],
    )  # fmt: skip
    text = transformers.BertConfig(vocab_size=len(vocab), max_position_embeddings=64, **TOWER)
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone, text_config=text, d_model=32, num_queries=6, encoder_layers=1, decoder_layers=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2,
        num_feature_levels=3, max_text_len=32,
    )  # fmt: skip
    torch.manual_seed(6)
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"shortest_edge": 48, "longest_edge": 64}
    transformers.GroundingDinoImageProcessorPil(size=size).save_pretrained(folder)
