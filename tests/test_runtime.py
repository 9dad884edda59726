"""The machine: devices, precision, folders, seeds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clearhead import runtime
from clearhead.config import TrainConfig
from clearhead.errors import ConfigError


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, "2000 True"), ({"GOMP_SPINCOUNT": "7"}, "7 True"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None True")],
)
def test_waiting_threads_sleep_sooner_unless_the_user_chose_otherwise(monkeypatch, chosen, expected):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    code = "import clearhead, os, sys; clearhead.load; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    command, environment = [sys.executable, "-c", code], {**os.environ, **chosen}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == expected


@pytest.mark.parametrize("chosen", [None, "2"])
def test_a_server_leaves_a_core_to_what_it_sends(monkeypatch, chosen):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = "from clearhead.cli.main import main; main(['serve', 'no']); import torch; print(torch.get_num_threads())"
    environment = os.environ | ({} if chosen is None else {"OMP_NUM_THREADS": chosen})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == (chosen or str(max(1, (os.cpu_count() or 1) - 1)))


def test_seeds_are_pure_and_differ():
    seeds = [runtime.stream_seed(1337, "dropout", step, micro) for step in range(50) for micro in range(4)]
    assert len(set(seeds)) == 200
    assert seeds[0] == runtime.stream_seed(1337, "dropout", 0, 0)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_parts_of_a_seed_do_not_run_together():
    assert runtime.stream_seed(1, 23) != runtime.stream_seed(12, 3)


def test_auto_finds_a_device_and_a_precision():
    chosen = runtime.choose_runtime(TrainConfig())
    assert chosen.device.type in ("cpu", "cuda", "mps")
    if chosen.device.type == "cpu":
        native = torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16")
        assert (chosen.precision, chosen.dtype) == ("bfloat16" if native else "float32", torch.float32)


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ConfigError, match="device='cuda:99' is not available here"):
        runtime.choose_device("cuda:99")
    with pytest.raises(ConfigError, match="gpu"):
        runtime.choose_device("gpu")


def test_precision_is_kept():
    assert runtime.choose_runtime(TrainConfig(device="cpu", precision="float64")).dtype == torch.float64
    mixed = runtime.choose_runtime(TrainConfig(device="cpu", precision="bfloat16"))
    assert mixed.dtype == torch.float32
    with mixed.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_folders_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLEARHEAD_CORPORA", os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")]))
    assert runtime.corpora_dirs() == [tmp_path / "a", tmp_path / "b", tmp_path / "cache" / "corpora"]
    monkeypatch.delenv("CLEARHEAD_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert runtime.cache_dir() == tmp_path / "xdg" / "clearhead"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert runtime.cache_dir() == Path.home() / ".cache" / "clearhead"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert runtime.cache_dir().parts[-3:] == ("Library", "Caches", "clearhead")


def test_the_environment_is_told():
    facts = runtime.environment()
    assert facts["torch"] == torch.__version__
    assert facts["threads"] >= 1
