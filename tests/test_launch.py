"""Several processes by launch/local.py, Slurm and Open MPI, real jax.distributed over loopback; fsdp.

They are two, each with two simulated devices.
"""

import getpass
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from conftest import host

import gen_jax
from gen_jax import train
from gen_jax.devices import placement
from gen_jax.errors import UserError
from gen_jax.storage import checkpoint, metrics_file

ROOT = Path(__file__).parents[1]
SAVES, LONG = 20, 1500  # steps
GLOO = re.compile(
    r"\[Gloo\] Rank |\d+ is connected to \d+ peer ranks\. Expected number of connected peer ranks is : \d+"
)
CONFIG = f"""
from gen_jax.config import base_config

def get_config():
    config = base_config()
    config.update({{"steps": 100_000, "save_every": {SAVES}, "log_every": 5, "sample_every": 0, "keep": 1000}})
    config.batch_size = 30  # padded to 32
    net = {{"name": "mlp", "hidden": (8,)}}
    sgd = {{"name": "sgd", "learning_rate": 0.1, "clip_norm": 1.0}}
    config.model = {{"name": "vae", "encoder": net, "decoder": net, "likelihood": {{"name": "beta_binomial"}},
                     "latent_size": 4, "optimizer": sgd, "ema_half_life": 100}}
    return config
"""

