"""A run in one file: verified at both ends, without a path of its machine, and with no way out of its folder."""

import hashlib
import json
import os
import random
import re
import shutil
import stat
import struct
import zipfile
from collections import namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trained import copy_of

import clearhead
from clearhead import api
from clearhead.errors import CheckpointError, ConfigError, CorpusError, StorageError
from clearhead.files import sha256_file
from clearhead.runs import container
from clearhead.runs.archive import default_archive, export_run, import_run
from clearhead.runs.container import ENDING, Writer, reading, writing
from clearhead.runs.corpus import open_data
from clearhead.runs.directory import RunDirectory
from clearhead.runs.records import to_json
from clearhead.runs.verification import verify_run

MODELS = ["mixture", "gpt", "bigram", "ngram"]


@pytest.fixture
def finished(tmp_path) -> Callable[[str], RunDirectory]:
    """Makes a copy of a finished run."""
    return lambda model: copy_of(model, tmp_path / "runs")


@pytest.fixture
def archive(finished, tmp_path) -> Path:
    """A small run's archive."""
    export_run(finished("bigram"), tmp_path / "bigram.clearhead.zip")
    return tmp_path / "bigram.clearhead.zip"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """Another machine: its own folder of runs, an empty cache, another folder to be in."""
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "other cache"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere" / "runs"


