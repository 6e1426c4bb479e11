"""What the audit looks at, one idea a file.

A look is a function of the `Evidence` that yields one `Finding` for each of its codes, also where nothing is wrong and
where it cannot tell. `matgraft.potentials.audit.audit` lists and runs them; `docs/audit.md` has a section for each
code.
"""
