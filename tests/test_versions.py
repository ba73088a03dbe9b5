"""What a record says of the processor (section 6 B), told apart where the instruction set alone is the same."""

import platform

import pytest
import torch

from corruptbench import versions
from corruptbench.versions import processor

INSTRUCTIONS = torch.backends.cpu.get_cpu_capability()
INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R)\n"
AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0c\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (INTEL, "GenuineIntel 6/143"),
        (AMD, "AuthenticAMD 25/17"),
        (ARM, "0x41 0xd0c"),
        ("vendor_id\t: GenuineIntel\ncpu family\t: 6\n", "GenuineIntel 6/?"),
        (f"{INTEL}\n{AMD}", "GenuineIntel 6/143"),
        ("vendor_id\t: A|B;\x1b[31m\ncpu family\t: \nmodel\t: 1\n", "A B 31m ?/1"),
        (f"vendor_id\t: {'x' * 5000}\n", f"{'x' * 64} ?/?"),
    ],
    ids=["intel", "amd", "arm", "incomplete", "two processors", "characters", "long"],
)
def test_a_processor_is_its_instruction_set_maker_and_model(text, expected, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(versions, "CPUINFO", tmp_path / "cpuinfo")
    assert processor() == f"{INSTRUCTIONS} {expected}"
    assert versions.platform()["cpu"] == processor()


@pytest.mark.parametrize("text", [None, "", "features: fp asimd\n", "vendor_id\t:\n"])
def test_where_no_such_file_tells_the_system_is_asked(text, tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert processor() == f"{INSTRUCTIONS} arm"
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert processor() == f"{INSTRUCTIONS} riscv64"