PROGRAM = """
import sys
from pathlib import Path
import jax
import gen_jax
from gen_jax.config import load_file
from gen_jax.devices import processes
from gen_jax.training.fit import train
from gen_jax.training.prepare import prepare

def note(moment):
    drawn = moment.model.sample(jax.random.key(0), moment.state, 3)["x"]
    print("seen", jax.process_index(), moment.step, drawn.shape, flush=True)
    return {"drawn": float(drawn.mean())}

settings = load_file(sys.argv[1] + "/tiny.py")
settings.update({"steps": 10, "save_every": 10, "sharding": "fsdp"})
with processes.joined():
    train(prepare(settings, Path(sys.argv[1]) / "hooked", True), None, "", [gen_jax.every(4, note)])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launch")
    (folder / "tiny.py").write_text(CONFIG)
    (folder / "program.py").write_text(PROGRAM)
    return folder


@pytest.fixture
def alone(folder, monkeypatch):
    """Trains in this process, on so many devices."""

    def alone(name, devices, *flags):
        mesh = placement.make_mesh(jax.devices()[:devices])
        monkeypatch.setattr(placement, "make_mesh", lambda given=None: mesh)
        command = ["train", "--config", str(folder / "tiny.py"), "--workdir", str(folder / name), "--quiet", *flags]
        train.main(command)
        monkeypatch.undo()
        return folder / name

    return alone


def launch(workdir, *flags):
    command = [sys.executable, str(ROOT / "launch" / "local.py"), "--processes=2", "--devices=2", "--"]
    command += ["--config", str(workdir.parent / "tiny.py"), "--workdir", str(workdir), "--quiet", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until(reached, seconds=300):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def at_step(workdir, step):
    return any(each["step"] >= step for each in metrics_file.read_metrics(workdir))


def signalled(workdir, after, number, *flags):
    """Launches the run, sends its process 1 a signal after so many steps; returns exit code, output and seconds.

    Steps are faster than a save in the background: the signal waits until the first save is whole.
    """
    launcher = launch(workdir, *flags)
    saved = workdir / "checkpoints" / str(SAVES)
    wait_until(lambda: launcher.poll() is not None or (at_step(workdir, after) and saved.exists()))
    assert launcher.poll() is None, launcher.stdout.read()
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    began = time.monotonic()
    os.kill(int(children[1]), number)
    output = launcher.communicate()[0]
    return launcher.returncode, output, time.monotonic() - began


@pytest.fixture(scope="module")
def broken(folder):
    """A run of two processes whose second is killed, then the whole again, then stopped: outcomes and the last step."""
    if not Path("/proc/self/task").exists():
        pytest.skip("needs Linux, to find the processes")
    killed = signalled(folder / "broken", SAVES + 10, signal.SIGKILL)
    (folder / "broken" / "metrics.jsonl").unlink()  # its steps may be beyond those at which the next signal comes
    stopped = signalled(folder / "broken", 2 * SAVES + 10, signal.SIGTERM, "--config.save_every=0")
    return killed, stopped, gen_jax.load(folder / "broken").step


def state_of(workdir, step):
    return jax.tree.leaves(host(gen_jax.load(workdir, step).state))


def assert_near(mine, other):
    """Equal to 1e-5 of the norm of each array."""
    for one, two in zip(mine, other):
        error = np.linalg.norm(np.float64(one) - np.float64(two))
        assert error <= 1e-5 * np.linalg.norm(np.float64(two)), (one, two)


@pytest.mark.study
def test_a_process_that_is_killed_ends_the_others(broken):
    code, output, seconds = broken[0]
    assert code == 128 + signal.SIGKILL and seconds < 10
    told = GLOO.sub("", output)  # of two processes whose lines may stand within each other's
    errors = [line for line in told.splitlines() if line and not line.startswith("step ")]
    assert len(errors) == 1, output
    assert "process 1 of 2 was ended by SIGKILL" in errors[0] and "goes on from the newest checkpoint" in errors[0]


@pytest.mark.study
def test_a_process_that_is_asked_to_stop_stops_all_after_one_step(broken):
    code, output, _ = broken[1]
    assert code == 128 + signal.SIGTERM and "Traceback" not in output
    assert f"stopped: step {broken[2]} of" in output and broken[2] > 2 * SAVES + 10


@pytest.mark.study
def test_checkpoints_serve_any_number_of_processes_and_devices(broken, folder, alone):
    """From one process of four devices to two of two, undisturbed; and from these to one of one, which trains on."""
    shutil.copytree(alone("first", 4, "--config.steps=0"), folder / "whole")
    launcher = launch(folder / "whole", f"--config.steps={broken[2]}", "--config.save_every=0")
    assert launcher.wait() == 0, launcher.stdout.read()
    chex.assert_trees_all_equal(
        *(state_of(folder / name, broken[2]) for name in ("broken", "whole"))
    )  # resumed exactly
    more = alone("whole", 1, f"--config.steps={broken[2] + 10}")
    assert gen_jax.load(more).step == broken[2] + 10


@pytest.mark.study
def test_two_processes_of_two_devices_train_as_one_of_four(broken, folder, alone):
    one = alone("one", 4, f"--config.steps={SAVES}")
    assert_near(state_of(folder / "broken", SAVES), state_of(one, SAVES))


@pytest.mark.study
def test_a_spread_state_learns_the_same_in_a_quarter_of_the_memory(folder, alone, monkeypatch):
    save, sizes = checkpoint.save, []

    def spy(manager, step, state):
        leaves = jax.tree.leaves(state)
        sizes.append([sum(leaf.addressable_data(0).nbytes for leaf in leaves), sum(leaf.nbytes for leaf in leaves)])
        save(manager, step, state)

    monkeypatch.setattr(checkpoint, "save", spy)
    spread = alone("spread", 4, f"--config.steps={SAVES}", "--config.sharding=fsdp")
    assert_near(state_of(spread, SAVES), state_of(alone("one", 4, f"--config.steps={SAVES}"), SAVES))
    assert sizes[0][0] < 0.3 * sizes[0][1]
    with pytest.raises(UserError, match="sharding is fsdp .* expected replicas=1"):
        alone("refused", 4, "--config.sharding=fsdp", "--config.replicas=4")


@pytest.mark.study
def test_the_first_of_several_processes_calls_the_hooks_with_a_whole_state(folder):
    launcher = runpy.run_path(str(ROOT / "launch" / "local.py"))
    port, command = launcher["free_port"](), [sys.executable, str(folder / "program.py"), str(folder)]
    processes = [
        subprocess.Popen(
            command,
            env={**launcher["environment"](number, 2, 2, port), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert re.findall(r"seen.*", outputs[0]) == [f"seen 0 {step} (3, 8, 8, 1)" for step in (4, 8, 10)]
    assert "seen" not in outputs[1]
    lines = metrics_file.read_metrics(folder / "hooked")
    assert [line["step"] for line in lines if "drawn" in line] == [4, 8, 10]


SLURM = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}
SlurmdSpoolDir={folder}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=60
PartitionName=abrupt Nodes=ALL PriorityTier=1 GraceTime=0
PartitionName=high Nodes=ALL PriorityTier=2
"""


