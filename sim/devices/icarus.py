"""The emitted Verilog under Icarus: four-state, slow, and independent of Verilator."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from accel.config import Config
from accel.errors import DeviceError
from accel.host.device import Buffer
from accel.progress import progress
from sim.devices.build import TOP, accelerator_verilog
from sim.devices.cache import cached_file, digest_of
from sim.devices.rtl import RtlDevice

__all__ = ["IcarusDevice"]

TESTBENCH = Path(__file__).with_name("icarus_tb.v")

DEFAULT_BYTES = 4 << 20
"""Icarus takes sixteen bytes for each byte of this memory."""


def _find_tool(name: str) -> str:
    tool = shutil.which(name)
    if tool is None:
        raise DeviceError(
            f"{name} not found: install Icarus Verilog 11 or later (Debian: apt-get install "
            "iverilog), or use --device verilator"
        )
    return tool


def _compile(verilog: str, config: Config, memory_bytes: int) -> Path:
    iverilog = _find_tool("iverilog")
    version = subprocess.run([iverilog, "-V"], capture_output=True, text=True).stdout.split("\n")[0]
    code = re.sub(r"\A(//[^\n]*\n)*", "", verilog)
    parameters = {"BUS_BYTES": config.bus_bytes, "MEMORY_BYTES": memory_bytes}
    key = digest_of([code, TESTBENCH.read_bytes(), version, repr(parameters)])

    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="systolite-") as scratch:
            source = Path(scratch) / f"{TOP}.v"
            source.write_text(code, encoding="utf-8")
            command = [
                iverilog,
                "-g2005",
                *(f"-Ptestbench.{name}={value}" for name, value in parameters.items()),
                "-s",
                "testbench",
                "-o",
                str(path),
                str(TESTBENCH),
                str(source),
            ]
            with progress(f"compiling {config.name} for Icarus (once, then cached)"):
                result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                raise RuntimeError(f"iverilog failed: {result.stderr.strip()[-3000:]}")

    return cached_file(f"{key}.vvp", make)


class IcarusDevice(RtlDevice):
    """The RTL in an interactive Icarus process, for small networks.

    Reading memory that holds X is an error: everything the accelerator writes is defined.

    Parameters
    ----------
    config : Config
    verilog : str, optional
        Verilog to simulate in place of the configuration's: top module `systolite`, same ports.
    options
        See RtlDevice.
    """

    name = "icarus"

    def __init__(
        self,
        config: Config,
        *,
        latency: int = 20,
        stalls: str = "never",
        seed: int = 0,
        memory_bytes: int = DEFAULT_BYTES,
        memory_base: int = 0,
        trace: str | Path | None = None,
        verilog: str | None = None,
    ) -> None:
        self._process: subprocess.Popen[str] | None = None
        super().__init__(
            config,
            latency=latency,
            stalls=stalls,
            seed=seed,
            memory_bytes=memory_bytes,
            memory_base=memory_base,
            trace=trace,
        )
        vvp = _find_tool("vvp")
        if verilog is None:
            verilog = accelerator_verilog(config).read_text(encoding="utf-8")
        program = _compile(verilog, config, memory_bytes)
        self._scratch = tempfile.TemporaryDirectory(prefix="systolite-")
        arguments = [
            f"+latency={latency}",
            f"+stalls={self._stall_percent}",
            f"+seed={seed & 0x7FFFFFFF}",
            f"+base={memory_base:x}",
            *([f"+trace={self._trace.absolute()}"] if self._trace else []),
        ]
        self._process = subprocess.Popen(
            [vvp, "-N", str(program), *arguments],
            cwd=self._scratch.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.write_memory(memory_base, bytes(memory_bytes))

    def read_memory(self, address: int, length: int) -> bytes:
        """Return bytes of memory; see Device.

        Raises
        ------
        DeviceError
            Also when one of the bytes is X.
        """
        offset = self.check_range(address, length)
        if length == 0:
            return b""
        self._command("s", offset, length)
        lines = (Path(self._scratch.name) / "save.hex").read_text().splitlines()
        text = "".join(line for line in lines if not line.startswith(("//", "@"))).replace(" ", "")
        unknown = re.search("[xXzZ]", text)
        if unknown is not None:
            raise DeviceError(
                f"{self.name}: the byte at {address + unknown.start() // 2:#x} is undefined (X)"
            )
        return bytes.fromhex(text)

    def write_memory(self, address: int, data: Buffer) -> None:
        """Write bytes to memory; see Device."""
        raw = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
        offset = self.check_range(address, len(raw))
        if raw:
            (Path(self._scratch.name) / "load.bin").write_bytes(raw)
            self._command("l", offset, len(raw))

    def read_register(self, offset: int) -> int:
        """Return a control register by an AXI4-Lite read; see Device."""
        self.check_register(offset)
        text = self._command("r", offset)
        try:
            return int(text, 16)
        except ValueError:
            raise DeviceError(f"{self.name}: register {offset:#x} reads {text} (X)") from None

    def write_register(self, offset: int, value: int) -> None:
        """Write a control register by an AXI4-Lite write; see Device."""
        self.check_register(offset)
        self._command("w", offset, value & 0xFFFFFFFF)

    def wait(self, timeout_cycles: int) -> None:
        """Simulate until `irq` is high; see Device."""
        if self._command("i", timeout_cycles) != "1":
            raise self.timeout_error(timeout_cycles)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()
            self._scratch.cleanup()

    def __del__(self) -> None:
        self.close()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            raise DeviceError(f"{self.name}: the device is closed")
        return self._process.stdin, self._process.stdout

    def _command(self, letter: str, a: int = 0, b: int = 0) -> str:
        commands, answers = self._pipes()
        try:
            commands.write(f"{letter} {a:x} {b:x}\n")
            commands.flush()
        except BrokenPipeError:
            raise DeviceError(f"{self.name}: the simulation has ended") from None
        other = []
        for line in answers:
            kind, _, rest = line.strip().partition(" ")
            if kind == letter:
                return rest
            if kind == "e":
                raise DeviceError(f"{self.name}: {rest}")
            other.append(line.strip())
        text = other[-1] if other else "no message"
        raise DeviceError(f"{self.name}: the simulation has ended: {text}")
