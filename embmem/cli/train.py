"""`embmem train`: a policy is trained and written to a file."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from embmem.cli.settings import word
from embmem.errors import import_extra

HELP = """Train a policy; the file of weights says how it was made.

  embmem train out=errands.safetensors                             errands in mazes, attention over what was seen
  embmem train train.shape.memory=recurrent out=gru.safetensors    the same size and teacher, a GRU for a memory
  embmem train train=image_goal out=views.safetensors seed=3       reinforcement: find the place of a picture
  embmem train train=houses out=houses.safetensors                 routes told in words, through rooms of houses
  embmem train train=streets out=streets.safetensors               and on real streets; needs EMBMEM_DATA_DIR
  embmem train out=errands.safetensors log=runs/tensorboard        metrics for `tensorboard --logdir runs/tensorboard`
  embmem train out=big.safetensors accelerator=gpu devices=4 precision=bf16-mixed

The same command goes on where an interrupted training stopped, and ends with the same weights, bit for bit on one
machine. Needs the extra `learn`.
"""


def run(cfg: DictConfig) -> None:
    """Train, and write the policy.

    Raises:
        EmbmemError: if the file is taken, the state of an interrupted training does not fit, or a library is missing.
        ValueError: if a setting is out of range.
    """
    for module in ("torch", "lightning_fabric", "tensorboardX"):
        import_extra(module, "learn")
    word(cfg, "out")
    config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    if not isinstance(config, dict):
        raise ValueError("the configuration of train must be a mapping")
    instantiate(config.pop("training"))(config=config, console=Console())
