"""Choose what learns, and what a frame is worth: two stages, strained frames three times (about two minutes).

python examples/02_partial_and_weights.py
"""

from pathlib import Path

from matgraft import adapt, load, read, split
from matgraft.core.training.strategy import make_strategy
from matgraft.potentials.tuning.loss import LossSettings

frames = read(Path(__file__).parent / "data" / "sige" / "frames.extxyz")
parts = split(frames, by="trajectory", fractions=(0.8, 0.2, 0.0))

foundation = load("chgnet")
print("stages:", [stage.name for stage in foundation.stages()])
result = adapt(
    foundation,
    frames[parts.train],
    frames[parts.validation],
    strategy=make_strategy("partial", stages=["interaction-4", "readout"]),
    loss=LossSettings(kind="huber", groups={"config_type=strain": 3.0}),
    epochs=2,
)
last = result.fit.history[-1]
print(f"{result.trained} of {result.total} parameters learned, best at step {result.fit.best_step}")
print(f"validation: {last['validation_forces_rmse_eV_per_A']:.3f} eV/Å")
