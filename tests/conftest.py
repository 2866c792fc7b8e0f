"""Eight simulated CPU devices, sloppy broadcasting forbidden, a data cache of the session's own; shared stand-ins."""

import fcntl
import gc
import os
import shutil
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

CHEAP = ""  # XLA's flags of every process of the suite, which mostly compiles: what makes code fast is left out
if os.environ.get("DEFAULT_FLAGS") != "1":  # `test_versions` sets it
    CHEAP = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    CHEAP += " --xla_cpu_parallel_codegen_split_count=1"
    if version("jaxlib").startswith("0.10."):  # a newer XLA lacks this flag, and an unknown flag aborts the process
        CHEAP += " --xla_cpu_use_fusion_emitters=false"
DEVICES = "--xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), DEVICES, CHEAP))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # scikit-learn's threads would fight over the cores of the workers
gc.set_threshold(200_000)  # of the millions of objects that tracing leaves, hardly one is in a cycle

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from jax._src.interpreters import mlir

import gen_jax
from gen_jax import data, train
from gen_jax.data.spec import Spec
from gen_jax.data.transforms import TRANSFORMS
from gen_jax.devices import placement, startup
from gen_jax.metrics.images import classifier

jax.config.update("jax_numpy_rank_promotion", "raise")
mlir.make_ir_context = lru_cache(mlir.make_ir_context)  # one each compilation cost an eighth of the suite's time
settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[*HealthCheck])
settings.load_profile("suite")

TINY = """
from gen_jax.config import base_config

def get_config():
    config = base_config()
    config.update({"steps": 12, "batch_size": 16, "log_every": 2, "sample_every": 0, "eval_every": 0, "save_every": 4})
    config.data.name, config.data.variant, config.data.transform = "gaussians", "ring", "rms"
    config.evaluate.num, config.sample.num = 500, 100
    net = {"name": "mlp", "hidden": (8,)}
    adam = {"name": "adam", "learning_rate": 1e-3, "b1": 0.0, "b2": 0.9}
    config.model = {"name": "gan", "generator": net, "discriminator": net, "latent_size": 2, "gamma": 0.1,
                    "generator_optimizer": adam, "discriminator_optimizer": adam, "ema_half_life": 100}
    return config
"""

MOST_MAPS = 20_000
ALONE = ("test_configs", "test_nets", "test_notebooks", "test_run")  # modules whose tests share nothing
FIRST = ("test_notebooks", "test_launch", "test_kills", "test_paired_models", "test_laws", "test_laws_of_probability")
LAST = ("test_nets", "test_configs")  # short tests, one by one, so that no worker waits for another at the end

