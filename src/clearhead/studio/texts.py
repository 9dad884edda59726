"""The texts at hand: named ones, those that were dropped or pasted onto the page, those that lie on this machine."""

import base64
import binascii
import hashlib
import json
import re
import secrets
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clearhead.config import DataConfig
from clearhead.data.named import NAMES
from clearhead.data.reading import read_documents
from clearhead.data.sources import read_source
from clearhead.errors import ConfigError, CorpusError
from clearhead.files import check_room, file_name, storing, write_atomic
from clearhead.serving.errors import ApiError, short

MOST = 1 << 30
"""Bytes of a text."""
PIECE = 1 << 20
"""Bytes of one piece of it."""
ENCODINGS = ("utf-8", "utf-16", "cp1252", "latin-1", "cp1250", "cp1251", "shift_jis", "gb18030", "big5", "euc_kr")
"""How a text that is not UTF-8 can be read."""
RECORD = "text.json"
PART = "part"
"""What has come of a text, until it is whole."""
BLOCK = 1 << 20
FORGOTTEN = 86_400
"""Seconds after which a text that did not come whole is deleted."""


@dataclass(frozen=True)
class Text:
    """A text, as the page lists it."""

    id: str
    name: str
    kind: str
    """named, uploaded or path."""
    word: str
    """What names it on the command line."""
    characters: int | None = None
    bytes: int | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row of a list; where it lies on this machine is no business of the page."""
        return {name: value for name, value in asdict(self).items() if name != "word"}


class Texts:
    """The texts of one studio, kept in a folder: what was uploaded lies there, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in folder.glob(f"*/{PART}"):
            if time.time() - part.stat().st_mtime > FORGOTTEN:
                shutil.rmtree(part.parent, ignore_errors=True)

    def all(self) -> list[Text]:
        """Every text that is whole, the named ones first, then the newest last."""
        named = [Text(f"named-{name}", name, "named", name) for name in NAMES]
        records = sorted(self.folder.glob(f"*/{RECORD}"), key=lambda record: record.stat().st_mtime_ns)
        kept = [_read(record) for record in records]
        return named + [_checked(text) for text in kept if text is not None and text.kind != "coming"]

    def find(self, name: str) -> Text:
        """A text by its id; ApiError (404) for any other."""
        for text in self.all():
            if text.id == name:
                return text
        raise ApiError(
            404, f"there is no text {short(name)}; drop a file, or give its path", param="text", code="no_text"
        )

    def by_path(self, path: str) -> Text:
        """A text that lies on this machine: a file, a folder or a pattern; the errors of `clearhead look`."""
        word = str(Path(path).expanduser()) if path.strip() else path
        if not word.strip() or word == "-":
            raise ConfigError(f"path={path!r} names no file; give one, a folder or a pattern")
        word = str(Path.cwd() / word)
        source = read_source([word], DataConfig())
        size = Path(word).stat().st_size if Path(word).is_file() else None
        name = "at-" + hashlib.sha256(word.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        return self._keep(Text(name, source.name, "path", word, sum(map(len, source.documents)), size))

    def begin(self, name: str, size: int) -> str:
        """Make room for a text that comes in pieces; its id."""
        if not 0 < size <= MOST:
            raise ConfigError(
                f"{name!r:.80} has {size:,} bytes; a text may have 1 to {MOST:,}, others can be named by their path"
            )
        check_room(self.folder, size)
        text = Text(secrets.token_hex(8), name[:200], "coming", _stored_name(name), bytes=size)
        self._keep(text)
        with storing(self.folder):
            (self.folder / text.id / PART).touch()
        return text.id

    def append(self, name: str, offset: int, data: str) -> int:
        """Add a piece in base64; the bytes that are there now. ApiError (409) for a piece that is not the next."""
        text, part = self._coming(name)
        there = part.stat().st_size
        if offset != there:
            raise ApiError(
                409, f"{there} bytes are there, and the piece begins at {offset}", param="offset", code="not_next"
            )
        if len(data) > 4 * (PIECE // 3 + 1):
            raise ApiError(413, f"a piece has at most {PIECE:,} bytes; send smaller ones", param="data")
        try:
            piece = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise ApiError(400, "the data is no base64", param="data") from None
        if there + len(piece) > (text.bytes or 0):
            raise ApiError(400, f"the text was to have {text.bytes:,} bytes, and more come", param="data")
        with storing(part), part.open("ab") as file:
            file.write(piece)
        return there + len(piece)

    def finish(self, name: str, encoding: str | None) -> Text:
        """A text that has come whole, in UTF-8; CorpusError as `clearhead look` says it, and it may be tried again."""
        text, part = self._coming(name)
        if (there := part.stat().st_size) != text.bytes:
            raise ApiError(409, f"{there:,} of {text.bytes:,} bytes have come", code="not_whole")
        whole = part.with_name(text.word)
        if encoding is not None:
            _recode(part, whole, encoding)
        else:
            part.rename(whole)
        try:
            characters = sum(map(len, read_documents(whole, DataConfig())))
            if not characters:
                raise CorpusError(f"{text.name} is empty; give a text")
        except CorpusError as error:
            if encoding is None:
                whole.rename(part)
            else:
                whole.unlink()
            raise _refused(text, str(error), str(whole)) from None
        if encoding is not None:
            part.unlink()
        size = whole.stat().st_size
        return self._keep(Text(text.id, text.name, "uploaded", str(whole), characters, size))

    def delete(self, name: str) -> None:
        """Remove a text from the list; what was uploaded is deleted."""
        if self.find(name).kind == "named":
            raise ConfigError(f"{name} comes with Clearhead and stays")
        with storing(self.folder):
            shutil.rmtree(self.folder / name)

    def _coming(self, name: str) -> tuple[Text, Path]:
        text = _read(self.folder / name / RECORD) if re.fullmatch(r"[0-9a-f]{16}", name) else None
        part = self.folder / name / PART
        if text is None or text.kind != "coming" or not part.exists():
            raise ApiError(404, f"no text comes in under {short(name)}; begin again", param="upload", code="no_upload")
        return text, part

    def _keep(self, text: Text) -> Text:
        home = self.folder / text.id
        with storing(home):
            home.mkdir(parents=True, exist_ok=True)
        write_atomic(home / RECORD, json.dumps(asdict(text)) + "\n")
        return text


def _stored_name(name: str) -> str:
    """The name of a file as a run will show it: plain, with the endings that say how it is read."""
    base = name.replace("\\", "/").rpartition("/")[2]
    endings = re.search(r"(\.txt|\.text|\.md|\.rst|\.jsonl)?(\.gz)?$", base.lower())
    ending = endings[0] if endings else ""
    return f"{file_name(base[: len(base) - len(ending)])}{ending or '.txt'}"


def _recode(part: Path, whole: Path, encoding: str) -> None:
    """Write a text anew in UTF-8; ConfigError for an unknown encoding, and where it does not fit."""
    if encoding not in ENCODINGS:
        raise ConfigError(f"encoding={encoding!r:.40} is unknown; choose one of {', '.join(ENCODINGS)}")
    try:
        with (
            storing(whole),
            part.open(encoding=encoding, newline="") as source,
            whole.open("w", encoding="utf-8", newline="") as target,
        ):
            shutil.copyfileobj(source, target, BLOCK)
    except UnicodeError as error:
        whole.unlink(missing_ok=True)
        raise ApiError(
            400, f"the text is not {encoding} ({error}); choose another encoding", param="encoding", code="not_utf8"
        ) from None


def _refused(text: Text, message: str, path: str) -> ApiError:
    """What `look` says of a text, by the name that its owner knows; with a code where another encoding may help."""
    wide = "convert it: iconv" in message
    code = "not_utf8" if wide or "is not UTF-8" in message else "bad_text"
    return ApiError(400, message.replace(path, text.name), param="encoding" if code == "not_utf8" else None, code=code)


def _read(record: Path) -> Text | None:
    try:
        return Text(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _checked(text: Text) -> Text:
    """A text with a line where it is gone."""
    if text.kind == "uploaded" and not Path(text.word).exists():
        return replace(text, problem=f"{text.name} is gone; drop it again")
    if text.kind == "path" and text.bytes is not None and not Path(text.word).exists():
        return replace(text, problem=f"{text.word} does not exist any more")
    return text
