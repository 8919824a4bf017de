"""The measurements, one a module: each `measure(ground, wanted, effort)` answers with numbers that go into the raw file as they are."""
