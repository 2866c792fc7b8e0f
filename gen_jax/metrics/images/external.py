"""Features of a network that the user supplies as a TorchScript file, such as the Inception network of published FIDs.

With `inception-2015-12-05.pt`, the file that the StyleGAN metrics of NVIDIA read, `frechet` is the FID and `kernel` the
KID.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.metrics.images.classifier import scaled
from gen_jax.metrics.progress import progress

BATCH = 64


def embedding(file: str, spec: Spec) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]:
    """Returns the features of the network in a file, and the entries of a protocol that name the network.

    The network reads uint8 [n, 3, H, W] with the domain of the data as 0 to 255. A grey image stands in each of the
    three channels. `return_features=True` is passed if the network has that argument.

    Args:
      file: path of a TorchScript file.
      spec: facts of the data.

    Returns:
      The function raw images [N, H, W, C] -> features [N, F] float64, and the entries `features` and `hash`.

    Raises:
      UserError: for data that are not images of 1 or 3 channels, a missing PyTorch, or a file that is no TorchScript.
    """
    if not kind_of(spec).pixels or spec.shape[2] not in (1, 3):
        raise UserError(
            f"{spec.name} holds no images with 1 or 3 channels; expected such images for the features of {file}"
        )
    if not Path(file).is_file():
        raise UserError(f"{file} does not exist; expected a file of features")
    try:
        import torch  # type: ignore[import-not-found]  # only the benchmarks have it
    except ImportError:
        raise UserError(
            f"PyTorch is missing; expected it for the features of {file}. Run pip install 'gen_jax[bench]'"
        ) from None
    try:
        network = torch.jit.load(file, map_location="cpu").eval()
    except RuntimeError as error:
        raise UserError(f"{file} is not readable ({str(error).splitlines()[0]}); expected a TorchScript file") from None
    options = {"return_features": True} if "return_features" in str(network.forward.schema) else {}

    def features(x: np.ndarray) -> np.ndarray:
        parts = []
        with torch.inference_mode():
            for start in progress(range(0, len(x), BATCH), "features", "batch"):
                part = np.rint(255 * scaled(spec, x[start : start + BATCH])).astype(np.uint8)
                part = np.broadcast_to(part, (*part.shape[:3], 3)).transpose(0, 3, 1, 2)  # [n, 3, H, W]
                parts.append(network(torch.from_numpy(part.copy()), **options).flatten(1).double().numpy())
        return np.concatenate(parts)

    return features, {"features": Path(file).name, "hash": hashlib.sha256(Path(file).read_bytes()).hexdigest()[:24]}
