"""The command line: what it writes, and one line with status 2 for everything that is wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import accel.cli
import accel.commands.demo
from accel.cli import main
from accel.config import PRESETS
from accel.data import digits_model, load_digits
from accel.image import Image
from tests.compiler.tiny_models import ModelBuilder

ROOT = Path(__file__).parents[1]
DIGITS = load_digits()


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Return an empty working directory with the bundled model and two of its inputs."""
    monkeypatch.chdir(tmp_path)
    Path("digits.tflite").write_bytes(digits_model())
    np.save("x.npy", DIGITS.x[:2])
    return tmp_path


def ok(capsys, *arguments):
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    # On a busy machine progress is reported.
    assert all(line.endswith(" ...") for line in captured.err.splitlines())
    assert status == 0
    return captured.out


def error(capsys, *arguments):
    """Return the one line of an error with exit status 2."""
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as exit_:
        status = exit_.code
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and captured.err.startswith("accel: error: ")
    return captured.err.removeprefix("accel: error: ").rstrip()


def run(*options):
    return ("run", "digits.tflite", "--device", "model", "--config", "test", *options)


def test_run_writes_output_and_report(capsys, work):
    text = ok(capsys, *run("--input", "x.npy", "--output", "y.npy", "--report", "r.json"))
    assert np.array_equal(np.load("y.npy"), DIGITS.y_tflm[:2])
    assert np.load("y.npy").dtype == np.int8
    report = json.loads(Path("r.json").read_text())
    assert (report["model"], report["config"], report["device"]) == ("digits", "test", "model")
    assert report["inferences"] == 2
    assert sum(layer["cycles"] for layer in report["layers"]) == report["cycles"]
    assert "CONV_2D" in text and "2 inferences of digits on model" in text
    assert sorted(os.listdir()) == ["digits.tflite", "r.json", "x.npy", "y.npy"]


def test_compile_then_run_is_the_same(capsys, work):
    text = ok(
        capsys,
        *("compile", "digits.tflite", "-o", "d.img", "--config", "test", "--report", "r.json"),
    )
    estimate = json.loads(Path("r.json").read_text())
    assert Image.load("d.img").config == PRESETS["test"]
    options = ("--input", "x.npy", "--output", "y.npz", "--report", "r.json")
    ok(capsys, "run", "d.img", "--device", "model", *options)
    assert np.array_equal(np.load("y.npz")["y0"], DIGITS.y_tflm[:2])
    # What a run on the golden machine reports is known before; only the controller's code takes
    # other ways with other data.
    report = json.loads(Path("r.json").read_text())
    assert (estimate["device"], estimate["inferences"]) == ("model", 0)
    assert estimate["cycles"] == pytest.approx(report["cycles"], rel=0.02)
    for ours, theirs in zip(estimate["layers"], report["layers"], strict=True):
        assert ours == theirs or ours["engine"] == "controller"
    assert "CONV_2D" in text and f"{estimate['cycles']:,}" in text


def test_npz_limit_and_check(capsys, work):
    np.savez("x.npz", x=DIGITS.x, label=DIGITS.label)
    text = ok(capsys, *run("--input", "x.npz", "--limit", "3", "--output", "y.npy", "--check"))
    assert np.load("y.npy").shape == (3, 10)
    assert "3 of 3 outputs equal TensorFlow Lite Micro" in text


