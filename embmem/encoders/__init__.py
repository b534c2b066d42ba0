"""Texts and images as vectors: what a query is compared with. The heavy libraries are imported when one is built."""

from embmem.encoders.hashing import HashingEncoder
from embmem.encoders.layout import LayoutEncoder
from embmem.encoders.protocols import ImageEncoder, TextEncoder
from embmem.encoders.segments import LabelEmbeddings, SegmentEmbeddings
from embmem.encoders.sentences import MiniLMEncoder, SentenceEncoder
from embmem.encoders.views import ViewEncoder, image_encoder
from embmem.encoders.vision import ImageTextEncoder

__all__ = [
    "HashingEncoder",
    "ImageEncoder",
    "ImageTextEncoder",
    "LabelEmbeddings",
    "LayoutEncoder",
    "MiniLMEncoder",
    "SegmentEmbeddings",
    "SentenceEncoder",
    "TextEncoder",
    "ViewEncoder",
    "image_encoder",
]
