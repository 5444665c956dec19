"""What `metascale export` wrote, in TRL's own trainers: a tiny model, made here, takes real optimiser steps."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metascale.data import gsm8k
from metascale.training import difficulty_reward, length_reward, meta_reward, notion_reward
from metascale.training.stated import to_text
from tests.exports import export, solve

os.environ["HF_HUB_OFFLINE"] = "1"
WHY = "training with TRL is not tested: pip install 'metascale[train]' brings it"
torch = pytest.importorskip("torch", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)
tokenizers = pytest.importorskip("tokenizers", reason=WHY)
datasets = pytest.importorskip("datasets", reason=WHY)
trl = pytest.importorskip("trl", reason=WHY)
torch.set_num_threads(1)

pytestmark = pytest.mark.filterwarnings(
    "ignore:`(is_)?gradient_checkpointing:FutureWarning"  # what TRL calls transformers' activation_checkpointing
)
REWARDS = [difficulty_reward, length_reward, notion_reward, meta_reward]
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def tokenizer(rows: list[dict[str, Any]], sayings: Sequence[str] = ()) -> Any:
    """The words of the rows, bytes, and whole sayings, which a model without any training can say."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator([message["content"] for row in rows for message in row["prompt"]], trainer)
    own = transformers.PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<|end|>", pad_token="<|pad|>")
    own.add_tokens(list(sayings))
    own.chat_template = TEMPLATE
    return own


def tiny(own: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(own),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=own.eos_token_id,
        pad_token_id=own.pad_token_id,
    )
    return transformers.LlamaForCausalLM(config)


def arguments(config: Any, folder: Path, *, batch: int = 2, **options: Any) -> Any:
    return config(
        output_dir=str(folder / "out"),
        use_cpu=True,
        bf16=False,
        max_steps=2,
        logging_steps=1,
        learning_rate=1e-3,
        per_device_train_batch_size=batch,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **options,
    )


def rows(path: Path, cache: Path) -> Any:
    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(cache))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "runs.sqlite"
    for number, row in enumerate(gsm8k()[:5]):
        solve(path, str(number), row["question"], "--set", "foresee=true")
    return path


def steps(trainer: Any, model: Any) -> list[dict[str, Any]]:
    """Train, and make sure that both steps moved every weight."""
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    assert [entry["step"] for entry in logged] == [1, 2]
    assert all(entry["grad_norm"] > 0 for entry in logged)
    assert not any(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    return logged


def test_grpo_takes_the_meta_rewards_as_they_are(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "grpo.jsonl"
    options = ("--what", "predictions", "--good-reward", "0.6", "--gate", "none")
    done = export(path, runs, "--format", "grpo", *options)
    assert len(done.rows) == 5
    unmeasured = {**done.rows[0], "pass_rate": None, "good_lengths": None, "good_answers": None, "bad_answers": None}
    path.write_text("".join(json.dumps(row) + "\n" for row in [*done.rows[1:3], unmeasured]), encoding="utf-8")
    sayings = {to_text(stated) for row in done.rows for stated in row["predictions"]}
    own = tokenizer(done.rows, sorted(sayings))
    model = tiny(own)
    trainer = trl.GRPOTrainer(
        model=model,
        processing_class=own,
        reward_funcs=REWARDS,
        args=arguments(
            trl.GRPOConfig,
            tmp_path,
            batch=3 * 6,
            num_generations=6,
            max_completion_length=1,
            generation_kwargs={
                "suppress_tokens": [token for text, token in own.get_vocab().items() if text not in sayings]
            },
        ),
        train_dataset=rows(path, tmp_path),
    )
    for entry in steps(trainer, model):
        for reward in REWARDS:
            assert 0 <= entry[f"rewards/{reward.__name__}/mean"] <= 1
        three = [entry[f"rewards/{reward.__name__}/mean"] for reward in REWARDS[:3]]
        assert entry["rewards/meta_reward/mean"] == pytest.approx(sum(three) / 3, abs=1e-6)
        assert entry["rewards/difficulty_reward/mean"] > 0.01
        assert entry["reward_std"] > 0


@pytest.mark.parametrize("what", ["answers", "predictions"])
def test_sft_learns_the_completion_and_nothing_else(what: str, runs: Path, tmp_path: Path) -> None:
    done = export(tmp_path / "sft.jsonl", runs, "--format", "sft", "--what", what, "--good-reward", "0.6")
    own = tokenizer(done.rows)
    model = tiny(own)
    trainer = trl.SFTTrainer(
        model=model,
        processing_class=own,
        args=arguments(trl.SFTConfig, tmp_path, max_length=4096),
        train_dataset=rows(tmp_path / "sft.jsonl", tmp_path),
    )
    for row, prepared in zip(done.rows, trainer.train_dataset, strict=True):
        learned = [token for token in prepared["labels"] if token != -100]
        assert own.decode(learned) == row["completion"][0]["content"] + "<|end|>"
        assert own.decode(prepared["input_ids"]).startswith(
            f"<|{row['prompt'][0]['role']}|>{row['prompt'][0]['content']}"
        )
    steps(trainer, model)


@pytest.mark.parametrize("what", ["answers", "predictions"])
def test_dpo_tells_the_chosen_from_the_rejected(what: str, runs: Path, tmp_path: Path) -> None:
    options = ("--format", "dpo", "--what", what, "--good-reward", "0.6", "--margin", "0.05")
    done = export(tmp_path / "dpo.jsonl", runs, *options)
    own = tokenizer(done.rows)
    model = tiny(own)
    trainer = trl.DPOTrainer(
        model=model,
        ref_model=tiny(own),
        processing_class=own,
        args=arguments(trl.DPOConfig, tmp_path, max_length=4096),
        train_dataset=rows(tmp_path / "dpo.jsonl", tmp_path),
    )
    for row, prepared in zip(done.rows, trainer.train_dataset, strict=True):
        assert own.decode(prepared["prompt_ids"]).endswith("<|end|><|assistant|>")
        for which in ("chosen", "rejected"):
            assert own.decode(prepared[f"{which}_ids"]) == row[which][0]["content"] + "<|end|>"
    steps(trainer, model)