LAW_REPEATS = """
    gan_video gan_wave diffusion_video
    gan_dropout gan_wasserstein gan_hinge gan_evolution gan_dcgan gan_r3 gan_text_given bayes_net_tree hmm_series vae_dreg
    vae_conv vae_text_given forest_tree autoregressive_roll autoregressive_voices made_orders diffusion_given diffusion_columns
    diffusion_labels diffusion_series masked_image flow_labels ladder_conv autoencoder gan_columns transformer_text
    vae_columns diffusion_levels diffusion_unet patches speech_sum speech_flow gan_recurrent made_table
    transformer_text_to_text masked_text
"""
CONFIG_REPEATS = """
    autoencoder bayes_net_bif digit_diffusion digit_gan drum_gan note_gan wavegan video video_diffusion speak speak_voice
    patch_transformer polyphonic_gru chorales jsb_transformer diffusion_gaussians diffusion_mnist diffusion_cifar10
    emoji emoji_diffusion masked bbans bbans_8bit bbans_8bit_wide beta_vae cgan chow_liu conv_vae cvae emoji_style
    gan_gaussians gan_minimax gru hinge iwae jsb_gru jsb_gru_structured jsb_hmm jsb_lstm lsgan lstm mingru pacgan
    pix2pix r3gan r3gan_cifar10 rcgan repair rnn speech_rnn stacked_mnist summarise super_resolution tunes tvae wgan
    wgan_gp ctgan diffusion_table flow gaussian ladder_vae mixture segment speak_numbers speak_tones transformer
    translate vqvae
"""
EXPORT_REPEATS = """
    gan_video gan_wave diffusion_video gan_dropout gan_wasserstein gan_hinge gan_evolution gan_dcgan gan_r3
    gan_columns gan_recurrent gan_image_given vae_text_given vae_columns vae_dreg vae_conv autoencoder forest_tree
    transformer_text transformer_text_to_text autoregressive_roll autoregressive_voices made_orders diffusion_labels
    diffusion_given diffusion_levels diffusion_series diffusion_columns diffusion_unet patches speech_sum speech_flow
    masked_image masked_text flow flow_labels vqvae gan_text_given masked_table hmm_roll ladder_mlp ladder_conv hmm_series
    bernoulli mixture autoregressive_text diffusion forest gaussian made_table markov smote speech
"""
PAIR_REPEATS = (
    "gan, text",
    "gan, unet",
    "vqvae, image",
    "ladder, image",
    "made, image",
    "made, text",
    "autoregressive, image",
    "gan, unet, maps",
    "gan, unet, large",
    "gan, dcgan, text",
    "gan, unet, text",
    "gan, unet, plain",
    "vae, conv, text",
    "vqvae, text",
    "ladder, text",
)
REPEATS = {  # rows that repeat a family or a command with other options; they are studies
    "test_laws": LAW_REPEATS.split(),
    "test_laws_of_probability": LAW_REPEATS.split(),
    "test_paired_models": PAIR_REPEATS,
    "test_the_file_draws_the_bytes_of_the_run": EXPORT_REPEATS.split(),
    "test_an_old_run_is_resumed": "ladder vqvae mixture hmm vae markov forest bernoulli".split(),
    "test_every_order_is_a_probability_and_orders_differ": ["transformer"],
    "test_gradients_are_those_of_the_steps": "gru_reset_before lstm mingru sigmoid".split(),
    "test_a_killed_run_ends_with_the_same_bytes": "vae vqvae ladder mixture gaussian bayes_net bernoulli smote hmm forest masked flow speech diffusion autoregressive".split(),
    "test_config_runs_two_steps_and_samples": CONFIG_REPEATS.split(),
    "test_one_pass_is_its_steps_and_its_chunks": ["vanilla", "lstm", "gru", "gru_reset_before", "minlstm", "lru"],
    "test_decoding_what_is_encoded_gives_it_back": ["cosine", "edm"],
    "test_every_prediction_draws_the_data": ["cosine-e", "flow-x", "cosine-u", "edm-x"],
    "test_the_bound_of_the_best_net_is_at_most_the_entropy": ["8-schedule0", "12-schedule0"],
    "test_a_flow_comes_back_and_its_density_has_the_determinant_of_its_jacobian": [
        "True-mlp",
        "False-mlp",
        "False-made",
    ],
    "test_gradients_of_the_losses_are_those_of_finite_differences": [
        "minimax-none-0-1-generator",
        "minimax-none-0-1-discriminator",
        "minimax-r1-3-2-generator",
        "minimax-r1-3-2-discriminator",
    ],
    "test_the_m_step_maximises_the_expected_log_likelihood": ["categorical", "gaussian"],
    "test_a_hook_sees_a_state_of_several_devices_whole": ["None"],
    "test_a_kind_that_no_other_file_knows": ["cube"],
    "test_an_output_depends_on_all_inputs_of_earlier_entries_and_on_no_others": [
        "owner0-options0",
        "owner0-options2",
        "owner0-options4",
    ],
    "test_a_damaged_newest_checkpoint_is_passed_over": ["removed", "flipped"],
    "test_a_beam_of_one_is_greedy": ["transformer", "copies"],
    "test_probabilities_of_all_texts_that_end_and_of_full_rows_sum_to_one": [
        "condition0-transformer",
        "condition0-gru",
        "condition0-copies",
    ],
    "test_what_a_sampler_reads_once_is_what_a_score_reads": ["transformer", "copies"],
    "test_a_loss_is_a_function_that_can_be_differentiated": ["reconstruction_loss"],
    "test_the_integer_network_says_what_the_vae_says": ["0-1-none", "10-265-unit"],
}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """One worker takes what shares compiled functions or runs: a family of the laws, or a module with fixtures.

    The longest begin, and the shortest end; `--no-loadscope-reorder` keeps this order. Repeats are marked as studies.
    """
    items.sort(key=lambda item: [item.module.__name__ in LAST, item.module.__name__ not in FIRST])
    for item in items:
        module = item.module.__name__
        family = getattr(item, "callspec", None) if module.startswith("test_laws") else None
        group = f"laws-{family.id}" if family else module
        if module not in ALONE:
            item.add_marker(pytest.mark.xdist_group(group))
        row = getattr(getattr(item, "callspec", None), "id", None)
        if any(row in REPEATS.get(name, ()) for name in (module, item.originalname)):
            item.add_marker(pytest.mark.study)