def test_random_inputs_repeat(capsys, work):
    for name, seed in (("a", "random:7"), ("b", "random:7"), ("c", "random")):
        ok(capsys, *run("--input", seed, "--limit", "2", "--output", f"{name}.npy"))
    a, b, c = (np.load(f"{name}.npy") for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_a_difference_found_by_check_is_status_1(capsys, work, monkeypatch):
    zeros = lambda tensor, memory: np.zeros(tensor.shape, np.int8)  # noqa: E731
    monkeypatch.setattr("accel.image.Tensor.unpack", zeros)
    assert main(list(run("--input", "x.npy", "--check"))) == 1
    assert "0 of 2 outputs equal" in capsys.readouterr().out


def test_a_toml_configuration_names_the_report(capsys, work):
    Path("mine.toml").write_text('preset = "test"\nqueue_depth = 8\n')
    options = ("--device", "model", "--input", "x.npy", "--config", "mine.toml")
    ok(capsys, "run", "digits.tflite", *options, "--report", "r.json")
    assert json.loads(Path("r.json").read_text())["config"] == "mine"


def test_verilog_writes_file_header_and_template(capsys, work):
    text = ok(capsys, "verilog", "--config", "test", "-o", "npu.v", "--name", "npu")
    verilog = Path("npu.v").read_text()
    assert "\nmodule npu(clk, rst, irq, s_axi_awaddr" in verilog
    assert text.startswith("npu npu_i (\n    .clk ") and "m_axi_rready" in text
    header = Path("npu_regs.h").read_text()
    assert "#define NPU_CONTROL 0x10u" in header
    assert "#define NPU_CONTROL_START 1u" in header
    assert f"0x{PRESETS['test'].fingerprint:08x}u" in header
    assert sorted(os.listdir()) == ["digits.tflite", "npu.v", "npu_regs.h", "x.npy"]


def test_info_shows_sizes_and_registers(capsys):
    text = ok(capsys, "info", "--config", "base")
    assert "256 multiply-accumulates per cycle" in text
    assert "FINGERPRINT" in text and f"{PRESETS['base'].fingerprint:#010x}" in text
    protection = next(line for line in text.splitlines() if "memory protection" in line)
    assert protection.split()[-1] == "none"


def make_unsupported(path):
    model = ModelBuilder()
    x, y = (model.tensor(n, (1, 4), 1 / 128) for n in ("in", "squashed"))
    model.operator("SIN", [x], y)
    path.write_bytes(model.build([x], [y]))


MODEL_CASES = {
    "unsupported": (make_unsupported, "operator 0 SIN .*squashed.* is not supported"),
    "truncated": (lambda p: p.write_bytes(digits_model()[:3000]), "damaged or truncated"),
    "empty": (lambda p: p.write_bytes(b""), "model.tflite"),
    "text": (lambda p: p.write_text("hello\n" * 100), "not a TensorFlow Lite model"),
    "missing": (lambda p: None, "cannot read model.tflite: No such file"),
    "image": (lambda p: p.write_bytes(b"SYSTOIMG"), "model.tflite is truncated"),
}


@pytest.mark.parametrize("case", MODEL_CASES)
@pytest.mark.parametrize("command", ["run", "compile"])
def test_bad_models_are_one_line_and_leave_no_file(capsys, work, case, command):
    make, message = MODEL_CASES[case]
    make(Path("model.tflite"))
    before = sorted(os.listdir())
    options = {
        "run": ("--input", "x.npy", "--output", "y.npy", "--report", "r.json"),
        "compile": ("-o", "model.img", "--report", "r.json"),
    }[command]
    assert re.search(message, error(capsys, command, "model.tflite", *options))
    assert sorted(os.listdir()) == before


INPUT_CASES = {
    "shape": (np.zeros((2, 8, 9, 1), np.int8), r"the data has shape \[2, 8, 9, 1\]"),
    "type": (np.zeros((8, 8, 1), np.float32), "the data has type float32; quantise it to int8"),
    "none": (np.zeros((0, 8, 8, 1), np.int8), "holds no samples"),
}


@pytest.mark.parametrize("case", INPUT_CASES)
def test_wrong_inputs_are_one_line_and_leave_no_file(capsys, work, case):
    values, message = INPUT_CASES[case]
    np.save("x.npy", values)
    before = sorted(os.listdir())
    text = error(capsys, *run("--input", "x.npy", "--output", "y.npy", "--report", "r.json"))
    assert re.search(message, text)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("rows = 5\n", "rows must be one of 4, 8, 12, 16, 32, not 5"),
        ("rows = 16\nlanes = 3\n", "lanes must divide rows"),
        ('preset = "huge"\n', "unknown preset huge: use test, tiny, small, base"),
        ("colour = 1\n", "unknown field colour"),
        ("rows = \n", "is not a TOML file"),
        ('rows = "8"\n', "rows must be int"),
    ],
)
def test_impossible_configurations_are_one_line(capsys, work, toml, message):
    Path("c.toml").write_text(toml)
    assert message in error(capsys, "verilog", "--config", "c.toml", "-o", "x.v")
    assert message in error(
        capsys, "run", "digits.tflite", "--input", "x.npy", "--config", "c.toml"
    )
    assert not Path("x.v").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("run",), "run: the following arguments are required"),
        (("info", "--config", "giant"), "unknown configuration giant: use test, tiny, small, base"),
        (run("--input", "x.npy", "--output", "y.txt"), "output y.txt must end in .npy or .npz"),
        (run("--input", "x.npy", "--output", "no/y.npy"), "there is no directory no"),
        (run("--input", "x.npy", "--limit", "0"), "run: argument --limit: invalid positive value"),
        (run("--input", "x.npy", "--latency", "ten"), "run: argument --latency: invalid"),
        (run("--input", "x.npy", "--stalls", "always"), "run: argument --stalls: invalid choice"),
        (run("--input", "random:x"), "the seed must be a whole number"),
        (run("--input", "none.npy"), "cannot read input none.npy: No such file"),
        (run("--input", "digits.tflite"), "digits.tflite is not a .npy or .npz file"),
        (("run", "digits.tflite", "--input", "x.npy", "--device", "fpga"), "unknown device fpga"),
        (("verilog", "-o", "x.v", "--bus", "pci"), "unknown bus pci: use axi4"),
        (("verilog", "-o", "x.v", "--name", "1st"), "'1st' is not a Verilog module name"),
        (("cocotb", "--bench", "none"), "unknown bench none"),
    ],
)
def test_wrong_use_is_one_line(capsys, work, arguments, message):
    assert message in error(capsys, *arguments)