def cluster_environment(**more):
    """What a job inherits: two simulated devices a process; nothing says who and where the processes are."""
    flags = os.environ["XLA_FLAGS"].split()
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": " ".join(flag for flag in flags if "host_platform_device_count" not in flag),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        **more,
    }


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm of this machine alone; gives a function that runs one of its commands and returns what it prints."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "sbatch", "munged"))):
        pytest.skip("needs Slurm (Debian: slurm-wlm)")
    folder = tmp_path_factory.mktemp("slurm")
    facts = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "folder": folder}
    free_port = runpy.run_path(str(ROOT / "launch" / "local.py"))["free_port"]
    facts["ports"] = [free_port(), free_port()]
    (folder / "slurm.conf").write_text(SLURM.format(**facts))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    at = f"--socket={folder}/munge.socket"
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed", "key")]
    environment = cluster_environment(SLURM_CONF=str(folder / "slurm.conf"), PYTHON=sys.executable)

    def run(*command):
        return subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    run("munged", "--force", at, *files)
    try:
        run("slurmctld", "-c")
        run("slurmd", "-c")
        wait_until(lambda: "idle" in run("sinfo", "--noheader", "--format=%T"), 60)
        yield run
    finally:
        run("scontrol", "shutdown")
        run("munged", "--stop", at)


@pytest.fixture(scope="module")
def undisturbed(folder):
    launcher = launch(folder / "undisturbed", f"--config.steps={LONG}")
    assert launcher.wait() == 0, launcher.stdout.read()
    return state_of(folder / "undisturbed", LONG)


@pytest.mark.study
@pytest.mark.parametrize("partition", ["low", "abrupt"])
def test_a_preempted_slurm_job_queues_itself_and_ends_with_the_same_bytes(slurm, folder, undisturbed, partition):
    """Another job takes its place; then it is asked to stop by a signal; in between and afterwards it goes on by itself."""
    workdir, output = folder / f"slurm-{partition}", folder / f"slurm-{partition}.txt"
    small = [
        "--nodes=1",
        "--ntasks-per-node=2",
        "--gpus-per-node=0",
        "--cpus-per-task=1",
    ]  # in the place of a cluster's
    script = ["launch/slurm.sbatch", "--config", str(folder / "tiny.py"), "--workdir", str(workdir)]
    flags = ["--parsable", f"--partition={partition}", f"--output={output}", *small]
    job = slurm("sbatch", *flags, *script, f"--config.steps={LONG}").strip()

    def fact(name):
        return re.search(rf"\b{name}=(\S+)", slurm("scontrol", "show", "job", job))[1]

    def stopped_times(times):
        wait_until(lambda: fact("Restarts") == str(times) and fact("JobState") == "PENDING")
        assert output.read_text().count("stopped: step ") == times
        slurm("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm's own delay is two minutes

    wait_until(lambda: at_step(workdir, SAVES))
    slurm("sbatch", "--wait", "--partition=high", "--ntasks=2", "--output=/dev/null", "--wrap=true")
    stopped_times(1)
    wait_until(lambda: "resuming after step" in output.read_text() and fact("JobState") == "RUNNING")
    before = metrics_file.read_metrics(workdir)[-1]["step"]
    wait_until(lambda: at_step(workdir, before + SAVES))
    slurm("scancel", "--signal=TERM", job)
    stopped_times(2)
    wait_until(lambda: fact("JobState") == "COMPLETED")
    assert "Traceback" not in output.read_text()
    chex.assert_trees_all_equal(state_of(workdir, LONG), undisturbed)


@pytest.mark.study
def test_a_run_that_open_mpi_stops_goes_on_to_the_same_bytes(folder, undisturbed):
    if not shutil.which("mpirun"):
        pytest.skip("needs Open MPI (Debian: openmpi-bin)")
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = ["mpirun", "--mca", "odls_base_sigkill_timeout", "5", "-n", "2", sys.executable, "-m", "gen_jax.train"]
    command += [
        "--quiet",
        "--config",
        str(folder / "tiny.py"),
        "--workdir",
        str(folder / "mpi"),
        f"--config.steps={LONG}",
    ]
    environment = cluster_environment(GEN_JAX_DISTRIBUTED="1", **root)
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: first.poll() is not None or at_step(folder / "mpi", SAVES))
    first.terminate()
    output = first.communicate()[0]
    assert first.returncode != 0 and "stopped: step " in output, output
    again = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert again.returncode == 0 and "resuming after step" in again.stdout + again.stderr, again.stdout + again.stderr
    chex.assert_trees_all_equal(state_of(folder / "mpi", LONG), undisturbed)