def contents(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def stamp(file: Path) -> None:
    """Let a file end with its own digest, as whoever makes a hostile archive would."""
    data = file.read_bytes()[:-64]
    file.write_bytes(data + hashlib.sha256(data).hexdigest().encode())


def pack(
    file: Path, members: Sequence[tuple[zipfile.ZipInfo | str, bytes]], compression: int = zipfile.ZIP_STORED
) -> Path:
    """A zip that ends as ours do, of whatever members."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.comment = ENDING + b"0" * 64
        for name, content in members:
            archive.writestr(name, content)
    stamp(file)
    return file


def refused(file: Path, out: Path, reason: str, kind: type[Exception] = CheckpointError) -> None:
    """The archive is refused in one line, and nothing is left behind."""
    before = sorted(out.rglob("*")) if out.exists() else []
    with pytest.raises(kind, match=reason) as refusal:
        import_run(file, out)
    assert "\n" not in str(refusal.value)
    assert (sorted(out.rglob("*")) if out.exists() else []) == before


@pytest.mark.parametrize("model", MODELS)
def test_there_and_back(finished, tmp_path, elsewhere, model):
    run = finished(model)
    export_run(run, tmp_path / "a.zip")
    text = clearhead.load(run.path).generate("The ", max_new_tokens=20)
    shutil.rmtree(run.path)
    (tmp_path / "a.zip").rename(tmp_path / "elsewhere" / "b.zip")
    brought = import_run(Path("b.zip"), elsewhere)
    assert brought.path == elsewhere / model
    assert verify_run(brought).ok
    assert clearhead.load(brought.path).generate("The ", max_new_tokens=20) == text


def test_only_what_is_needed_is_packed_unless_all_is_asked_for(finished, tmp_path):
    run = finished("mixture")
    (run.path / "notes.txt").write_text("mine")
    named = {run.pointer("best"), run.pointer("latest")}
    files = export_run(run, tmp_path / "a.zip")
    inside = {name.removeprefix("mixture/") for name in contents(tmp_path / "a.zip")}
    folders = {Path(name).parent.name for name in inside if name.startswith("checkpoints/")}
    assert folders == {"mixture", *(f"step-{step}" for step in named)}
    assert files == len(inside) == 8 + 4 * len(folders)
    export_run(run, tmp_path / "all.zip", everything=True)
    more = {name.removeprefix("mixture/") for name in contents(tmp_path / "all.zip")}
    there = {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file() and p.name[0] != "."}
    assert more == there - {"notes.txt"}


def test_the_same_run_makes_the_same_archive(finished, tmp_path):
    run = finished("gpt")
    for name in ("a.zip", "b.zip"):
        export_run(run, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_no_path_of_this_machine_is_inside(finished, tmp_path):
    run = finished("mixture")
    run.unseal()
    secret = "/home/somebody/texts and more/book.txt"
    told = [
        {"event": "started", "step": 0, "run": str(run.path.absolute())},
        {"event": "notice", "step": 0, "message": f"checkpoint {run.path.absolute()}/checkpoints/step-9 is damaged"},
        {
            "event": "notice",
            "step": 0,
            "message": "'/home/somebody/book.txt' and C:\\Users\\me\\x.txt, and/or a/b",
        },
        {"event": "sampled", "step": 0, "text": secret},
    ]
    run.events_file.write_text("".join(json.dumps(event) + "\n" for event in told) + '{"event": "cut')
    run.seal()
    digests = {**run.read_manifest(), "events.jsonl": sha256_file(run.events_file)}
    run.manifest_file.write_text(to_json({name: digests[name] for name in digests if name != "events.jsonl"}))
    run.unseal()
    export_run(run, tmp_path / "a.zip", everything=True)
    inside = contents(tmp_path / "a.zip")
    events = [json.loads(line) for line in inside["mixture/events.jsonl"].splitlines()]
    assert [event.get("run") or event.get("message") or event.get("text") for event in events] == [
        "mixture",
        "checkpoint mixture/checkpoints/step-9 is damaged",
        "'book.txt' and x.txt, and/or a/b",
        secret,
    ]
    assert json.loads(inside["mixture/corpus.json"])["paths"] == ["poem.txt"]
    here = str(run.path.parent.parent).encode()
    home = str(Path(run.read_corpus()["paths"][0]).parent).encode()
    for name, content in inside.items():
        assert not name.startswith("/")
        assert here not in content, name
        assert home not in content, name


def test_the_text_is_asked_for_found_again_and_compared(archive, elsewhere, finished, tmp_path):
    text = Path(finished("gpt").read_corpus()["paths"][0]).read_text()
    run = import_run(archive, elsewhere)
    with pytest.raises(CorpusError, match=r"imported without its text: put poem\.txt into the folder"):
        open_data(run)
    Path("poem.txt").write_text(text.replace("moon", "noon", 1))
    with pytest.raises(CorpusError, match="first difference between characters"):
        open_data(run)
    Path("poem.txt").write_text(text)
    assert open_data(run).meta.corpus_sha256 == run.read_corpus()["sha256"]


def test_tokens_come_along(finished, tmp_path, elsewhere):
    run = finished("gpt")
    ladder = clearhead.load(run.path).ladder()
    export_run(run, tmp_path / "a.zip", with_tokens=True)
    brought = import_run(tmp_path / "a.zip", elsewhere)
    assert [r.nats_per_token for r in clearhead.load(brought.path).ladder().rungs] == [
        r.nats_per_token for r in ladder.rungs
    ]
    export_run(brought, tmp_path / "b.zip", with_tokens=True)
    assert "gpt/tokens/train.bin" in contents(tmp_path / "b.zip")


def test_an_imported_run_is_resumed_to_the_same_end(poem, tmp_path, elsewhere):
    small = {"n_embd": 16, "n_head": 2, "n_layer": 1, "block_size": 16, "batch_size": 4, "eval_iters": 2}
    steps = {"eval_interval": 10, "save_interval": 10, "max_iters": 20, "device": "cpu", "progress": False}
    whole = clearhead.train(poem, out=tmp_path / "runs", name="whole", **small, **steps)
    shutil.copytree(whole.path, half := tmp_path / "runs" / "half")
    shutil.rmtree(half / "checkpoints" / "step-20")
    directory = RunDirectory(half)
    directory.unseal()
    directory.point("latest", 10)
    directory.point("best", 10)
    directory.events_file.write_text("")
    export_run(directory, tmp_path / "half.zip", with_tokens=True)
    brought = import_run(tmp_path / "half.zip", elsewhere)
    assert verify_run(brought).sealed
    resumed = api.resume(brought.path, progress=False)
    files = [f"checkpoints/step-20/{kind}.safetensors" for kind in ("model", "optimizer")]
    assert [(resumed.path / f).read_bytes() for f in files] == [(whole.path / f).read_bytes() for f in files]
    assert verify_run(brought).ok


def test_tokens_of_another_text_are_refused(finished, tmp_path, elsewhere):
    run = finished("gpt")
    export_run(run, tmp_path / "a.zip", with_tokens=True)
    brought = import_run(tmp_path / "a.zip", tmp_path / "c")
    brought.unseal()
    meta = json.loads((brought.tokens / "meta.json").read_text())
    ids = (brought.tokens / "train.bin").read_bytes()
    for change in (
        lambda: (brought.tokens / "meta.json").write_text(to_json({**meta, "corpus_sha256": "0" * 64})),
        lambda: (brought.tokens / "meta.json").write_text(to_json({**meta, "dtype": "object"})),
        lambda: (brought.tokens / "meta.json").write_text(to_json({**meta, "tokens": {"counts": "many"}})),
        lambda: (brought.tokens / "meta.json").write_text("[]"),
        lambda: (brought.tokens / "train.bin").write_bytes(ids[:-1]),
        lambda: (brought.tokens / "train.bin").write_bytes(ids[:-2]),
        lambda: (brought.tokens / "train.bin").write_bytes(b"\xff" * len(ids)),
    ):
        (brought.tokens / "meta.json").write_text(to_json(meta))
        (brought.tokens / "train.bin").write_bytes(ids)
        assert len(open_data(brought).ids("val"))
        change()
        with pytest.raises(CorpusError, match="delete it, and give the text instead"):
            open_data(brought)
        members = [(f"x/{p.relative_to(brought.path).as_posix()}", p.read_bytes()) for p in files(brought)]
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in members}
        loose = {name[2:]: digest for name, digest in digests.items() if "/checkpoints/" not in name}
        del loose["manifest.json"]
        sealed = [(name, to_json(loose).encode() if name == "x/manifest.json" else data) for name, data in members]
        refused(pack(tmp_path / "evil.zip", sealed), elsewhere, "holds tokens that are not its run's")


def files(run: RunDirectory) -> list[Path]:
    return [path for path in sorted(run.path.rglob("*")) if path.is_file() and not path.name.startswith(".")]


def test_tokens_that_are_gone_are_not_packed(finished, tmp_path, elsewhere, archive):
    brought = import_run(archive, elsewhere)
    with pytest.raises(CorpusError, match="put poem"):
        export_run(brought, tmp_path / "b.zip", with_tokens=True)
    assert not (tmp_path / "b.zip").exists()


def test_a_damaged_run_is_not_exported(finished, tmp_path):
    run = finished("gpt")
    model = run.checkpoint(run.pointer("latest")) / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"\xff")
    with pytest.raises(CheckpointError, match=r"is not whole: checkpoints/.*model.safetensors is damaged"):
        export_run(run, tmp_path / "a.zip")
    assert not list(tmp_path.glob("*.zip*"))


def test_a_broken_checkpoint_that_nobody_needs_is_left_out(finished, tmp_path):
    run = finished("gpt")
    spare = run.steps()[0] - 1
    shutil.copytree(run.checkpoint(run.steps()[0]), run.checkpoint(spare))
    export_run(run, tmp_path / "a.zip", everything=True)
    assert not any(f"step-{spare}/" in name for name in contents(tmp_path / "a.zip"))


def test_a_run_without_a_checkpoint_is_not_exported(finished, tmp_path):
    run = finished("gpt")
    run.unseal()
    run.unpoint("latest")
    with pytest.raises(CheckpointError, match="clearhead resume"):
        export_run(run, tmp_path / "a.zip")


def test_an_existing_file_is_never_replaced(archive, finished):
    before = archive.read_bytes()
    with pytest.raises(StorageError, match="exists; delete it, or name another"):
        export_run(RunDirectory(archive.parent / "runs" / "bigram"), archive)
    assert archive.read_bytes() == before


def test_a_full_disk_leaves_no_half_archive(finished, tmp_path, monkeypatch):
    run, written = finished("bigram"), 0
    real = Writer.add

    def add(self: Writer, name: str, content: bytes | Path) -> str:
        nonlocal written
        written += 1
        if written == 5:
            raise OSError(28, "No space left on device")
        return real(self, name, content)

    monkeypatch.setattr(Writer, "add", add)
    with pytest.raises(StorageError, match="No space left"):
        export_run(run, tmp_path / "a.zip")
    assert sorted(os.listdir(tmp_path)) == ["runs"]


def test_names_are_chosen_and_free(archive, elsewhere):
    names = [import_run(archive, elsewhere).name for _ in range(2)]
    assert [*names, import_run(archive, elsewhere, "mine").name] == ["bigram", "bigram-2", "mine"]
    for name in ("../up", "/root", "a/b", "..", "", "con", "nul.txt", "x.", ".hidden", "a\0b"):
        with pytest.raises(ConfigError, match="no plain folder name"):
            import_run(archive, elsewhere, name)


def test_a_run_of_an_odd_name_gets_a_plain_one(finished, tmp_path):
    run = finished("bigram")
    for odd, plain in (("my run: 1", "my-run-1"), ("con", "run-con"), ("...", "run")):
        assert default_archive(RunDirectory(run.path.parent / odd)).name == f"{plain}.clearhead.zip"


def test_every_truncation_is_refused(archive, elsewhere):
    whole = archive.read_bytes()
    for sixteenth in range(16):
        archive.write_bytes(whole[: len(whole) * sixteenth // 16])
        refused(archive, elsewhere, "cut short, or no archive of a run")
    archive.write_bytes(whole + b"\0")
    refused(archive, elsewhere, "cut short, or no archive of a run")


def check_flips(archive: Path, out: Path, count: int, seed: int) -> None:
    whole, drawn = archive.read_bytes(), random.Random(seed)
    for _ in range(count):
        bit = drawn.randrange(len(whole) * 8)
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << (bit % 8)
        archive.write_bytes(changed)
        refused(archive, out, "is damaged|cut short")


def test_flips_are_refused(archive, elsewhere):
    check_flips(archive, elsewhere, 100, 0)


@pytest.mark.slow
def test_a_thousand_flips_are_refused(archive, elsewhere):
    check_flips(archive, elsewhere, 1_000, 1)


def test_what_is_no_archive_is_refused(tmp_path, elsewhere):
    refused(tmp_path / "none.zip", elsewhere, "is not there or no file")
    refused(tmp_path, elsewhere, "is not there or no file")
    for content in (b"", b"PK\x05\x06" + b"\0" * 18, b"x" * 4_000, ENDING + b"0" * 64):
        (tmp_path / "x.zip").write_bytes(content)
        refused(tmp_path / "x.zip", elsewhere, "cut short, or no archive of a run")
    (tmp_path / "x.zip").write_bytes(b"x" * 100 + ENDING + b"0" * 64)
    stamp(tmp_path / "x.zip")
    refused(tmp_path / "x.zip", elsewhere, "no archive of a run|more files than")


ESCAPES = [
    "/etc/passwd",
    "../outside",
    "x/../../outside",
    "x/../config.toml",
    "x/./config.toml",
    "x//config.toml",
    "C:/outside",
    "C:outside",
    "x/C:/outside",
    "x\\..\\outside",
    "x/checkpoints\\step-1\\model.safetensors",
    "x/checkpoints/../manifest.json",
    "x/checkpoints/step-1/../../manifest.json",
    "x/checkpoints/step-01/model.safetensors",
    "x/checkpoints/step-1/model.pt",
    "x/tensorboard/../config.toml",
    "x/tensorboard/.hidden",
    "x/tensorboard/nul",
    "x/.lock",
    "x/notes.txt",
    "x/config.toml/",
    "x/",
    "x",
    "",
    "y/config.toml",
    "../config.toml",
    "./config.toml",
    ".x/config.toml",
    "con/config.toml",
    "x /config.toml",
    "x\n/config.toml",
    "x/config.toml\n",
    "x/Config.toml",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_no_member_leads_elsewhere(name, tmp_path, elsewhere, monkeypatch):
    first = [("x/latest", b"step-1\n")] if not name.startswith(("con", "x/Config")) else []
    evil = zipfile.ZipInfo("placeholder")
    evil.filename = name  # zipfile would tidy the name in its constructor
    refused(pack(tmp_path / "evil.zip", [*first, (evil, b"evil")]), elsewhere, "no (plain )?file")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "other cache") == ["elsewhere", "evil.zip"]


def test_a_name_cut_by_nul_is_refused(tmp_path, elsewhere):
    file = pack(tmp_path / "evil.zip", [("x/latest", b"step-1\n"), ("x/config.tomlZZ", b"evil")])
    file.write_bytes(file.read_bytes().replace(b"config.tomlZZ", b"config.toml\0Z"))
    stamp(file)
    refused(file, elsewhere, "no plain file|is damaged")


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK], ids=oct
)
def test_links_devices_and_folders_are_refused(kind, tmp_path, elsewhere):
    info = zipfile.ZipInfo("x/config.toml")
    info.external_attr = (kind | 0o777) << 16
    refused(pack(tmp_path / "evil.zip", [(info, b"/etc/passwd")]), elsewhere, "no plain file")


def test_two_members_of_one_name_are_refused(tmp_path, elsewhere):
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = pack(tmp_path / "evil.zip", [("x/latest", b"step-1\n"), ("x/latest", b"step-2\n")])
    refused(file, elsewhere, "two files of one name")
    file = pack(tmp_path / "evil.zip", [("x/tensorboard/a", b"1"), ("x/tensorboard/A", b"2")])
    refused(file, elsewhere, "two files of one name")


def test_what_unfolds_is_refused(tmp_path, elsewhere):
    file = pack(tmp_path / "bomb.zip", [("x/config.toml", b"0" * 10_000_000)], zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 20_000
    refused(file, elsewhere, "no plain file")


@pytest.mark.parametrize("claimed", [1 << 20, 0xFFFFFFF0])
def test_a_member_that_claims_more_than_there_is_is_refused(claimed, tmp_path, elsewhere):
    file = pack(tmp_path / "evil.zip", [("x/config.toml", b"12345678")])
    data = file.read_bytes()
    file.write_bytes(data.replace(struct.pack("<LL", 8, 8), struct.pack("<LL", claimed, claimed)))
    assert file.read_bytes() != data
    stamp(file)
    refused(file, elsewhere, "claims to hold more than it does")


def test_members_that_overlap_are_refused(tmp_path, elsewhere):
    """Both name the same bytes: the sum of their sizes is more than the archive has, or the header is another's."""
    content = b"0" * 100_000
    file = pack(tmp_path / "evil.zip", [("x/config.toml", content), ("x/corpus.json", b"")])
    data = bytearray(file.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 16 : second + 28] = data[data.index(b"PK\x01\x02") + 16 : data.index(b"PK\x01\x02") + 28]
    data[second + 42 : second + 46] = b"\0" * 4
    file.write_bytes(data)
    stamp(file)
    refused(file, elsewhere, "claims to hold more than it does|is damaged")


def test_a_list_of_members_without_end_is_not_read(tmp_path, elsewhere, monkeypatch):
    many = pack(tmp_path / "evil.zip", [(f"x/tensorboard/{number:0190}", b"") for number in range(5_000)])
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refused(many, elsewhere, "more files than a run has")


def test_a_lie_about_the_list_of_members_is_refused(archive, elsewhere, tmp_path):
    whole = archive.read_bytes()
    end = len(whole) - len(ENDING) - 64 - 22
    for lie in (b"PK\x06\x07" + b"\0" * 16, b"PK\x06\x07" + b"\xff" * 16):
        archive.write_bytes(whole[: end - 20] + lie + whole[end:])
        stamp(archive)
        refused(archive, elsewhere, "more files than a run has")


def test_what_has_no_room_is_refused(archive, elsewhere, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1_000))
    refused(archive, elsewhere, "it needs .* MB and 0.0 MB are free", StorageError)


