"""The tests of the suite that simulate one configuration under Verilator, chosen by a plugin."""

from typing import Any

from accel.config import PRESETS, Config

__all__ = ["BATTERY", "LONG_BATTERY", "TestsOfConfiguration"]

_SYSTEM = "tests/system/test_"
_ESTIMATE = f"{_SYSTEM}estimate.py::test_the_estimate_is_close_to_the_hardware"

BATTERY = (
    f"{_SYSTEM}devices.py::test_the_base_address_does_not_matter",
    f"{_SYSTEM}devices.py::test_a_program_outside_the_memory_stops_with_its_cause",
    f"{_SYSTEM}devices.py::test_a_device_works_again_after_a_fault",
    f"{_SYSTEM}programs.py",
    f"{_SYSTEM}commands.py",
    f"{_SYSTEM}requantising.py",
    f"{_SYSTEM}tokens.py",
    f"{_SYSTEM}window.py",
    f"{_SYSTEM}faults.py::test_a_program_that_waits_for_ever",
    f"{_SYSTEM}faults.py::test_a_program_that_ends_too_soon",
    f"{_SYSTEM}faults.py::test_more_tokens_than_a_counter_holds",
    f"{_SYSTEM}faults.py::test_a_program_larger_than_its_memory",
    f"{_SYSTEM}random_models.py::test_a_sample_of_each_operator_on_rtl",
    f"{_SYSTEM}faults.py::test_start_and_load_while_running_do_nothing",
    f"{_SYSTEM}faults.py::test_windows_that_are_too_narrow",
    f"{_SYSTEM}faults.py::test_one_bit_off_every_instruction",
    f"{_SYSTEM}faults.py::test_random_instructions[sample]",
    f"{_SYSTEM}attribution.py",
    f"{_SYSTEM}networks.py::test_digits_whatever_the_memory_does",
    f"{_SYSTEM}devices.py::test_a_run_on_missing_memory_stops_and_the_next_one_is_exact",
    f"{_SYSTEM}faults.py::test_random_commands[sample]",
    f"{_SYSTEM}faults.py::test_errors_and_resets_with_stalls[often]",
    f"{_ESTIMATE}[hello_world_sine-test-20]",
    f"{_ESTIMATE}[mnist_dw_mean-test-20]",
    f"{_ESTIMATE}[mnist_resnet_add-test-20]",
    f"{_SYSTEM}faults.py::test_an_error_response_to_any_beat[write-sample]",
)
"""Tests of the whole accelerator, roughly in rising order of what it takes to pass them."""

LONG_BATTERY = (
    *BATTERY,
    f"{_SYSTEM}faults.py",
    f"{_SYSTEM}estimate.py",
    f"{_SYSTEM}networks.py::test_more_inputs_on_smaller_machines",
    f"{_SYSTEM}random_models.py::test_more_samples_of_each_operator_on_rtl",
)
"""Those, and more of the same: most of it long."""


class TestsOfConfiguration:
    """Plugin of pytest that leaves out what simulates something else by its parameters.

    Parameters
    ----------
    config : Config
    others : set of str
        Devices that are left out too.
    """

    __test__ = False

    def __init__(self, config: Config, others: set[str]) -> None:
        presets = {name for name in PRESETS if name != config.name}
        self._config, self._others = config, others | presets

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep the tests without a parameter that is, or is called, like one of the others."""

        def ours(item: Any) -> bool:
            values = item.callspec.params.values() if hasattr(item, "callspec") else ()
            names = {getattr(value, "name", value) for value in values}
            other = any(isinstance(value, Config) and value != self._config for value in values)
            return not other and self._others.isdisjoint(n for n in names if isinstance(n, str))

        items[:] = [item for item in items if ours(item)]
