"""Rollouts from a server process that speaks the wire format of vLLM, with the embedded model behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.endpoint.serving import Serving, serving
from vlcal.policy import EncodedPrompts, Endpoint, GroupEngine, LoRA, Policy, PolicySpec, Server, VLLMEngine
from vlcal.text import Grammar
from vlcal.training import AlteredReadings, Sampling
from vlcal.types import PromptBatch, Rollouts

pytest.importorskip("openai")

SEEDS = [11, 12, 13]


@pytest.fixture(scope="module")
def vllm(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(embedded, tmp_path_factory.mktemp("vllm") / "log") as running:
        yield running


@pytest.fixture
def server(vllm: Serving) -> Serving:
    """The server without a fault, its requests counted from here."""
    vllm.fail("")
    return vllm


@pytest.fixture
def policy(embedded: Path) -> Policy:
    """With adapters that change a lot."""
    made = PolicySpec(str(embedded), LoRA(2), dtype="float32").build()
    stir(made, 0.5)
    return made


@pytest.fixture
def encoded(policy: Policy, scenes: Callable[[int], PromptBatch], grammar: Grammar) -> EncodedPrompts:
    """Three questions about images of 8 bits, as every file has them."""
    prompts = scenes(3)
    images = tuple(tuple((255 * image).round() / 255 for image in shown) for shown in prompts.images)
    return policy.encode(prompts.with_images(images), grammar)


def stir(policy: Policy, spread: float) -> None:
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            weight.add_(spread * torch.randn(weight.shape)) if "lora_B" in name else None


def engine(server: Serving, folder: Path, retries: int = 0, count: int = 1, **settings: float) -> VLLMEngine:
    servers = [Server(server.url, server.checkpoint, retries=retries) for _ in range(count)]
    return VLLMEngine(servers, folder, max_new_tokens=8, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2], ids=["one server", "two, of which the second has the adapter already"])
def test_completions_and_log_probabilities_are_those_of_the_engine_in_this_process(
    server: Serving, policy: Policy, encoded: EncodedPrompts, tmp_path: Path, count: int
) -> None:
    found = engine(server, tmp_path, count=count, temperature=0.7).sample(policy, encoded, 4, SEEDS)
    own = GroupEngine(8, 0.7).sample(policy, encoded, 4, SEEDS)

    assert found.texts == own.texts and found.group_size == 4
    width = found.tokens.shape[1]
    assert torch.equal(found.tokens[found.mask], own.tokens[:, :width][own.mask[:, :width]])
    assert torch.equal(found.truncated, own.truncated) and not found.forced.any()
    torch.testing.assert_close(found.log_probs, own.log_probs[:, :width], rtol=0, atol=1e-4)


def test_a_request_sets_whatever_a_server_could_change(
    server: Serving, policy: Policy, encoded: EncodedPrompts, tmp_path: Path
) -> None:
    engine(server, tmp_path).sample(policy, encoded, 2, SEEDS)

    chats = [request for request in server.ask("/requests") if request["path"] == "/v1/chat/completions"]
    assert sorted(chat["seed"] for chat in chats) == SEEDS and {chat["n"] for chat in chats} == {2}
    assert all(chat["model"].startswith("policy-v") for chat in chats)
    neutral = {"top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1, "frequency_penalty": 0}
    assert all(neutral.items() <= chat.items() and chat["stop_token_ids"] == policy.end_tokens for chat in chats)


def test_each_update_is_published_under_a_new_name_and_the_one_before_unloaded(
    server: Serving, policy: Policy, encoded: EncodedPrompts, tmp_path: Path
) -> None:
    sampling = engine(server, tmp_path)

    def published(policy: Policy) -> tuple[Rollouts, int]:
        found = sampling.sample(policy, encoded, 2, SEEDS)
        base, name = server.models()
        assert base == server.checkpoint
        assert [path.name for path in (tmp_path / "rank0").iterdir()] == [name]
        return found, int(name.removeprefix("policy-v"))

    before, first = published(policy)
    assert published(policy)[1] == first  # the weights are the same
    stir(policy, 0.5)
    after, second = published(policy)

    assert second == first + 1
    assert after.texts == GroupEngine(8).sample(policy, encoded, 2, SEEDS).texts != before.texts


def test_another_run_uses_no_name_again_and_unloads_what_the_one_before_left(
    server: Serving, policy: Policy, encoded: EncodedPrompts, tmp_path: Path
) -> None:
    engine(server, tmp_path / "one").sample(policy, encoded, 2, SEEDS)
    (_, left) = server.models()
    engine(server, tmp_path / "two").sample(policy, encoded, 2, SEEDS)

    number = int(left.removeprefix("policy-v"))
    assert server.models() == [server.checkpoint, f"policy-v{number + 1}"]


def test_an_adapter_that_a_server_has_lost_is_published_again(
    server: Serving, policy: Policy, encoded: EncodedPrompts, tmp_path: Path
) -> None:
    training, validation = (engine(server, tmp_path) for _ in range(2))
    found = [each.sample(policy, encoded, 2, SEEDS) for each in (training, validation, training)]

    assert found[0].texts == found[1].texts == found[2].texts


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("forget", "sample from other weights than those that learn"),
        ("cut", "must answer with 2 completions, their token ids and log-probabilities; it did not"),
        ("shout", "must read a prompt as the policy does; it read .* equal up to token"),
        ("busy", "did not complete a prompt, and nothing was learned from this batch: .*busy"),
    ],
)
def test_a_server_that_errs_is_one_line(
    server: Serving, policy: Policy, encoded: EncodedPrompts, tmp_path: Path, fault: str, said: str
) -> None:
    server.fail(fault)

    with pytest.raises(ValueError, match=said) as refusal:
        engine(server, tmp_path).sample(policy, encoded.select([0]), 2, SEEDS[:1])
    assert "\n" not in str(refusal.value)


def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    server: Serving, policy: Policy, encoded: EncodedPrompts, tmp_path: Path
) -> None:
    server.fail("busy", 2)

    found = engine(server, tmp_path, retries=1).sample(policy, encoded, 2, SEEDS)

    assert found.texts == GroupEngine(8).sample(policy, encoded, 2, SEEDS).texts


def test_a_server_of_another_model_and_one_that_is_not_there_are_one_line(
    server: Serving, policy: Policy, encoded: EncodedPrompts, tmp_path: Path
) -> None:
    other = VLLMEngine([Server(server.url, "other", retries=0)], tmp_path)
    with pytest.raises(ValueError, match="must be a model that it serves; it serves .*, and no 'other'"):
        other.sample(policy, encoded, 2, SEEDS)
    gone = VLLMEngine([Server("http://127.0.0.1:9/v1", "m", retries=0)], tmp_path)
    with pytest.raises(ValueError, match="did not say what it serves: Connection error"):
        gone.sample(policy, encoded, 2, SEEDS)


def test_what_the_wire_format_cannot_do_is_refused(
    server: Serving, policy: Policy, frozen_policy: Policy, encoded: EncodedPrompts, tmp_path: Path
) -> None:
    made = engine(server, tmp_path)
    with pytest.raises(ValueError, match="`starts` must be FreeStarts for VLLMEngine"):
        made.sample(policy, encoded, 1, SEEDS, [[5], [], []])
    with pytest.raises(ValueError, match="since VLLMEngine cannot begin .*; got AlteredReadings"):
        Sampling(training=made, starts=AlteredReadings())
    with pytest.raises(ValueError, match="`model.policy.adaptation` must be LoRA or QLoRA for VLLMEngine"):
        made.sample(frozen_policy, encoded, 2, SEEDS)
    with pytest.raises(ValueError, match="`servers` must name at least one"):
        VLLMEngine([], tmp_path)
    with pytest.raises(ValueError, match="`servers` must be of Server, since the engine decides .*; got Endpoint"):
        VLLMEngine([Endpoint(server.url, "m")], tmp_path)


def test_selected_prompts_keep_their_questions(encoded: EncodedPrompts) -> None:
    assert encoded.select([2, 0]).questions == (encoded.questions[2], encoded.questions[0])
    assert replace(encoded, questions=()).select([1]).questions == ()
