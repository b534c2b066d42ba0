"""Writes messages to a bag until it is killed; says which are safe. Arguments: folder."""

from __future__ import annotations

import sys
from pathlib import Path

from embmem.recordings.bag_writer import BagWriter, Topic
from embmem.ros.definitions import message_of, typestore

TYPE = "std_msgs/msg/String"


def main() -> None:
    topics = [Topic("/words", TYPE)]
    writer = BagWriter(Path(sys.argv[1]), topics, typestore(), max_bytes=200_000, min_free=0, chunk_seconds=0.01)
    for i in range(1_000_000):
        message = message_of(TYPE, {"data": f"{i} " + "x" * 500})
        writer.write("/words", 1_000_000_000 + i, bytes(typestore().serialize_cdr(message, TYPE)))
        if i % 100 == 99:
            writer.flush()
            sys.stdout.write(f"{i + 1}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
