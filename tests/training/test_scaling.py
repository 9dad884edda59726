"""What ranks send, and what that costs: sums done by hand, and limits that must hold."""

import pytest
import torch

from clearhead.config import RunConfig
from clearhead.training.dividing import Groups, share_of, weigh_groups
from clearhead.training.scaling import BUCKET, Link, Model, moved, step_seconds
from clearhead.training.weighing import build_model

MODEL = Model(weights=4 * BUCKET, groups=Groups(block=BUCKET, rest=BUCKET), blocks=3)
FAST, SLOW = Link(speed=1e18, latency=0.0), Link(speed=1e6, latency=0.0)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_one_process_sends_nothing(parallel):
    assert moved(MODEL, parallel, 1).bytes == 0
    assert step_seconds(2.0, moved(MODEL, parallel, 1), SLOW, 1) == 2.0


def test_bytes_are_those_of_a_ring():
    assert moved(MODEL, "ddp", 4).bytes == 2 * 3 / 4 * 4 * BUCKET
    once, twice = (moved(MODEL, "fsdp", 4, parts) for parts in (1, 2))
    assert once.bytes == 3 / 4 * (4 + 3 + 4) * BUCKET
    assert twice.bytes - once.bytes == 3 / 4 * (4 + 3) * BUCKET, "gathered again, summed once"
    assert (once.forward_messages, once.backward_messages, twice.backward_messages) == (4, 7, 10)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_step_waits_for_what_cannot_be_hidden(parallel):
    sent = moved(MODEL, parallel, 8)
    assert step_seconds(1.0, sent, FAST, 8) == pytest.approx(1.0)
    assert step_seconds(1.0, sent, SLOW, 8, overlap=0.0) == pytest.approx(1.0 + sent.bytes / SLOW.speed)
    assert step_seconds(1.0, sent, SLOW, 8) >= sent.bytes / SLOW.speed, "the network is never idle, and no faster"
    hidden = Link(speed=sent.bytes, latency=0.0)  # a second for all, which passes of an hour hide
    assert step_seconds(3_600.0, sent, hidden, 8) == pytest.approx(3_600 + (sent.first + sent.last) / sent.bytes)
    late = Link(speed=1e18, latency=1.0)
    messages = sent.forward_messages + sent.backward_messages
    assert step_seconds(1.0, sent, late, 8, overlap=0.0) == pytest.approx(1.0 + 3 * messages)


@pytest.mark.parametrize("preset", ["gpt2", "modern"])
def test_groups_are_all_of_a_model(preset):
    config = RunConfig.from_preset(preset).with_settings({"n_embd": 32, "n_head": 2, "n_layer": 3})
    groups, model = weigh_groups(config, 65, torch.float32), build_model(config, 65)
    assert groups.rest + 3 * groups.block == sum(weight.nbytes for weight in model.parameters())
    assert groups.rest >= model.get_parameter("token_embedding_table.weight").nbytes


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 4), (2, 4), (5, 4), (12, 1)])
def test_a_share_is_what_the_busiest_process_computes(processes, accumulation):
    config = RunConfig().with_settings({"batch_size": 12, "accumulation": accumulation})
    train = share_of(config, processes).train
    assert train.batch_size >= -(-12 // processes)
    assert train.accumulation == min(accumulation, 12 // processes)
    assert processes > 1 or train == config.train