def test_a_disk_that_fills_up_leaves_nothing(archive, elsewhere, monkeypatch):
    def extract(self: object, name: str, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(container.Reader, "extract", extract)
    refused(archive, elsewhere, "No space left", StorageError)


def test_an_archive_of_a_damaged_run_is_refused(archive, elsewhere, tmp_path):
    """Whoever packs it anew can make its digest right; the run inside does not verify all the same."""
    inside = contents(archive)
    for name in sorted(inside):
        for changed in ({**inside, name: inside[name] + b" "}, {n: c for n, c in inside.items() if n != name}):
            refused(pack(tmp_path / "evil.zip", list(changed.items())), elsewhere, "a run that is not whole")
    digests = json.loads(inside["bigram/manifest.json"])
    fixed = to_json({name: digests[name] for name in list(digests)[:4]}).encode()
    unsealed = {**inside, "bigram/manifest.json": fixed}
    refused(pack(tmp_path / "evil.zip", list(unsealed.items())), elsewhere, "its manifest is not sealed")


def test_interrupting_an_import_leaves_nothing(archive, elsewhere, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("clearhead.runs.archive.verify_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_run(archive, elsewhere)
    assert list(elsewhere.iterdir()) == []


def test_an_archive_beyond_the_first_format_of_zip_is_read(tmp_path, monkeypatch):
    """Past 2 GiB a zip has records of another form; here they are forced on a small one."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    with writing(tmp_path / "a.zip") as archive:
        digest = archive.add("x/latest", b"step-123456789\n")
    assert b"PK\x06\x06" in (tmp_path / "a.zip").read_bytes()
    with reading(tmp_path / "a.zip") as reader:
        reader.extract("x/latest", tmp_path / "latest")
    assert sha256_file(tmp_path / "latest") == digest


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.floats(0, 1), put=st.binary(max_size=40), width=st.integers(0, 40), right=st.booleans())
def test_whatever_is_done_to_it_an_archive_gives_its_run_or_one_line(archive, elsewhere, cut, put, width, right):
    whole = contents_of.setdefault(archive, archive.read_bytes())
    at = int(cut * len(whole))
    archive.write_bytes(whole[:at] + put + whole[at + width :])
    if right:
        stamp(archive)
    told, run = "", None
    try:
        run = import_run(archive, elsewhere)
    except (CheckpointError, StorageError) as refusal:
        told = str(refusal)
    archive.write_bytes(whole)
    assert "\n" not in told
    assert bool(told) == (run is None)
    left = [] if not elsewhere.exists() else [path for path in elsewhere.iterdir() if run is None or path != run.path]
    assert left == []
    if run is not None:
        assert verify_run(run).ok
        assert re.fullmatch(r"[\w.-]+", run.name)
        shutil.rmtree(run.path)


contents_of: dict[Path, bytes] = {}
