"""The whole way by hand: frames in, a tuned potential and its errors out (about a minute on two cores).

python examples/01_whole_way.py
"""

from pathlib import Path

from matgraft import adapt, audit, evaluate, load, read, split

DATA = Path(__file__).parent / "data" / "sige"

frames = read(DATA / "frames.extxyz")
print(frames)
print(audit(frames, foundation="chgnet"))

foundation = load("chgnet")
print(foundation)

parts = split(frames, fractions=(0.8, 0.2, 0.0))
train, validation = frames[parts.train], frames[parts.validation]
result = adapt(foundation, train, validation, strategy="feature", epochs=30)
print(result.references.text)

test = read(DATA / "test.extxyz")
for name, model in {"foundation": foundation, "tuned": result.backbone}.items():
    errors = evaluate(model, test)
    print(f"{name:10s} {errors['energy_rmse_meV_per_atom']:10.1f} meV/atom {errors['forces_rmse_eV_per_A']:.3f} eV/Å")