def test_an_image_is_refused_for_another_configuration(capsys, work):
    ok(capsys, "compile", "digits.tflite", "-o", "d.img", "--config", "test")
    text = error(capsys, "run", "d.img", "--input", "x.npy", "--config", "small")
    assert text.startswith("d.img was compiled for configuration test, not for small")
    assert "is a compiled image already" in error(
        capsys, "compile", "d.img", "-o", "e.img", "--config", "test"
    )
    assert "--check needs the .tflite" in error(
        capsys, "run", "d.img", "--input", "x.npy", "--check"
    )


def test_an_internal_failure_is_status_1(capsys, work, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("accel.api.run", fail)
    assert main(list(run("--input", "x.npy"))) == 1
    assert "RuntimeError: a bug" in capsys.readouterr().err


def test_a_process_exits_with_the_status_and_one_line(work):
    command = [sys.executable, "-m", "accel.cli", "info", "--config", "giant"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr


def test_help_names_every_command_and_has_examples(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for command in accel.cli.COMMANDS:
        name = command.__name__.rpartition(".")[2]
        assert f"\n    {name} " in text
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert f"example:\n  accel {name}" in capsys.readouterr().out


def test_demo_on_the_golden_machine(capsys, work, monkeypatch):
    def on_model(name, config, **options):
        assert name == "verilator"
        return accel.api.open_device("model", config, **options)

    monkeypatch.setattr(accel.commands.demo, "open_device", on_model)
    assert main(["demo"]) == 0
    text = capsys.readouterr().out
    assert "10 of 10 outputs equal TensorFlow Lite Micro" in text
    assert "10 of 10 digits read correctly" in text
    assert "FULLY_CONNECTED" in text and "█" in text
    assert Path("build/demo.png").read_bytes().startswith(b"\x89PNG")
    assert os.listdir("build") == ["demo.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "serial:"), "serial: names no port: use serial:PORT, as in serial:/dev/"),
        (("--device", "serial:/no/port"), "there is no serial port /no/port; found here: "),
        (
            ("--device", "serial:/no/port", "--latency", "9"),
            "--latency, --stalls and --seed are of a simulated memory: serial:/no/port has none",
        ),
        (("--device", "fpga"), "unknown device fpga: use model, verilator, icarus or serial:PORT"),
    ],
)
def test_run_on_a_board_that_is_not_there(capsys, work, options, message):
    arguments = ("run", "digits.tflite", "--config", "test", "--input", "x.npy", *options)
    assert error(capsys, *arguments).startswith(message)
