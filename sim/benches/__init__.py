"""The cocotb benches that come with the package, and what runs them.

`sim.benches.registry` lists the benches and says how to add one; `sim.benches.runner.run_bench`
runs one of them, for `accel cocotb` as for pytest.
"""
