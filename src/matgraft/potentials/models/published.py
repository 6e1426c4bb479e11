"""Foundations that `matgraft fetch` brings: where each is published, and the SHA-256 that its file must have.

A hash stands here only if two places that know nothing of each other give it for the file of that address: records of
Git LFS, lists of other projects, or the file itself. The rest is fetched with a hash that the user names.

Sources: mace-torch 0.3.16 (`mace.calculators.foundations_models`) and nequix 0.4.5 (`nequix.calculator`) for names and
addresses.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from matgraft.core.errors import OptionError, choose
from matgraft.core.fetch import Published

_MP = "https://github.com/ACEsuit/mace-mp/releases/download"
_MORE = "https://github.com/ACEsuit/mace-foundations/releases/download"
_OFF = "https://raw.githubusercontent.com/ACEsuit/mace-off/main/mace_off23"

MACE: dict[str, tuple[str, str]] = {
    "medium-mpa-0": (
        f"{_MP}/mace_mpa_0/mace-mpa-0-medium.model",
        "75428afe3a1d7d8062e19bcaabd5c433623cabf308242ec9fb493e38604fb638",
    ),
    "small": (
        f"{_MP}/mace_mp_0/2023-12-10-mace-128-L0_energy_epoch-249.model",
        "2ddb079cee0e131eaaf6912ba581b394551ead283e95c99cfe78c605d10b5736",
    ),
    "medium": (
        f"{_MP}/mace_mp_0/2023-12-03-mace-128-L1_epoch-199.model",
        "01bfe22100139f424713cf921144e5509cbe353d67aa9fa1be9c6e1e0ed35845",
    ),
    "large": (
        f"{_MP}/mace_mp_0/MACE_MPtrj_2022.9.model",
        "f80e992b65ab8f88fdf26964511357c022e92704e4d9bcd086652635a8495b32",
    ),
    "small-0b": (
        f"{_MP}/mace_mp_0b/mace_agnesi_small.model",
        "7e3a0abcaf41e03a80e69f778e1b11b29de1cca704783dc25917a736392f8cf0",
    ),
    "medium-0b": (
        f"{_MP}/mace_mp_0b/mace_agnesi_medium.model",
        "ab8baff639a8f295f3eccad3d3ccf574efb6fb63220bd52cd88664211569e521",
    ),
    "small-0b2": (
        f"{_MP}/mace_mp_0b2/mace-small-density-agnesi-stress.model",
        "d5773bf9440e96d6eb8c598f84bd0e6369fcfa432f626a87f890e07da3c651c9",
    ),
    "medium-0b2": (
        f"{_MP}/mace_mp_0b2/mace-medium-density-agnesi-stress.model",
        "a90be07c8aa6623c390fcc4653d3e319c4a356f8b4a53d323f96b2012d375caf",
    ),
    "large-0b2": (
        f"{_MP}/mace_mp_0b2/mace-large-density-agnesi-stress.model",
        "348390e758e1c90011c7675e864850f8e9c5b3e7c217f79a2b4bad1baaa657ad",
    ),
    "medium-0b3": (
        f"{_MP}/mace_mp_0b3/mace-mp-0b3-medium.model",
        "2f2be696351ac9e94fbe01cdfb6f017679acdbd2db7645209ef55fec9826b012",
    ),
    "small-omat-0": (
        f"{_MP}/mace_omat_0/mace-omat-0-small.model",
        "0abfde07862cf1e93b8b4d03cb702f29ce9c344ff2fc4de2ec0d7166d6c113a5",
    ),
    "medium-omat-0": (f"{_MP}/mace_omat_0/mace-omat-0-medium.model", ""),
    "mace-matpes-pbe-0": (
        f"{_MORE}/mace_matpes_0/MACE-matpes-pbe-omat-ft.model",
        "e618ad582b84239905b9c3b77ce6e9ce111b0ecd1533223a1a6aac7a696b8aa0",
    ),
    "mace-matpes-r2scan-0": (
        f"{_MORE}/mace_matpes_0/MACE-matpes-r2scan-omat-ft.model",
        "8f147ecffa1d06a696e5648b13b81abda9c96fda9d0fb3faba3cd3fb27d9bba9",
    ),
    "mh-0": (f"{_MORE}/mace_mh_1/mace-mh-0.model", ""),
    "mh-1": (
        f"{_MORE}/mace_mh_1/mace-mh-1.model",
        "a522eb7f59c7879963d41586528f4980baf33e086c94aa92e3eafdeccad3be47",
    ),
    "off-small": (
        f"{_OFF}/MACE-OFF23_small.model",
        "165cce4cfec5a34b9c64d4ebf95de15d71106bb584b7291c8470f0749977c46f",
    ),
    "off-medium": (
        f"{_OFF}/MACE-OFF23_medium.model",
        "4842c52ad210d6e1f84d6cf1ffa70fae25a7e0d755ed55cf223f43913f587db7",
    ),
    "off-large": (
        f"{_OFF}/MACE-OFF23_large.model",
        "a29e397dbf3e7a24ac50a9b0dfc919bd5a62efa346f5895a6237b0950c1d76f4",
    ),
}
"""Name of mace-torch -> address, and SHA-256; empty where only one place gives it."""

_NEQUIX = "https://github.com/atomicarchitects/nequix/raw"
_FIRST, _SECOND = "7c2854de8e754b1a60274c7d9d2e014989ed632e", "9c852a9c4cce69ae5e75bc5a2cf670be21ff8c28"
NEQUIX: dict[str, tuple[str, str]] = {
    "nequix-oam-1": (
        f"{_NEQUIX}/{_SECOND}/models/nequix-oam-1.nqx",
        "6a43475eaeb32a7a049f36c1306d78aa1e7a17e8af37aeda7901c8fec0ca845c",
    ),
    "nequix-omat-1": (
        f"{_NEQUIX}/{_SECOND}/models/nequix-omat-1.nqx",
        "2d0802ae7f5915cb488c44d25649d98404a103697e6500abb40f515e003a46a6",
    ),
    "nequix-mp-1": (
        f"{_NEQUIX}/{_FIRST}/models/nequix-mp-1.nqx",
        "1647af8e627e1afa11e2bfadeab0797326513a521afd7dd01606a96f56783eee",
    ),
}
"""Name of the vendor -> address at the commit that has the file, and SHA-256 of the file itself."""
NEQUIX_CACHE = Path("~/.cache/nequix/models")
"""Where the vendor keeps them."""

NOTHING_TO_FETCH = {
    "chgnet": "its weights lie in the package chgnet: there is nothing to fetch",
    "composition": "its weights lie in matgraft: there is nothing to fetch",
    "matgl": "MatGL itself fetches a model by its name when it is loaded: matgl:NAME",
}


def published(name: str) -> Published:
    """Return what is known of a foundation, by the name that `--from` takes.

    Raises
    ------
    OptionError
        If nothing can be fetched under the name.
    """
    backbone, _, release = name.partition(":")
    if backbone not in ("mace", "nequix"):
        names = {one: one for one in (*(f"mace:{one}" for one in MACE), *(f"nequix:{one}" for one in NEQUIX))}
        choose(name, names, "foundation to fetch", {name: NOTHING_TO_FETCH.get(backbone, "")})
    if "@" in release:
        remedy = "leave it out here, or give all 64 digits by the option sha256"
        raise OptionError(f"{name} names a hash", remedy=remedy)
    known = MACE if backbone == "mace" else NEQUIX
    address, sha256 = choose(release, known, f"release of {backbone}")
    file = mace_file(release, address) if backbone == "mace" else nequix_file(release)
    return Published(name=name, address=address, sha256=sha256, file=file)


def nequix_file(release: str) -> Path:
    """Return where the package nequix keeps a foundation, so that both find one file."""
    return NEQUIX_CACHE.expanduser() / f"{release}.nqx"


def mace_file(release: str, address: str) -> Path:
    """Return where mace-torch keeps a foundation, so that both find one file: its cache, and its way of names."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    cache = (Path(home) if home else Path.home() / ".cache") / "mace"
    name = PurePosixPath(address).name
    return cache / (name if release.startswith("off-") else "".join(c for c in name if c.isalnum() or c == "_"))
