"""What the house promises of all its code, and import-linter does not see."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "clearhead"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def names_used(source: Path) -> set[str]:
    """Every imported module, and every dotted name, of a file."""
    used: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            used |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            used.add(ast.unparse(node))
    return used


def loads_torch(code: str) -> bool:
    """Whether torch is loaded after some code in a fresh interpreter."""
    told = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("module", ["clearhead", "clearhead.config", "clearhead.registry", "clearhead.cli.train"])
def test_loads_no_torch(module: str) -> None:
    assert not loads_torch(f"import {module}")


def test_help_loads_no_torch() -> None:
    assert not loads_torch("from clearhead.cli.main import main\nmain(['--help'])")


def test_loads_torch_sees_torch() -> None:
    assert loads_torch("import clearhead\nclearhead.train")


def test_nothing_that_can_run_code_is_read() -> None:
    forbidden = {
        "pickle",
        "cloudpickle",
        "dill",
        "shelve",
        "marshal",
        "joblib",
        "torch.load",
        "torch.save",
        "numpy.load",
        "np.load",
    }
    for source in SOURCES:
        allowed = {"torch.load"} if source.name == "torch_file.py" else set()
        assert not names_used(source) & (forbidden - allowed), source.name


def test_foreign_files_are_read_as_weights_alone() -> None:
    source = (PACKAGE / "initialise" / "torch_file.py").read_text(encoding="utf-8")
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    loads = [call for call in calls if ast.unparse(call.func) == "torch.load"]
    assert len(loads) == 1
    assert {k.arg: ast.unparse(k.value) for k in loads[0].keywords}["weights_only"] == "True"
    assert "safe_globals" not in source


def test_only_runtime_reads_the_environment() -> None:
    readers = {s.name for s in SOURCES if names_used(s) & {"os.environ", "os.getenv", "os.environ.get"}}
    assert readers == {"runtime.py"}


def test_a_file_is_one_idea() -> None:
    for source in (s for s in SOURCES if s.name != "config.py"):  # every knob in one file is its idea
        lines = source.read_text(encoding="utf-8").count("\n")
        assert lines <= 300, f"{source.relative_to(PACKAGE)} has {lines} lines: two ideas?"
