"""Where the processes of trainings are seen: stacks, threads and kernel functions of each framework, as data.

Function names, files and lines are those of PyTorch 2.5, Horovod 0.28, JAX 0.4 and CPython 3.11 as py-spy prints them;
kernel functions (``wchan``) are those of Linux 6.x. Frames are written innermost first, as "FUNCTION (FILE:LINE)".
"""

from __future__ import annotations

from typing import NamedTuple


class Seen(NamedTuple):
    """A thread in one place. ``status`` is what py-spy says, ``busy`` the CPU seconds it uses per second."""

    frames: tuple[str, ...]
    state: str = "S"
    wchan: str = "futex_do_wait"
    status: str = "idle"
    busy: float = 0.0


class Extra(NamedTuple):
    """A thread beside the main one. Without ``name`` it is none of Python's, and py-spy does not show it."""

    comm: str
    wchan: str
    name: str = ""
    frames: tuple[str, ...] = ()


class Framework(NamedTuple):
    """``waits`` are the calls in which ranks wait for others, one for each kind of neighbour; ``computes`` what they do
    before, in this order; ``meets`` where they wait for the first rendezvous. ``stops`` are the hangs it can be stopped
    by, each a name of STOPS. ``python`` is False for programs that py-spy cannot read."""

    waits: tuple[Seen, ...]
    computes: tuple[Seen, ...]
    meets: Seen
    extras: tuple[Extra, ...]
    stops: tuple[str, ...]
    python: bool = True
    outer: tuple[str, ...] = ()
    """The frames around all of them; without any they are made up."""
    workers: int = 0
    """Processes that load data."""


def _spins(*frames: str) -> Seen:
    """In native code that polls: the kernel sees it run."""
    return Seen(frames, "R", "0", "active", 1.0)


def _sleeps(*frames: str, wchan: str = "futex_do_wait") -> Seen:
    return Seen(frames, wchan=wchan)


_BOOTSTRAP = ("Thread.run (threading.py:975)", "Thread._bootstrap_inner (threading.py:1038)")
_BOOTSTRAPPED = (*_BOOTSTRAP, "Thread._bootstrap (threading.py:995)")
_POOL = ("_worker (concurrent/futures/thread.py:81)", *_BOOTSTRAPPED)
_C10D = "torch/distributed/distributed_c10d.py"
_LOGGED = "wrapper (torch/distributed/c10d_logger.py:83)"
_FORWARD = (
    "forward (torch/nn/modules/linear.py:125)",
    "_call_impl (torch/nn/modules/module.py:1747)",
    "_wrapped_call_impl (torch/nn/modules/module.py:1736)",
    "forward ({module}:{line})",
    "_call_impl (torch/nn/modules/module.py:1747)",
)
_BACKWARD = (
    "_engine_run_backward (torch/autograd/graph.py:825)",
    "backward (torch/autograd/__init__.py:347)",
    "backward (torch/_tensor.py:581)",
)
_ADAM = ("_multi_tensor_adamw (torch/optim/adamw.py:607)", "step (torch/optim/adamw.py:220)")
_BATCH = (
    "_next_data (torch/utils/data/dataloader.py:1445)",
    "__next__ (torch/utils/data/dataloader.py:701)",
)
_TORCH = (
    _sleeps("select (selectors.py:415)", "wait (multiprocessing/connection.py:947)", *_BATCH, wchan="do_poll"),
    _spins(*_FORWARD),
    _spins(*_FORWARD[:3]),
    _spins(*_BACKWARD),
    _spins(*_ADAM),
)
_STORE = _sleeps(
    "_create_c10d_store (torch/distributed/rendezvous.py:189)",
    "_env_rendezvous_handler (torch/distributed/rendezvous.py:278)",
    f"init_process_group ({_C10D}:1710)",
    f"{_LOGGED}",
    wchan="do_poll",
)
_PINNING = Extra(
    "python3",
    "do_poll",
    "Thread-1 (_pin_memory_loop)",
    (
        "select (selectors.py:415)",
        "wait (multiprocessing/connection.py:947)",
        "_poll (multiprocessing/connection.py:440)",
        "get (multiprocessing/queues.py:113)",
        "do_one_step (torch/utils/data/_utils/pin_memory.py:34)",
        "_pin_memory_loop (torch/utils/data/_utils/pin_memory.py:58)",
        *_BOOTSTRAPPED,
    ),
)
_GPU = (Extra("cuda-EvtHandlr", "do_poll"), Extra("pt_autograd_0", "futex_do_wait"))

