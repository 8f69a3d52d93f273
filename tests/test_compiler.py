"""How processors are told apart, for machines other than this one."""

import platform

import pytest

from deepsphere import _compiler as compiler

CPUINFO = {
    "x86": (
        "processor\t: {core}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n"
        "cpu MHz\t\t: {clock}\ncache size\t: 33792 KB\nphysical id\t: {core}\ncore id\t\t: {core}\n"
        "apicid\t\t: {core}\nflags\t\t: fpu vme sse2 avx2{more}\nbogomips\t: {clock}\n",
        ("", " avx512f"),
    ),
    "arm": (
        "processor\t: {core}\nBogoMIPS\t: {clock}\nFeatures\t: fp asimd{more}\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0xd40\n",
        ("", " sve"),
    ),
    "arm, same features": ("processor\t: {core}\nFeatures\t: fp\nCPU part\t: {more}\n", ("1", "2")),
    "ppc64le": (
        "processor\t: {core}\ncpu\t\t: {more}, altivec supported\nclock\t\t: {clock}MHz\n"
        "revision\t: 2.2 (pvr 004e 1202)\n\ntimebase\t: 512000000\nplatform\t: PowerNV\n",
        ("POWER9", "POWER10"),
    ),
    "riscv64": (
        "processor\t: {core}\nhart\t\t: {core}\nisa\t\t: rv64imafdc{more}\nmmu\t\t: sv39\n"
        "uarch\t\t: sifive,u74-mc\n",
        ("", "v"),
    ),
    "s390x": (
        "vendor_id       : IBM/S390\n# processors    : 4\nbogomips per cpu: {clock}\n"
        "features\t: esan3 zarch vx\n"
        "processor {core}: version = FF,  identification = 1{core}2733,  machine = {more}\n"
        "cpu MHz static  : {clock}\n",
        ("3906", "8561"),
    ),
    "s390x, same machine": ("features\t: esan3{more}\nprocessor {core}: x\n", ("", " vxd")),
}


@pytest.mark.parametrize("machine", CPUINFO)
def test_processors_are_told_apart(machine, monkeypatch):
    text, kinds = CPUINFO[machine]

    def key(more, clock, cores):
        lines = "\n".join(text.format(core=core, clock=clock, more=more) for core in cores)
        monkeypatch.setattr(compiler, "_cpuinfo", lines.splitlines)
        return compiler.processor()

    first, other = (key(more, 1000, range(4)) for more in kinds)
    assert first != other
    # Neither how fast it runs just now nor the number of its cores makes it another one.
    assert key(kinds[0], 2000, range(2)) == first


@pytest.mark.parametrize("name", ["machine", "processor", "system"])
def test_without_cpuinfo(name, monkeypatch):
    monkeypatch.setattr(compiler, "_cpuinfo", list)
    monkeypatch.setattr(compiler, "_capabilities", list)
    first = compiler.processor()
    monkeypatch.setattr(platform, name, lambda: "another")
    assert compiler.processor() != first


def test_capabilities_that_linux_tells(monkeypatch):
    found = compiler._capabilities()
    assert found == compiler._capabilities()
    if platform.system() == "Linux":
        assert found[0].startswith("16: ")
