"""The functional of a VASP run: GGA, meta-GGA, hybrid and dispersion, from its raw parameters.

Tags as documented in the VASP manual. Functionals of one tag that differ by their parameters have different names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from matgraft.potentials.data.reading.formats.vasp.parameters import Parameters, flag, stated_number, stated_word

_GGA = {
    "PE": "PBE",
    "PS": "PBEsol",
    "RP": "RPBE",
    "RE": "revPBE",
    "91": "PW91",
    "AM": "AM05",
    "CA": "LDA",
    "OR": "optPBE",
    "BO": "optB88",
    "MK": "optB86b",
    "ML": "rPW86",
    "CX": "cx",
    "B3": "B3LYP",
}
# Functionals of the tags MK and BO by their parameters mu and beta (PARAM1, PARAM2); the first stands for a file that
# states neither. Kernels differ by Zab. Source: VASP manual, "Nonlocal vdW-DF functionals".
_PARAMETERS = {
    "MK": {(0.1234, 1.0): "optB86b", (0.1234, 0.711357): "B86R"},
    "BO": {(0.1833333333, 0.22): "optB88"},
}
_ZAB = {-0.8491: "vdW-DF", -1.8867: "vdW-DF2"}
# Numbers of Libxc, and the pairs that are functionals of VASP's own. Source: libxc.gitlab.io/functionals.
_LIBXC_NUMBERS = {
    "101": "GGA_X_PBE",
    "102": "GGA_X_PBE_R",
    "116": "GGA_X_PBE_SOL",
    "117": "GGA_X_RPBE",
    "130": "GGA_C_PBE",
    "133": "GGA_C_PBE_SOL",
    "263": "MGGA_X_SCAN",
    "267": "MGGA_C_SCAN",
    "497": "MGGA_X_R2SCAN",
    "498": "MGGA_C_R2SCAN",
}
_LIBXC = {
    frozenset({"GGA_X_PBE", "GGA_C_PBE"}): "PBE",
    frozenset({"GGA_X_PBE_R", "GGA_C_PBE"}): "revPBE",
    frozenset({"GGA_X_PBE_SOL", "GGA_C_PBE_SOL"}): "PBEsol",
    frozenset({"GGA_X_RPBE", "GGA_C_PBE"}): "RPBE",
    frozenset({"MGGA_X_SCAN", "MGGA_C_SCAN"}): "SCAN",
    frozenset({"MGGA_X_R2SCAN", "MGGA_C_R2SCAN"}): "r2SCAN",
}
_IVDW = {
    1: "D2",
    10: "D2",
    11: "D3",
    12: "D3(BJ)",
    13: "D4",
    2: "TS",
    20: "TS",
    21: "TS-HI",
    202: "MBD",
    263: "MBD-NL",
    4: "dDsC",
}
# (AEXX, lowest and highest HFSCREEN in 1/Å) of hybrids on PBE that have a name. HSE06: 0.2, or 0.207 (0.11/Bohr).
_HYBRIDS = {"PBE0": (0.25, 0.0, 0.0), "HSE06": (0.25, 0.2, 0.21), "HSE03": (0.25, 0.3, 0.3)}


def gga_of(p: Parameters, titles: Sequence[str]) -> str | None:
    """Return the GGA, with what scales its correlation where that is unusual.

    Parameters
    ----------
    titles
        Of the pseudopotentials: without a tag, VASP takes the functional that they were made with.
    """
    tag = stated_word(p, "GGA").upper()
    if tag in ("LI", "LIBXC"):
        return _libxc(p)
    if tag in _PARAMETERS:
        return _with_correlation(_by_parameters(tag, p), p)
    if tag:
        return _with_correlation(_GGA.get(tag, f"GGA={tag}"), p)
    families = {_family(title.split()[0]) for title in titles if title.split()}
    return _with_correlation(" + ".join(sorted(families)), p) or None


def _by_parameters(tag: str, p: Parameters) -> str:
    """Return the name of an exchange functional with two parameters; one that is not stated has VASP's default."""
    known, stated = _PARAMETERS[tag], (stated_number(p, "PARAM1"), stated_number(p, "PARAM2"))
    if stated == (None, None):
        return next(iter(known.values()))
    mu, beta = (default if value is None else value for value, default in zip(stated, (0.1234, 1.0), strict=True))
    names = (name for pair, name in known.items() if all(map(partial(math.isclose, rel_tol=1e-5), (mu, beta), pair)))
    return next(names, f"{tag} (PARAM1={mu:g}, PARAM2={beta:g})")