FRAMEWORKS: dict[str, Framework] = {
    "threads": Framework(
        waits=(_sleeps("all_reduce ({app}:28)", wchan="hrtimer_nanosleep"),),
        computes=(_sleeps("train_step ({app}:21)", wchan="hrtimer_nanosleep"),),
        meets=_sleeps("all_reduce ({app}:28)", wchan="hrtimer_nanosleep"),
        extras=(Extra("python3", "futex_do_wait", "loader_0", _POOL),),
        stops=("future",),
        outer=("train ({app}:33)", "<module> ({app}:39)"),
    ),
    "torch-nccl": Framework(
        waits=(
            _spins(f"all_reduce ({_C10D}:2501)", _LOGGED),
            _spins(f"recv ({_C10D}:2212)", _LOGGED, "recv_forward ({module}:{line})"),
            _spins(f"reduce_scatter_tensor ({_C10D}:4020)", _LOGGED),
            _spins(f"send ({_C10D}:2170)", _LOGGED, "send_backward ({module}:{line})"),
        ),
        computes=_TORCH,
        meets=_STORE,
        extras=(*_GPU, Extra("pt_nccl_watchdg", "futex_do_wait"), Extra("pt_nccl_heartbt", "futex_do_wait"), _PINNING),
        workers=2,
        stops=("loader", "future", "read", "save", "socket", "loop", "gpu", "frozen"),
    ),
    "torch-fsdp": Framework(
        waits=(
            _spins(f"all_gather_into_tensor ({_C10D}:3709)", _LOGGED, *_FORWARD[3:]),
            _spins(f"barrier ({_C10D}:4159)", _LOGGED),
        ),
        computes=_TORCH,
        meets=_STORE,
        extras=(*_GPU, Extra("pt_nccl_watchdg", "futex_do_wait"), _PINNING),
        workers=2,
        stops=("loader", "read", "save", "socket", "loop", "gpu"),
    ),
    "torch-gloo": Framework(
        waits=(
            _sleeps(f"all_reduce ({_C10D}:2501)", _LOGGED),
            _sleeps(f"recv ({_C10D}:2212)", _LOGGED),
            _sleeps(f"broadcast ({_C10D}:2421)", _LOGGED),
        ),
        computes=_TORCH,
        meets=_STORE,
        extras=(Extra("pt_autograd_0", "futex_do_wait"), Extra("gloo_tcp_loop", "ep_poll"), _PINNING),
        workers=2,
        stops=("loader", "future", "read", "save", "socket", "loop", "frozen"),
    ),
    "horovod": Framework(
        waits=(
            _sleeps("synchronize (horovod/torch/mpi_ops.py:1282)", "synchronize (horovod/torch/optimizer.py:340)"),
            _sleeps("allreduce (horovod/torch/mpi_ops.py:283)", "metric_average ({app}:{line})"),
        ),
        computes=_TORCH,
        meets=_sleeps("init (horovod/common/basics.py:142)", wchan="do_poll"),
        extras=(Extra("horovod", "hrtimer_nanosleep"), Extra("ucx_async", "ep_poll")),
        workers=2,
        stops=("loader", "future", "read", "save", "socket", "loop"),
    ),
    "jax": Framework(
        waits=(
            _sleeps("block_until_ready (jax/_src/api.py:2998)"),
            _sleeps("_value (jax/_src/array.py:628)", "__array__ (jax/_src/array.py:418)"),
        ),
        computes=(
            _sleeps("__next__ (grain/_src/python/dataset/dataset.py:1042)", wchan="do_poll"),
            _spins(
                "cache_miss (jax/_src/pjit.py:340)", "reraise_with_filtered_traceback (jax/_src/traceback_util.py:180)"
            ),
            _spins("cache_miss (jax/_src/pjit.py:340)"),
        ),
        meets=_sleeps("initialize (jax/_src/distributed.py:119)", "initialize (jax/_src/distributed.py:236)"),
        extras=(
            Extra("tf_XLATfrtCpuClie", "futex_do_wait"),
            Extra("grpcpp_sync_ser", "ep_poll"),
            Extra("python3", "futex_do_wait", "ThreadPoolExecutor-0_0", _POOL),
        ),
        stops=("grain", "future", "read", "save", "socket", "loop"),
    ),
    "mpi": Framework(
        waits=(Seen((), "R", "0", busy=1.0), Seen((), "S", "ep_poll", busy=0.05)),
        computes=(Seen((), "R", "0", busy=1.0),),
        meets=Seen((), "S", "ep_poll", busy=0.05),
        extras=(Extra("async", "ep_poll"), Extra("pmix_progress", "ep_poll")),
        stops=("disk", "lock"),
        python=False,
    ),
}

