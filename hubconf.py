"""What `torch.hub` finds: every registered model, by its name."""

from functools import partial, update_wrapper

import gapfill

dependencies = ["torch", "torchvision", "timm", "numpy", "PIL", "cv2", "yaml", "safetensors"]


def _entry(name: str) -> partial[gapfill.Inpainter]:
    """`gapfill.create` for one name; `pretrained` and settings are as there."""
    return update_wrapper(partial(gapfill.create, name), gapfill.create)


globals().update({name: _entry(name) for name in gapfill.list_models()})
