"""Settings by the names that other programs and textbooks give them.

>>> meant("forces_weight", ["loss.forces", "loss.energy"])
'loss.forces'

Case, hyphens and leading dashes play no role. `docs/coming-from.md` has the same words with examples.
"""

from __future__ import annotations

import re
from collections.abc import Collection

CALLED: dict[str, str] = {
    "fit.rate": "lr learning_rate max_lr initial_lr",
    "network.rate": "lr learning_rate max_lr initial_lr",
    "fit.epochs": "max_num_epochs num_epochs n_epochs max_epochs max_steps num_steps n_steps steps",
    "network.epochs": "epochs max_num_epochs num_epochs n_epochs max_epochs",
    "fit.batch": "batch_size valid_batch_size val_batch_size",
    "network.batch": "batch_size",
    "fit.ema": "swa start_swa ema_decay stage_two start_stage_two "
    "swa_lr swa_energy_weight swa_forces_weight swa_stress_weight swa_virials_weight",
    "fit.hold": "decay_steps decay_alpha",
    "fit.validate_every": "eval_interval val_interval",
    "fit.clip": "clip_grad grad_clip gradient_clip_val max_grad_norm",
    "fit.patience": "early_stop early_stopping early_stopping_patience max_no_improve",
    "fit.warmup": "warmup_steps warmup_epochs warmup_ratio",
    "fit.optimizer": "optim scheduler lr_scheduler",
    "fit.processes": "num_workers n_workers n_jobs",
    "loss.energy": "energy_weight energy_loss_ratio energy_coefficient",
    "loss.forces": "forces_weight force_weight force_loss_ratio force_coefficient",
    "loss.stress": "stress_weight virials_weight stress_loss_ratio",
    "loss.magmom": "magmom_weight magmoms_weight mag_loss_ratio",
    "loss.kind": "criterion loss_fn loss_function",
    "network.loss": "criterion loss_fn loss_function",
    "loss.l2": "weight_decay l2_reg",
    "network.weight_decay": "weight_decay l2 l2_reg",
    "mask_fraction": "mask_prob mask_ratio mlm_probability masking_ratio",
    "weights.masked": "mlm mlm_weight",
    "weights.contrast": "contrastive contrastive_weight",
    "domain.ramp": "gamma lambda_max lambda_schedule warmup_domain",
    "loss.groups": "config_type_weights",
    "keys.energy": "energy_key",
    "keys.forces": "forces_key",
    "keys.stress": "stress_key virials_key",
    "keys.magmom": "magmom_key magmoms_key",
    "references.mode": "composition_model atom_ref atomref atom_refs",
    "references.shift_eV": "element_refs",
    "train": "train_file train_data train_loader",
    "test": "test_file test_data test_loader",
    "split.validation": "valid_fraction validation_fraction val_ratio val_split "
    "train_ratio valid_file val_file val_loader",
    "split.test": "test_ratio test_fraction test_size",
    "foundation": "foundation_model pretrained pretrained_model base_model model model_name",
    "replay.size": "num_samples_pt",
    "replay.weight": "weight_pt_head weight_pt replay_ratio",
    "replay.file": "pt_train_file",
    "heads.by": "multiheads_finetuning multihead multiheads",
    "heads.foundation": "pt_head foundation_head",
    "strategy.stages": "freeze freeze_layers freeze_params frozen "
    "frozen_layers frozen_params unfreeze_layers trainable_layers",
    "network.stages": "freeze freeze_layers freeze_params frozen "
    "frozen_layers frozen_params unfreeze_layers trainable_layers",
    "strategy.rank": "lora_rank lora_r",
    "strategy.alpha": "lora_alpha",
    "strategy.decay": "layer_decay llrd",
    "seed": "random_state random_seed manual_seed",
    "domain.strength": "alpha lambda lambd lambda_domain grl_alpha grl_lambda domain_weight mmd_weight",
    "domain.clip": "max_weight weight_clip",
    "network.dropout": "dropout dropout_rate",
    "encoder.dropout": "dropout dropout_rate",
    "level": "confidence confidence_level coverage",
    "inner_folds": "n_splits cv k_folds",
}
"""Key -> what MACE, CHGNet, MatGL and textbooks call it, in lower case."""


def keys_called(word: str) -> list[str]:
    """Return the keys that a word from elsewhere means, or that end with it."""
    name = _plain(word)
    return [key for key, words in CALLED.items() if name in (*words.split(), key, key.rpartition(".")[2])]


def meant(word: str, known: Collection[str]) -> str:
    """Return the key among the known ones that a word from elsewhere means; empty where it means none of them.

    Parameters
    ----------
    known
        Keys with dots. A known mapping of free keys, such as ``keys``, has ``keys.energy``.
    """
    name = _plain(word)
    return next((key for key, words in CALLED.items() if name in words.split() and _has(known, key)), "")


def ending_with(word: str, known: Collection[str]) -> list[str]:
    """Return the known keys of sections whose own name is the word: ``epochs`` is ``fit.epochs``."""
    name = _plain(word)
    return [key for key in known if "." in key and key.rpartition(".")[2] == name]


def _plain(word: str) -> str:
    return re.sub(r"[-\s]+", "_", word.lower().lstrip("-"))


def _has(known: Collection[str], key: str) -> bool:
    section = key.rpartition(".")[0]
    is_mapping = section in known and not any(one.startswith(f"{section}.") for one in known)
    return key in known or is_mapping