def _with_correlation(name: str, p: Parameters) -> str:
    """Add AGGAC, the share of the gradient in the correlation, to a name that does not imply it.

    A kernel of vdW-DF takes the place of the gradient's correlation, pure Hartree-Fock exchange of all correlation.
    """
    share = stated_number(p, "AGGAC")
    alone = flag(p, "LHFCALC") and stated_number(p, "AEXX") == 1
    usual = 0.0 if alone or (flag(p, "LUSE_VDW") and not stated_number(p, "BPARAM")) else 1.0
    return name if share in (None, usual) or name == _GGA["B3"] or not name else f"{name} (AGGAC={share:g})"


def _libxc(p: Parameters) -> str:
    """Return the name of functionals of Libxc, as VASP names them itself where it has them."""
    parts = [part for part in (stated_word(p, f"LIBXC{i}").upper() for i in (1, 2)) if part]
    names = [_LIBXC_NUMBERS.get(part, part) for part in parts]
    return _LIBXC.get(frozenset(names), f"LIBXC ({', '.join(sorted(names)) or 'not stated'})")


def _family(title: str) -> str:
    """Return the functional of a pseudopotential from the first word of its title."""
    if "PBE" in title:
        return "PBE"
    return "PW91" if "GGA" in title else "LDA"


def metagga(p: Parameters) -> str | None:
    """Return the meta-GGA; None where there is none."""
    tag = stated_word(p, "METAGGA").upper()
    if tag == "LIBXC":
        return _libxc(p)
    return {"": None, "F": None, "R2SCAN": "r2SCAN", "RSCAN": "rSCAN"}.get(tag, tag)


def hybrid(p: Parameters) -> str | None:
    """Return the hybrid with its share of exact exchange and its screening; None where there is none."""
    if not flag(p, "LHFCALC"):
        return None
    exchange, screening = stated_number(p, "AEXX"), stated_number(p, "HFSCREEN") or 0.0
    said = f"AEXX={exchange:g}, HFSCREEN={screening:g}" if exchange is not None else "AEXX not stated"
    on_pbe = stated_word(p, "GGA").upper() in ("", "PE")
    names = [
        name
        for name, (fraction, low, high) in _HYBRIDS.items()
        if exchange == fraction and low <= screening <= high and on_pbe and not metagga(p)
    ]
    return f"{names[0]} ({said})" if names else f"hybrid ({said})"


def dispersion(p: Parameters) -> str | None:
    """Return corrections and non-local correlation; None where there are none."""
    code = int(stated_number(p, "IVDW") or 0) or int(flag(p, "LVDW") or 0)  # LVDW: the older name of IVDW = 1
    parts = [_IVDW.get(code, f"IVDW={code}")] if code else []
    parts += [_kernel(p)] if flag(p, "LUSE_VDW") else []
    return " + ".join(parts) or None


def _kernel(p: Parameters) -> str:
    """Return the non-local correlation: BPARAM chooses rVV10, Zab the kernels of vdW-DF."""
    b, zab = stated_number(p, "BPARAM"), stated_number(p, "ZAB_VDW")
    if b:
        return f"rVV10 (b={b:g})"
    if zab is None:
        return "vdW-DF"
    known = (name for value, name in _ZAB.items() if math.isclose(zab, value, abs_tol=1e-3))
    return next(known, f"vdW-DF (Zab={zab:g})")
