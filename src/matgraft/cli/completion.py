"""What a shell offers behind an option.

    matgraft --install-completion        once; then `matgraft tune --strategy <TAB>`

The words stand here a second time, and a test holds them against the code that reads them: to import that code takes
seconds, and who types <TAB> waits for none.
"""

from __future__ import annotations

from collections.abc import Iterable

from typer import Context

STRATEGIES = {
    "tune": (
        *("ladder", "full", "partial", "feature", "gradual", "lora", "replay", "multihead"),
        *("auto", "prompt", "descriptors", "domain"),
    ),
    "crossval": ("auto", "full", "partial", "feature", "prompt", "descriptors"),
    "compare": ("auto", "full", "partial", "feature", "prompt", "descriptors", "untrained"),
}
ENCODERS = ("composition", "composition:1")
PUBLISHED = (
    *(
        "mace:medium-mpa-0",
        "mace:small",
        "mace:medium",
        "mace:large",
        "mace:small-0b",
    ),
    *(
        "mace:medium-0b",
        "mace:small-0b2",
        "mace:medium-0b2",
        "mace:large-0b2",
        "mace:medium-0b3",
    ),
    *(
        "mace:small-omat-0",
        "mace:medium-omat-0",
        "mace:mace-matpes-pbe-0",
        "mace:mace-matpes-r2scan-0",
        "mace:mh-0",
    ),
    *(
        "mace:mh-1",
        "mace:off-small",
        "mace:off-medium",
        "mace:off-large",
    ),
    *("nequix:nequix-oam-1", "nequix:nequix-omat-1", "nequix:nequix-mp-1"),
)
"""What `matgraft fetch` knows."""
POTENTIALS = (
    *("chgnet", "chgnet:0.3.0", "chgnet:r2scan", "chgnet:0.2.0", "mace", "matgl", "nequix"),
    *("nequix:nequix-oam-1", "nequix:nequix-omat-1", "nequix:nequix-mp-1"),
    *("matgl:TensorNet-PES-MatPES-PBE-2025.2", "matgl:TensorNet-PES-MatPES-r2SCAN-2025.2"),
)
"""Names that can be typed as they are; those of MACE whose hash is known are offered too."""
OF_TABLES = ("crossval", "compare", "embed", "fewshot", "episodes", "prompts")
"""Verbs that take an encoder of formulas alone."""
PURPOSES = ("md", "phases", "elastic", "surfaces")
USES = ("relax", "phonons", "elastic", "md", "defects", "surfaces", "phases", "molecules")
SUITES = ("quick", "crystal", "full")
CHECKS = (
    *(
        "relaxation",
        "equation-of-state",
        "elastic",
        "phonons",
        "repulsion",
    ),
    *(
        "labels",
        "elastic-frames",
        "vacancy-frames",
        "surface-frames",
        "phase-frames",
    ),
    *(
        "finite-differences",
        "cutoff-smoothness",
        "extensivity",
        "nve",
        "vacancy",
    ),
    *(
        "surface",
        "phases",
        "molecule-scan",
        "nvt",
        "npt",
    ),
    *(
        "structure-in-motion",
        "molecule-stability",
    ),
)
FINDINGS = (
    *(
        "outlier-value",
        "impossible-value",
        "censored",
        "heavy-zeros",
        "mixed-units",
    ),
    *(
        "temperature-offset",
        "digit-for-letter",
        "charge-balance",
        "elements-unseen",
        "repeated-formula",
    ),
    *(
        "duplicates",
        "near-duplicates",
        "covariate-is-target",
        "covariate-identifies",
        "groups-across-folds",
    ),
    *(
        "few-rows",
        "rare-classes",
        "imbalance",
        "mixed-provenance",
        "coverage",
    ),
)
DEVICES = ("auto", "cpu", "cuda")
EXPORTS = ("native", "ase", "lammps", "torch-sim", "sklearn")


def _of(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def strategies(ctx: Context, incomplete: str) -> list[str]:
    """Offer the strategies that a verb knows: of both kinds where it serves both."""
    return _of(STRATEGIES[str(ctx.info_name)], incomplete)


def foundations(ctx: Context, incomplete: str) -> list[str]:
    """Offer backbones and their releases; of verbs of tables the encoders alone."""
    of_frames = () if ctx.info_name in OF_TABLES else (*POTENTIALS, *PUBLISHED)
    return _of((*of_frames, *ENCODERS), incomplete)


def fetched_names(incomplete: str) -> list[str]:
    """Offer the foundations that can be fetched."""
    return _of(PUBLISHED, incomplete)


def purposes(ctx: Context, incomplete: str) -> list[str]:
    """Offer what a potential can be for."""
    return _of(PURPOSES if ctx.info_name == "tune" else USES, incomplete)


def suites(incomplete: str) -> list[str]:
    """Offer the suites of physical checks."""
    return _of(SUITES, incomplete)


def checks(incomplete: str) -> list[str]:
    """Offer the codes of the physical checks."""
    return _of(CHECKS, incomplete)


def findings(incomplete: str) -> list[str]:
    """Offer the codes of the audit of tables."""
    return _of(FINDINGS, incomplete)


def exports(incomplete: str) -> list[str]:
    """Offer the targets of an export."""
    return _of(EXPORTS, incomplete)


def devices(incomplete: str) -> list[str]:
    """Offer where to compute."""
    return _of(DEVICES, incomplete)
