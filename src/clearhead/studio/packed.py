"""Arrays for the page: a head of JSON, then float32 numbers as they lie in memory.

A pattern of 1,024 tokens has a million weights. As JSON they are 20 MB of digits to write, send and read; so they are 4
MB that the page takes as they are, and nothing is rounded.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def pack(document: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A document and arrays in one piece.

    The length of the head as uint32, the head, spaces until four divides its end, the numbers; little-endian. In the
    head `arrays` says of each name at which number it begins and which shape it has. NaN stays NaN.
    """
    places, at = {}, 0
    for name, array in arrays.items():
        places[name] = {"at": at, "shape": list(array.shape)}
        at += array.size
    head = json.dumps({**document, "arrays": places}, allow_nan=False, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 4)
    return b"".join([struct.pack("<I", len(head)), head, *(array.astype("<f4").tobytes() for array in arrays.values())])


def unpack(packed: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float32]]]:
    """The document and the arrays again.

    >>> document, arrays = unpack(pack({"step": 3}, {"x": np.array([[1.0, 2.5]])}))
    >>> document, arrays["x"].tolist()
    ({'step': 3}, [[1.0, 2.5]])
    """
    (length,) = struct.unpack_from("<I", packed)
    document = json.loads(packed[4 : 4 + length])
    numbers = np.frombuffer(packed, "<f4", offset=4 + length)
    places = document.pop("arrays").items()
    return document, {
        name: numbers[place["at"] : place["at"] + int(np.prod(place["shape"]))].reshape(place["shape"])
        for name, place in places
    }
