"""No file that Clearhead reads can run code: bombs under every name a loader could touch, and none goes off."""

import ast
import gzip
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sabotage import TEXT, TINY, cache_of_tests, call, copy_of, cut_short, make_run, refusal, reseal

import clearhead
from clearhead.data import store
from clearhead.runs.directory import RunDirectory

SOURCES = Path(clearhead.__file__).parent

ELSEWHERE = (
    *("model.pt", "model.pth", "model.bin", "model.pkl", "model.pickle", "model.ckpt", "model.npy", "weights.pt"),
    *("ckpt.pt", "checkpoint.pt", "last.ckpt", "state.pt", "optimizer.pt", "optimizer.bin", "scheduler.pt"),
    *("pytorch_model.bin", "training_args.bin", "trainer_state.pt", "rng_state.pth", "consolidated.00.pth"),
    *("meta.pkl", "vocab.pkl", "tokenizer.pkl", "tokenizer.model", "config.pkl", "config.py", "__init__.py"),
    *("data.pkl", "train.bin", "val.bin", "train.npz"),
)
"""Names that other projects' loaders look for."""


class Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.mark), "w")


def _saved_by_torch(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": bomb, "step": 2}, buffer)
    return buffer.getvalue()


def _saved_by_torch_of_old(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    torch.save(bomb, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _saved_by_numpy(bomb: Bomb) -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + pickle.dumps([bomb], protocol=4)


PACKED: dict[str, Callable[[Bomb], bytes]] = {
    "text": lambda bomb: pickle.dumps(bomb, protocol=0),
    "binary": lambda bomb: pickle.dumps({"name": "char", "step": 2, "model": bomb}, protocol=4),
    "torch": _saved_by_torch,
    "torch of old": _saved_by_torch_of_old,
    "numpy": _saved_by_numpy,
    "gzip": lambda bomb: gzip.compress(pickle.dumps(bomb, protocol=0), mtime=0),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    with cache_of_tests(tmp_path_factory):
        return make_run(tmp_path_factory.mktemp("pickles"), "--model", "mixture")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "the-bomb-went-off"


def quiet(mark: Path, *words: object) -> int:
    """A command says at most a line of refusal, and no bomb goes off; what it raises is a fault and passes through."""
    said = call(*words)
    assert not mark.exists(), f"{words} ran what a file told it to"
    assert said.code in (0, 1, 2), said
    if said.code == 2:
        refusal(said)
    return said.code


def use(mark: Path, run: RunDirectory) -> list[int]:
    """Have every verb that reads a run read it, resume last: it may write."""
    out = run.path.parent
    codes = [
        quiet(mark, "generate", run.path, "--max_new_tokens", 2),
        quiet(mark, "runs", "--out", out),
        quiet(mark, "runs", "verify", "--out", out),
        quiet(mark, "ladder", run.path),
        quiet(mark, "train", "--init_from", run.path, "--out", out.parent / "others", *TINY[-6:]),
    ]
    return [*codes, quiet(mark, "resume", run.path)]


@pytest.mark.parametrize("kind", PACKED)
def test_the_bombs_are_real(kind, mark):
    packed = PACKED[kind](Bomb(mark))
    if kind.startswith("torch"):
        torch.load(io.BytesIO(packed), weights_only=False)
    elif kind == "numpy":
        import numpy

        numpy.load(io.BytesIO(packed), allow_pickle=True)
    else:
        pickle.loads(gzip.decompress(packed) if kind == "gzip" else packed)
    assert mark.exists()


def test_in_place_of_every_file_of_a_run(finished, tmp_path, mark):
    """The hashes agree, as they would in a run that somebody sends who means harm."""
    bombs = [pack(Bomb(mark)) for pack in PACKED.values()]
    for number, name in enumerate(sorted(p.relative_to(finished.path) for p in _files(finished.path))):
        folder = tmp_path / str(number)
        run = copy_of(finished, folder)
        cut_short(run)
        target = run.path / name
        if target.exists():  # those of later checkpoints are cut off
            target.write_bytes(bombs[number % len(bombs)])
            reseal(run)
            use(mark, run)
        shutil.rmtree(folder)


def test_in_place_of_every_file_of_a_finished_run(finished, tmp_path, mark):
    bombs = [pack(Bomb(mark)) for pack in PACKED.values()]
    for number, name in enumerate(sorted(p.relative_to(finished.path) for p in _files(finished.path))):
        run = copy_of(finished, tmp_path / str(number))
        (run.path / name).write_bytes(bombs[number % len(bombs)])
        reseal(run)
        quiet(mark, "generate", run.path, "--max_new_tokens", 2)
        quiet(mark, "runs", "--out", run.path.parent)
        shutil.rmtree(run.path.parent)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize("kind", PACKED)
def test_under_names_that_other_loaders_look_for(finished, tmp_path, mark, kind):
    run = copy_of(finished, tmp_path)
    packed = PACKED[kind](Bomb(mark))
    for folder in (run.path, run.checkpoints, *map(run.checkpoint, run.steps()), run.mixture):
        for name in ELSEWHERE:
            (folder / name).write_bytes(packed)
    codes = use(mark, run)
    assert codes[0] == codes[3] == 0, "a run is used as if they were not there"


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize(
    "name", ["bomb.txt", "bomb.txt.gz", "bomb.jsonl", "bomb.jsonl.gz", "bomb.pkl", "bomb.bin", "x"]
)
def test_as_a_text(tmp_path, mark, kind, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed = PACKED[kind](Bomb(mark))
    Path(name).write_bytes(gzip.compress(packed) if name.endswith(".gz") else packed)
    codes = [quiet(mark, verb, name) for verb in ("look", "ladder")]
    assert codes[0] == codes[1]
    if codes[0]:
        quiet(mark, "train", name, *TINY)
        assert not Path("runs").exists()
    else:
        assert kind in ("text", "gzip"), "a pickle of protocol 0 is a text like others, and only that"


@pytest.mark.parametrize("kind", PACKED)
def test_as_a_configuration(tmp_path, mark, kind):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "bomb.toml").write_bytes(PACKED[kind](Bomb(mark)))
    assert quiet(mark, "train", tmp_path / "text.txt", "--config", tmp_path / "bomb.toml") == 2


@pytest.mark.parametrize("kind", PACKED)
def test_as_what_is_imported(tmp_path, mark, kind):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "bomb.pt").write_bytes(PACKED[kind](Bomb(mark)))
    assert quiet(mark, "import", tmp_path / "bomb.pt", "--text", tmp_path / "text.txt", "--out", tmp_path / "runs") == 2
    assert quiet(mark, "runs", "import", tmp_path / "bomb.pt", "--out", tmp_path / "runs") == 2


@pytest.mark.parametrize("kind", PACKED)
def test_in_the_token_cache(finished, tmp_path, mark, kind, monkeypatch):
    """Also where meta.json has the bomb's own hash and says that it holds objects."""
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    expected = call("ladder", finished.path, "--json").out
    (folder,) = (tmp_path / "cache" / "tokens").iterdir()
    for name in (store.TRAIN, store.VAL, store.META):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(PACKED[kind](Bomb(mark)))
        assert quiet(mark, "ladder", finished.path) == 0
        assert (folder / name).read_bytes() == whole
    packed = PACKED[kind](Bomb(mark))
    (folder / store.TRAIN).write_bytes(packed.ljust(-(-len(packed) // 8) * 8, b"\0"))
    crafted_meta(folder, dtype="object", sha256=store.hashes(folder))
    assert quiet(mark, "ladder", finished.path) == 0
    rungs = json.loads(call("ladder", finished.path, "--json").out)["rungs"]
    assert [rung["bits_per_char"] for rung in rungs] == [r["bits_per_char"] for r in json.loads(expected)["rungs"]]


def crafted_meta(folder: Path, **changes: object) -> None:
    """A meta.json whose digest agrees with what it says."""
    values = json.loads((folder / store.META).read_text(encoding="utf-8")) | changes
    values.pop("digest")
    meta = store.TokenMeta(**values)
    (folder / store.META).write_text(json.dumps({**values, "digest": meta.digest}), encoding="utf-8")


def _runs_code(call: ast.Call) -> str | None:
    """What a call in a source file may run; None for a harmless one."""
    name = ast.unparse(call.func)
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in ("eval", "exec", "compile", "__import__", "execfile", "torch.hub.load", "torch.jit.load", "yaml.load"):
        return name
    if name == "torch.load" and options.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if options.get("allow_pickle", "False") != "False":
        return f"{name} with allow_pickle"
    return None


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    return [(node.module or "").split(".")[0]] if isinstance(node, ast.ImportFrom) else []


def dangers(source: str) -> list[str]:
    """All in a source file that could run what a file says."""
    readers = {
        "pickle",
        "_pickle",
        "cPickle",
        "cloudpickle",
        "dill",
        "shelve",
        "marshal",
        "joblib",
        "yaml",
        "jsonpickle",
    }
    found = []
    for node in ast.walk(ast.parse(source)):
        found += [name for name in _imported(node) if name in readers]
        if isinstance(node, ast.Call) and (danger := _runs_code(node)):
            found.append(danger)
    return found


@pytest.mark.parametrize("source", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_no_source_file_could(source):
    assert dangers(source.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from shelve import open",
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=False)",
        "import torch; torch.load(path, weights_only=trusted)",
        "import numpy as np; np.load(path, allow_pickle=True)",
        "def f(x): return eval(x)",
        "import yaml",
    ],
)
def test_the_search_finds_what_could(line):
    assert dangers(line)


def test_the_search_lets_the_harmless_be():
    assert not dangers("import torch, re\nmodel.eval()\nre.compile('x')\ntorch.load(path, weights_only=True)")
