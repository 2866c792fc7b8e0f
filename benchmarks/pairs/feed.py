"""Input: examples a second of the two feeds beside a PyTorch DataLoader, in batches of 128, as float32 from -1 to 1.

The resident feed has 20,000 images of 28 x 28 in memory, as the DataLoader's TensorDataset has; the streaming one reads 2,000 PNG files of
64 x 64, as a Dataset that opens them with Pillow does, in the DataLoader's own process and in as many workers as there are cores. Ten
epochs a round, for a run of ours has one stream.
"""

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pairs import Pair, Run, Setting

BATCH, ROWS, SIDE, FILES, LARGE, EPOCHS = 128, 20_000, 28, 2000, 64, 10


def images(num: int, side: int) -> np.ndarray:
    """Made-up grey images [N, side, side] of 8 bits, smooth as photographs are."""
    rough = np.random.default_rng(0).integers(0, 256, (num, side // 4, side // 4)).astype(np.uint8)
    return rough.repeat(4, 1).repeat(4, 2)


def written(kind: str, folder: Path) -> Path:
    """The data on disk: an array file, or a folder of PNG files."""
    from PIL import Image

    if kind == "resident":
        np.save(folder / "x.npy", images(ROWS, SIDE))
        return folder / "x.npy"
    for number, x in enumerate(images(FILES, LARGE)):
        Image.fromarray(x).save(folder / f"{number:05}.png")
    return folder


def ours(setting: Setting, feed: str) -> Run:
    import jax

    from gen_jax import data

    folder = TemporaryDirectory()
    os.environ["GEN_JAX_CACHE"] = folder.name + "/cache"
    (Path(folder.name) / "data").mkdir()
    path = str(written(feed, Path(folder.name) / "data"))
    options = {"name": None, "path": path, "split": "train", "test_split": "test", "feed": feed, "order": "shuffle"}
    found = data.load(options, batch_size=BATCH, seed=0, steps=10**6, quiet=True)
    arrays, batch = jax.device_put(found.arrays), jax.jit(found.batch)
    steps = EPOCHS * (found.spec.sizes["train"] // BATCH)

    def run() -> int:
        for fed in found.stream(run.done, run.done + steps):
            rows = batch(arrays, fed)
        jax.block_until_ready(rows)
        run.done += steps
        return steps * BATCH

    run.done, run.folder = 0, folder
    return run


def theirs(setting: Setting, feed: str, workers: int) -> Run:
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset, TensorDataset

    folder = TemporaryDirectory()

    class Folder(Dataset):
        def __init__(self, folder: Path):
            self.files = sorted(folder.iterdir())

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> tuple[torch.Tensor]:
            with Image.open(self.files[index]) as image:
                return (torch.from_numpy(np.array(image.convert("L")))[None],)

    if feed == "resident":
        rows = TensorDataset(torch.from_numpy(images(ROWS, SIDE))[:, None])
    else:
        rows = Folder(written(feed, Path(folder.name)))
    more = {"persistent_workers": True, "multiprocessing_context": "fork"} if workers else {}  # as on Linux
    loader = DataLoader(rows, BATCH, shuffle=True, drop_last=True, num_workers=workers, **more)

    def run() -> int:
        for _ in range(EPOCHS):
            for (x,) in loader:
                x = x.float().div(127.5).sub(1)
        return EPOCHS * len(loader) * BATCH

    run.folder = folder
    return run


PAIRS = {
    f"{feed}_feed": Pair(
        f"examples by the {feed} feed",
        partial(ours, feed=feed),
        {
            "DataLoader": partial(theirs, feed=feed, workers=0),
            "with workers": partial(theirs, feed=feed, workers=len(os.sched_getaffinity(0))),
        },
        rate="examples",
    )
    for feed in ("resident", "streaming")
}
