"""The Python interface: the README's example, and what `accel` offers."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import accel
from accel.data import digits_model, load_digits
from accel.errors import DeviceError, ImageError, InputError

ROOT = Path(__file__).parents[1]
DIGITS = load_digits()


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    Path("model.tflite").write_bytes(digits_model())
    # The golden machine in place of the RTL: the example is about the interface.
    exec(example.replace('"verilator"', '"model"'), {"inputs": DIGITS.x[:2]})
    assert str(DIGITS.y_tflm[0][0]) in capsys.readouterr().out


def test_run_opens_the_device_by_name():
    image = accel.compile_model(digits_model(), "test")
    result = accel.run(image, DIGITS.x, device="model", limit=3, latency=40)
    assert isinstance(result, accel.RunResult)
    assert np.array_equal(result.outputs[0], DIGITS.y_tflm[:3])
    assert result.cycles == result.report["cycles"] == max(s.cycles for s in result.stats)


def test_one_input_gives_one_output():
    image = accel.compile_model(digits_model(), accel.Config.load("test"))
    assert accel.run(image, DIGITS.x[0], device="model").outputs[0].shape == (1, 10)


def test_runs_on_one_device_leave_nothing_over():
    image = accel.compile_model(digits_model(), "test")
    with accel.open_device("model", "test") as device:
        for n in (4, 0, 4):
            result = accel.run(image, DIGITS.x[n], device=device)
            assert np.array_equal(result.outputs[0], DIGITS.y_tflm[n : n + 1])
        with pytest.raises(DeviceError, match="an open device takes no options: latency"):
            accel.run(image, DIGITS.x[0], device=device, latency=3)


def test_errors_are_raised_before_the_device_is_opened():
    image = accel.compile_model(digits_model(), "test")
    with pytest.raises(InputError, match="the data has shape"):
        accel.run(image, DIGITS.x[0, 1:], device="none")
    with (
        accel.open_device("model", "small") as device,
        pytest.raises(ImageError, match="made for configuration test"),
    ):
        accel.run(image, DIGITS.x[0], device=device)


def test_importing_accel_loads_neither_hardware_nor_simulators():
    code = (
        "import sys, accel; assert accel.__version__;"
        "assert not {'amaranth', 'numpy', 'sim'} & set(sys.modules);"
        "import accel.api; assert 'accel.gateware' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_component_is_offered():
    import accel.gateware
    from accel.gateware.top import Accelerator

    assert accel.gateware.Accelerator is Accelerator
    with pytest.raises(AttributeError, match="no attribute 'Engine'"):
        accel.gateware.Engine  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'compile'"):
        accel.compile  # noqa: B018