@pytest.fixture(scope="module", autouse=True)
def few_memory_maps():
    """Drops compiled functions between modules, because Linux gives a process 65,530 memory maps, and XLA crashes beyond.

    Each function that JAX 0.12 compiles takes some. A worker had 18,700 after half of its tests.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        mlir.make_ir_context.cache_clear()
        gc.collect()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Data are prepared and code is compiled afresh, once for all workers; the user's own cache is left alone."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["GEN_JAX_CACHE"] = str(folder / "cache")
    with open(folder / "cache.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        options = {"split": "train", "test_split": "test", "feed": "resident", "order": "shuffle"}
        for name, variant in (("digits", None), ("gaussians", "ring")):  # what more than one test reads
            options |= {"name": name, "variant": variant}
            data.load(options, batch_size=1, seed=0, steps=1, quiet=True)
    startup.start()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 60)  # a worker seldom compiles a thing twice


@pytest.fixture
def one_device(monkeypatch):
    """The commands see one device, as on the machine of a newcomer."""
    first = placement.make_mesh(jax.devices()[:1])
    monkeypatch.setattr(placement, "make_mesh", lambda devices=None: first)


@pytest.fixture
def short(monkeypatch):
    """A training of classifiers of a few steps, which have their own place in the cache."""
    monkeypatch.setattr(classifier, "RECIPE", classifier.RECIPE._replace(least_steps=20, epochs=0))


@pytest.fixture
def forbid(monkeypatch):
    """Makes a function fail in every module that has it, under whichever name: a call from anywhere fails the test."""

    def forbid(function):
        def called(*args, **options):
            pytest.fail(f"{function.__qualname__} was called")

        modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "gen_jax"]
        places = [(module, name) for module in modules for name, value in vars(module).items() if value is function]
        assert places
        for module, name in places:
            monkeypatch.setattr(module, name, called)

    return forbid


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    """A GAN on points: 12 steps, of which 4, 8 and 12 are saved."""
    path = tmp_path_factory.mktemp("configs") / "tiny.py"
    path.write_text(TINY)
    return path


@pytest.fixture
def start(config_file, tmp_path):
    """Runs the training command in `tmp_path/NAME` and returns the directory."""

    def start(name="run", *flags):
        train.main(["train", "--config", str(config_file), "--workdir", str(tmp_path / name), "--quiet", *flags])
        return tmp_path / name

    return start


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Gives the directory of the run of `start` after so many steps: trained once a worker, to be read or copied."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "tiny.py").write_text(TINY)
    first = placement.make_mesh(jax.devices()[:1])

    @lru_cache
    def trained(steps):
        flags = ["--config", str(folder / "tiny.py"), "--workdir", str(folder / f"{steps}"), "--quiet"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(placement, "make_mesh", lambda devices=None: first)
            train.main(["train", *flags, f"--config.steps={steps}"])
        return folder / f"{steps}"

    return lambda steps=12: trained(steps)


@pytest.fixture
def begun(undisturbed, tmp_path):
    """Copies the run after so many steps to `tmp_path/NAME`, which is returned."""
    return lambda name, steps: shutil.copytree(undisturbed(steps), tmp_path / name)


def make_spec(kind: str, shape: tuple[int, ...]) -> Spec:
    """A spec of made-up data that is already in model space."""
    return Spec("made-up", kind, shape, "float32", 0.0, 1.0, -1.0, 1.0, (), {"train": 64}, "", {})


def whole_spec(shape, low, high, transform):
    """A spec of made-up whole numbers from low to high."""
    shift, scale = (float(each) for each in TRANSFORMS[transform](float(low), float(high), 50.0))
    facts = {"dtype": "int16", "low": low, "high": high, "shift": shift, "scale": scale}
    return make_spec("image", shape)._replace(**facts)


def table_spec(*columns: int | None, rows: int = 64, missing: bool = True) -> Spec:
    """A table in model space, of a column with so many levels each, or of numbers where None."""
    facts = [
        {"name": f"x{at}", "missing": missing, "low": -3.0, "high": 3.0, "kind": "continuous", "decimals": 17}
        if levels is None
        else {"name": f"x{at}", "missing": missing, "low": 0.0, "high": levels - 1.0, "kind": "categorical"}
        | {"levels": [*"abcdefgh"[:levels]]}
        for at, levels in enumerate(columns)
    ]
    one, spec = np.ones(len(columns)), make_spec("table", (len(columns),))
    units = {"shift": (0 * one).tolist(), "scale": one.tolist(), "dtype": "float64", "sizes": {"train": rows}}
    return spec._replace(**units, info={"columns": facts, "dropped": []})


def host(tree):
    """A tree of arrays as NumPy arrays."""
    return jax.tree.map(np.asarray, jax.device_get(tree))


def state_bytes(workdir):
    """The step that a run has come to, and the bytes of its arrays."""
    loaded = gen_jax.load(workdir)
    return loaded.step, [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(loaded.state)]


def within(samples, expected, sigmas=5, slack=0.0):
    """Asserts that the mean of samples [N, ...] is what is expected, within their error."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(0) / np.sqrt(len(samples))
    assert (np.abs(samples.mean(0) - expected) <= sigmas * error + slack).all(), (samples.mean(0), expected, error)
