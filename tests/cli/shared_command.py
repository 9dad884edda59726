"""The command line, run in this process."""

import pytest

from clearhead.cli.main import main


@pytest.fixture
def clearhead(capsys, tmp_path, monkeypatch):
    """Run a command in a folder of its own; returns (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(word) for word in argv])
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
