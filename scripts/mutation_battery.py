"""The tests that a seeded fault has to pass, and the process that runs them for one fault.

They are tests of the suite as it stands: the first that fails kills the fault. They run in a child
of a process that has run all of them without a fault, and so has everything loaded and the longest
wait measured: a fault that makes a device wait twice as long hangs.
"""

import os
import resource
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from mutation_netlist import VARIABLE
from suite import BATTERY, TestsOfConfiguration

import sim.devices.verilator as verilator
from accel.config import Config
from accel.errors import DeviceError
from sim.devices.build import accelerator_verilog
from sim.devices.verilator import VerilatorDevice

__all__ = ["Battery", "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What became of one fault.

    Parameters
    ----------
    killed : bool
    test : str
        The test that failed or was running at the end; empty for a survivor.
    how : str
        "failed", "crashed" or "time".
    seconds : float
        Of the clock on the wall.
    """

    killed: bool
    test: str
    how: str
    seconds: float


class _Notes(TestsOfConfiguration):
    """Plugin of pytest: notes in a file which test runs, and which fail."""

    def __init__(self, config: Config, path: Path) -> None:
        super().__init__(config, {"icarus", "model"})
        self._file = path.open("w", encoding="utf-8", buffering=1)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._file.write(f"start {nodeid}\n")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._file.write(f"failed {report.nodeid}\n")


class Battery:
    """Runs the tests with faults of one simulator.

    Parameters
    ----------
    config : Config
        Whose Verilog is replaced.
    netlist : Path
        File with the one of make_netlist that takes its place.
    directory : Path
        For logs.
    tests : sequence of str

    Members
    -------
    seconds : float
        Of the processor, that the tests take without a fault; after `rehearse`.
    """

    def __init__(
        self, config: Config, netlist: Path, directory: Path, tests: Sequence[str] = BATTERY
    ) -> None:
        self._config, self.directory, self._tests = config, directory, list(tests)
        self._longest = 0
        self._limit: int | None = None
        self.seconds = 0.0
        self._substitute(config, netlist)

    def _substitute(self, config: Config, netlist: Path) -> None:
        wait = VerilatorDevice.wait

        def verilog(other: Config) -> Path:
            same = other.fingerprint == config.fingerprint
            return netlist if same else accelerator_verilog(other)

        def limited(device: VerilatorDevice, timeout_cycles: int) -> None:
            start = device.simulated_cycles
            wait(device, min(timeout_cycles, self._limit or timeout_cycles))
            self._longest = max(self._longest, device.simulated_cycles - start)

        mock.patch.object(verilator, "accelerator_verilog", verilog).start()
        mock.patch.object(VerilatorDevice, "wait", limited).start()

    def _run(self, name: str) -> int:
        """Run the tests in this process; return pytest's exit status."""
        options = ["-x", "-q", "-p", "no:cacheprovider", "--tb", "short"]
        return int(
            pytest.main([*options, *self._tests], [_Notes(self._config, self.directory / name)])
        )

    def rehearse(self) -> None:
        """Run the tests without a fault, and take the measure of them.

        Raises
        ------
        DeviceError
            When one of them fails.
        """
        os.environ.pop(VARIABLE, None)
        begin = time.process_time()
        if self._run("rehearsal.txt") != pytest.ExitCode.OK:
            raise DeviceError("a test fails without a fault: mend it first")
        self.seconds = time.process_time() - begin
        self._limit = 2 * self._longest + 50_000

    def judge(self, number: int) -> Verdict:
        """Run the tests with a fault in a child process.

        Raises
        ------
        DeviceError
            When the child cannot run the tests at all.
        """
        name = f"{number:04d}.txt"
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            self._be_child(number, name)
        # Other processes may be at work: what counts is the processor's time (_be_child).
        status = self._await(child, begin + 600 + 50 * self.seconds)
        seconds = time.monotonic() - begin
        notes = (self.directory / name).read_text(encoding="utf-8").splitlines()
        last = notes[-1].partition(" ")[2] if notes else ""
        if status is None or os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return Verdict(True, last, "time", seconds)
        if os.WIFSIGNALED(status):
            return Verdict(True, last, "crashed", seconds)
        code = os.WEXITSTATUS(status)
        if code == pytest.ExitCode.OK:
            return Verdict(False, "", "", seconds)
        if code == pytest.ExitCode.TESTS_FAILED:
            return Verdict(True, last, "failed", seconds)
        raise DeviceError(f"fault {number}: pytest ended with {code}: see {name}")

    def _be_child(self, number: int, name: str) -> None:
        code = int(pytest.ExitCode.INTERNAL_ERROR)
        limit = 60 + int(5 * self.seconds)
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 60))
            log = os.open(self.directory / f"log-{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(log, stream)
            os.environ[VARIABLE] = str(number)
            code = self._run(name)
        finally:
            # Nothing of the parent's is to be finished by the child.
            os._exit(code)

    def _await(self, child: int, deadline: float) -> int | None:
        """Return the child's status; None where it had to be killed."""
        while time.monotonic() < deadline:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return status
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None
