"""Configurations: what cannot be built is refused with one line that says what to do."""

import pytest

from accel.config import PRESETS, Config
from accel.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 7}, "rows must be one of 4, 8, 12, 16, 32, not 7"),
        ({"dsp_cells": -1}, "dsp_cells must be from 0 to 1024, not -1"),
        ({"dsp_cells": 1025}, "dsp_cells must be from 0 to 1024, not 1025"),
        ({"dsp_cells": True}, "dsp_cells must be int, not True"),
        ({"target": "asic"}, "target must be one of generic, ecp5, ice40, not asic"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ConfigError) as error:
        Config(**values)
    assert str(error.value) == message


def test_parity_is_other_hardware():
    assert Config(parity=True).fingerprint != Config().fingerprint == Config(name="x").fingerprint


def test_dsp_cells_from_a_file(tmp_path):
    path = tmp_path / "few.toml"
    path.write_text('preset = "base"\ndsp_cells = 12\n')
    config = Config.load(path)
    assert config.dsp_cells == 12
    assert config.fingerprint != PRESETS["base"].fingerprint


@pytest.mark.parametrize("name", PRESETS)
def test_a_file_of_a_configuration_is_that_configuration(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    path.write_text(PRESETS[name].to_toml())
    assert Config.load(path) == PRESETS[name]