STOPS: dict[str, tuple[Seen, ...]] = {
    "future": (
        _sleeps(
            "Condition.wait (threading.py:320)",
            "Future.result (concurrent/futures/_base.py:451)",
            "load_batch ({app}:18)",
        ),
    ),
    "loader": (
        _sleeps(
            "select (selectors.py:415)",
            "wait (multiprocessing/connection.py:947)",
            "_poll (multiprocessing/connection.py:440)",
            "get (multiprocessing/queues.py:113)",
            "_try_get_data (torch/utils/data/dataloader.py:1251)",
            "_get_data (torch/utils/data/dataloader.py:1410)",
            *_BATCH,
            wchan="do_poll",
        ),
        _sleeps("get (queue.py:180)", "_get_data (torch/utils/data/dataloader.py:1405)", *_BATCH),
    ),
    "grain": (
        _sleeps(
            "Condition.wait (threading.py:320)", "get (queue.py:171)", "__next__ (grain/_src/python/data_loader.py:407)"
        ),
    ),
    "read": (
        Seen(
            ("__getitem__ ({data}:{line})", "fetch (torch/utils/data/_utils/fetch.py:52)"), "D", "folio_wait_bit_common"
        ),
        Seen(("read_shard ({data}:{line})", "__iter__ ({data}:{line})"), "D", "rpc_wait_bit_killable"),
        Seen(
            ("_path_stat (<frozen importlib._bootstrap_external>:147)", "open_shard ({data}:{line})"),
            "D",
            "request_wait_answer",
        ),
    ),
    "save": (
        Seen(
            (
                "__exit__ (torch/serialization.py:785)",
                "save (torch/serialization.py:850)",
                "save_checkpoint ({app}:{line})",
            ),
            "D",
            "rpc_wait_bit_killable",
        ),
        Seen(
            ("fsync_file ({data}:{line})", "write_shard ({data}:{line})", "save_checkpoint ({app}:{line})"),
            "D",
            "folio_wait_bit_common",
        ),
    ),
    "socket": (
        _sleeps(
            "readinto (socket.py:706)",
            "_read_status (http/client.py:279)",
            "begin (http/client.py:318)",
            "getresponse (http/client.py:1375)",
            "urlopen (urllib3/connectionpool.py:793)",
            "fetch_shard ({data}:{line})",
            wchan="wait_woken",
        ),
    ),
    "loop": (
        Seen(("tokenize ({data}:{line})", "collate ({data}:{line})"), "R", "0", "active+gil", 1.0),
        Seen(
            ("decode ({data}:{line})", "augment ({data}:{line})", "load_batch ({app}:{line})"),
            "R",
            "0",
            "active+gil",
            1.0,
        ),
    ),
    "gpu": (
        _spins("synchronize (torch/cuda/__init__.py:954)"),
        Seen(("clip_grad_norm ({app}:{line})",), "D", "nv_ioctl_wait", "active"),
    ),
    "frozen": (Seen(_FORWARD, "T", "do_signal_stop"),),
    "disk": (Seen((), "D", "folio_wait_bit_common"), Seen((), "D", "rpc_wait_bit_killable")),
    "lock": (Seen((), "S", "futex_do_wait"), Seen((), "S", "wait_woken")),
    "storage": (
        Seen(("read_shard ({data}:{line})", "load_batch ({app}:{line})"), "D", "rpc_wait_bit_killable"),
        Seen(("read_shard ({data}:{line})", "load_batch ({app}:{line})"), "D", "folio_wait_bit_common"),
    ),
    "exit": (_sleeps("_shutdown (threading.py:1590)"),),
}
"""Where a rank is seen that does not come to the collective, by what stopped it."""

FEEDING = (
    "select (selectors.py:415)",
    "wait (multiprocessing/connection.py:947)",
    "_poll (multiprocessing/connection.py:440)",
    "get (multiprocessing/queues.py:113)",
    "_worker_loop (torch/utils/data/_utils/worker.py:302)",
    "run (multiprocessing/process.py:108)",
    "_bootstrap (multiprocessing/process.py:314)",
    "_launch (multiprocessing/popen_fork.py:71)",
    "__init__ (multiprocessing/popen_fork.py:19)",
    "_Popen (multiprocessing/context.py:281)",
    "start (multiprocessing/process.py:121)",
    "__init__ (torch/utils/data/dataloader.py:1086)",
    "_get_iterator (torch/utils/data/dataloader.py:388)",
    "__iter__ (torch/utils/data/dataloader.py:439)",
)
"""Where a process that loads data waits; around it is what had called for it, as it was forked."""

LOADING = (
    "read_disk ({app}:12)",
    "_WorkItem.run (concurrent/futures/thread.py:58)",
    "_worker (concurrent/futures/thread.py:83)",
    *_BOOTSTRAPPED,
)
"""What the thread of a pool does that a rank stopped in "future" waits for."""
