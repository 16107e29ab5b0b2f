"""What a bench's test module, in the simulator's process, learns from the one that started it."""

import dataclasses
import json
import os

from accel.config import Config

__all__ = ["bench_config", "bench_environment"]

_VARIABLE = "SYSTOLITE_BENCH_CONFIG"


def bench_environment(config: Config) -> dict[str, str]:
    """Return the environment variables that tell `config` to `bench_config`."""
    return {_VARIABLE: json.dumps(dataclasses.asdict(config))}


def bench_config() -> Config:
    """Return the configuration that the device under test was emitted for.

    Raises
    ------
    RuntimeError
        When the module was not started by `sim.benches.runner`.
    """
    if _VARIABLE not in os.environ:
        raise RuntimeError(f"{_VARIABLE} is not set: start benches by sim.benches.runner.run_bench")
    return Config(**json.loads(os.environ[_VARIABLE]))
