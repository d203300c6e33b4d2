"""How long a training is follows from the number of images, unless somebody says it."""

from __future__ import annotations

from pathlib import Path

import pytest

import saccade
from saccade.cli import main
from saccade.training import read_config
from saccade.training.config import OptimizerConfig
from saccade.training.length import LEAST_STEPS, fitted_length


@pytest.mark.parametrize(
    ("images", "batch", "epochs", "every"),
    [(10, 8, 150, 5), (7, 8, 300, 10), (50, 8, 43, 1), (80, 8, 30, 1), (500, 8, 30, 1), (10, 2, 60, 2)],
)
def test_small_sets_have_as_many_steps(images: int, batch: int, epochs: int, every: int) -> None:
    config = fitted_length(read_config(overrides=[f"training.batch_size={batch}"]), images, ())
    assert (config.training.epochs, config.training.validate_every) == (epochs, every)
    assert epochs * -(-images // min(batch, images)) >= LEAST_STEPS


def test_what_was_said_stays() -> None:
    config = read_config(overrides=["training.epochs=30", "training.validate_every=2"])
    assert fitted_length(config, 10, ["training.epochs"]) == config
    fitted = fitted_length(config, 10, ["training.validate_every"])
    assert (fitted.training.epochs, fitted.training.validate_every) == (150, 2)


def test_a_file_of_options_leaves_nothing_open(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("network: {name: 'small:4'}\nsampler: {size: 8x12}\n")
    told = []
    for how in (["--config", str(file)], ["--network", "small:4", "--size", "8x12"]):
        assert main(["train", str(tiny_data), str(tmp_path / "run"), *how, "--dry-run"]) == 0
        told.append(capsys.readouterr().out)
    assert "30 epochs, 30 steps" in told[0] and "300 epochs, 300 steps" in told[1]


def test_the_rate_follows_the_batch_only_where_it_is_asked_to() -> None:
    assert OptimizerConfig().for_batch(32) == OptimizerConfig()
    assert OptimizerConfig(scaling="sqrt").for_batch(32).learning_rate == pytest.approx(4e-3)
    assert OptimizerConfig(scaling="linear").for_batch(2).learning_rate == pytest.approx(5e-4)
    with pytest.raises(saccade.InvalidInput, match=r"optimizer\.scaling"):
        OptimizerConfig(scaling="root")


def test_a_scaled_rate_reaches_the_optimiser(tiny_data: Path, tmp_path: Path) -> None:
    how = {"size": (8, 12), "network": "small:4", "epochs": 1, "batch_size": 2, "device": "cpu"}
    rates = []
    for scaling in ("none", "sqrt"):
        options = {"optimizer.scaling": scaling, "optimizer.schedule": "constant", "optimizer.warmup": 0}
        run = saccade.train(tiny_data, tmp_path / scaling, options=options, **how)
        rates.append((run.path / "metrics.csv").read_text().splitlines()[1].split(","))
    names = (run.path / "metrics.csv").read_text().splitlines()[0].split(",")
    rate = names.index("lr")
    assert float(rates[1][rate]) == pytest.approx(float(rates[0][rate]) / 2)
