"""Images of ROS messages: every encoding against plain numpy and OpenCV, and what is damaged."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ros_messages import Messages

from embmem.errors import InputError
from embmem.ros.images import compressed_image_of, image_of
from embmem.ros.rvl import decode_rvl

MESSAGES = Messages()
RNG = np.random.default_rng(4)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, RGB[..., 0]])),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., 0]])),
    ],
)
def test_colours_come_out_red_first(encoding: str, pixels: np.ndarray) -> None:
    image = image_of(MESSAGES.image(np.ascontiguousarray(pixels), encoding))
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.encoding == encoding


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [("16UC1", "u2"), ("mono16", "u2"), ("32FC1", "f4"), ("64FC1", "f8"), ("8UC1", "u1"), ("mono8", "u1"),
     ("16SC1", "i2"), ("32SC1", "i4")],
)  # fmt: skip
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("padding", [0, 5])
def test_one_channel_comes_out_as_it_is(encoding: str, dtype: str, order: str, padding: int) -> None:
    values = RNG.integers(0, 100, (5, 7)).astype(dtype)
    rows = values.astype(order + dtype).view(np.uint8).reshape(5, -1)
    data = np.pad(rows, ((0, 0), (0, padding))).ravel()
    message = MESSAGES.image(values, encoding, is_bigendian=int(order == ">"), step=rows.shape[1] + padding, data=data)
    read = image_of(message).pixels
    np.testing.assert_array_equal(read, values)
    assert read.dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("encoding", "code", "channels"),
    [("yuv422", cv2.COLOR_YUV2RGB_UYVY, 2), ("yuv422_yuy2", cv2.COLOR_YUV2RGB_YUY2, 2),
     ("bayer_rggb8", cv2.COLOR_BayerRGGB2RGB, 1), ("bayer_gbrg8", cv2.COLOR_BayerGBRG2RGB, 1)],
)  # fmt: skip
def test_raw_colours_are_those_of_opencv(encoding: str, code: int, channels: int) -> None:
    raw = RNG.integers(0, 256, (6, 8, channels)[: 1 + channels], dtype=np.uint8)
    np.testing.assert_array_equal(image_of(MESSAGES.image(raw, encoding)).pixels, cv2.cvtColor(raw, code))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_bayer_image_of_one_colour_has_that_colour(pattern: str, channel: int) -> None:
    raw = np.zeros((8, 8), np.uint8)
    for at, colour in enumerate(pattern):  # row by row of the 2 x 2 pixels that repeat
        raw[at // 2 :: 2, at % 2 :: 2] = 200 * ("rgb"[channel] == colour)
    np.testing.assert_array_equal(
        image_of(MESSAGES.image(raw, f"bayer_{pattern}8")).pixels[4, 4], 200 * np.eye(3)[channel]
    )


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"step": 3}, "rows of 3 bytes"),
        ({"height": 60}, "bytes for"),
        ({"width": 1 << 31}, "an image of"),
        ({"height": 0}, "an image of"),
        ({"data": np.zeros(3, np.uint8)}, "3 bytes for"),
    ],
)
def test_an_image_that_is_not_what_it_claims_is_refused(more: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        image_of(MESSAGES.image(RGB, "rgb8", **more))
    with pytest.raises(InputError, match="not known"):
        image_of(MESSAGES.image(RGB, "nv97"))


def test_compressed_images_are_those_of_opencv() -> None:
    for suffix, form in ((".png", "rgb8; png compressed bgr8"), (".jpg", "jpeg")):
        data = cv2.imencode(suffix, RGB[..., ::-1])[1].tobytes()
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        np.testing.assert_array_equal(compressed_image_of(MESSAGES.compressed(data, form)).pixels, decoded[..., ::-1])
    with pytest.raises(InputError, match="neither JPEG nor PNG"):
        compressed_image_of(MESSAGES.compressed(b"RIFF....WEBP", "webp"))


def test_compressed_depth_of_16_bits_is_lossless_and_of_32_bits_inverse() -> None:
    raw = RNG.integers(0, 5000, (6, 8)).astype(np.uint16)
    png = cv2.imencode(".png", raw)[1].tobytes()
    message = MESSAGES.compressed(struct.pack("<iff", 0, 0, 0) + png, "16UC1; compressedDepth png")
    np.testing.assert_array_equal(compressed_image_of(message).pixels, raw)
    # image_transport_plugins: quantA = q (q + 1), quantB = 1 - quantA / max; stored = quantA / depth + quantB
    quantum, far = 100.0, 10.0
    a, b = quantum * (quantum + 1), 1.0 - quantum * (quantum + 1) / far
    depth = RNG.uniform(0.5, 9.0, (6, 8)).astype(np.float32)
    stored = (a / depth + b).astype(np.uint16)
    stored[0, 0] = 0
    png = cv2.imencode(".png", stored)[1].tobytes()
    read = compressed_image_of(MESSAGES.compressed(struct.pack("<iff", 0, a, b) + png, "32FC1; compressedDepth")).pixels
    assert np.isnan(read[0, 0])
    np.testing.assert_allclose(read.ravel()[1:], depth.ravel()[1:], rtol=0.01)
    for cut in (0, 8, 12, 40):
        with pytest.raises(InputError):
            compressed_image_of(MESSAGES.compressed(message.data.tobytes()[:cut], message.format))


def encode_rvl(image: np.ndarray) -> bytes:
    """The encoder of Wilson's paper, one nibble at a time."""
    nibbles: list[int] = []

    def put(value: int) -> None:
        while True:
            nibble, value = value & 7, value >> 3
            nibbles.append(nibble | (8 if value else 0))
            if not value:
                return

    flat, at, previous = image.ravel().astype(int).tolist(), 0, 0
    while at < len(flat):
        start = at
        while at < len(flat) and flat[at] == 0:
            at += 1
        put(at - start)
        start = at
        while at < len(flat) and flat[at] != 0:
            at += 1
        put(at - start)
        for value in flat[start:at]:
            delta, previous = value - previous, value
            put((delta << 1) ^ (delta >> 31))
    nibbles += [0] * (-len(nibbles) % 8)
    words = [sum(n << (28 - 4 * i) for i, n in enumerate(nibbles[w : w + 8])) for w in range(0, len(nibbles), 8)]
    return struct.pack("<II", image.shape[1], image.shape[0]) + struct.pack(f"<{len(words)}I", *words)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_rvl_undoes_the_encoder_of_its_paper(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 65536, (rng.integers(1, 9), rng.integers(1, 9)), dtype=np.uint16)
    image[rng.random(image.shape) < share] = 0
    data = encode_rvl(image)
    np.testing.assert_array_equal(decode_rvl(data), image)
    message = MESSAGES.compressed(struct.pack("<iff", 0, 0, 0) + data, "16UC1; compressedDepth rvl")
    np.testing.assert_array_equal(compressed_image_of(message).pixels, image)


def test_damaged_rvl_is_refused_or_decoded_but_never_hangs() -> None:
    whole = bytearray(encode_rvl(RNG.integers(0, 3000, (6, 8)).astype(np.uint16)))
    for _ in range(10_000):
        data = bytearray(whole[: RNG.integers(len(whole) + 1)] if RNG.random() < 0.3 else whole)
        for at in RNG.integers(0, max(1, len(data)), 2):
            if data:
                data[at] = RNG.integers(256)
        if len(data) >= 8:
            columns, rows = struct.unpack_from("<II", data)
            if columns * rows > 1 << 16:  # an honest claim of zeros is honoured up to MAX_PIXELS
                data[:8] = whole[:8]
        try:
            decode_rvl(bytes(data))
        except InputError:
            continue
    with pytest.raises(InputError, match="pixels"):
        decode_rvl(struct.pack("<II", 1 << 31, 1 << 31) + bytes(64))
