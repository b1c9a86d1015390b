#!/usr/bin/env python3
"""Make the PyPI torch wheel for Linux x86_64 importable without CUDA and without the nvidia-* wheels.

torch's libraries need about a dozen CUDA libraries at load time (3-4 GB of wheels), even if no GPU is used. This writes
stubs with the same names next to them, a few hundred kB in total. They define every symbol that torch's libraries
import, with the right version. Calls that count devices return none, and all others fail.

    cuda_stubs.py [site-packages/torch/lib]

Needs gcc and readelf. Does not replace real libraries.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from pathlib import Path

CUDA_LIBRARY = re.compile(r"^lib(cu|nccl|nv)")
DRIVER = "libcuda.so.1"  # opened on demand, not needed at load time
CUDA_SYMBOL = re.compile(r"^_?_?(cu|nccl|nvrtc|nvJit|nvshmem|cupti|nvtx)[A-Zx_]?")
REAL_LIBRARY_BYTES = 500_000
UNVERSIONED = ""

PREFIX_OF_LIBRARY = {
    "libcudnn": "cudnn",
    "libcufile": "cuFile",
    "libcusparseLt": "cusparseLt",
    "libnccl": "nccl",
    "libnvshmem_host": "nvshmem",
    "libcublas.": "cublas",
    "libcusparse.": "cusparse",
    "libcufft": "cufft",
    "libcusolver": "cusolver",
    "libnvrtc": "nvrtc",
    "libcupti": "cupti",
}
"""Prefix of the unversioned symbols of each library."""

TEXT_FUNCTION = re.compile(r"(ErrorString|ErrorName|StatusString|GetString|ResultString)$")
TEXT_LIBRARIES = ("libcudart", "libcudnn", "libnccl", "libnvrtc", "libcublas")

Symbols = dict[str, str]  # name to ELF type
Libraries = dict[str, dict[str, Symbols]]  # soname to version to symbols


def readelf(path: Path, *options: str) -> list[str]:
    run = subprocess.run(["readelf", *options, "-W", str(path)], capture_output=True, text=True, check=False)
    return run.stdout.splitlines()


def is_cuda(soname: str) -> bool:
    return bool(CUDA_LIBRARY.match(soname)) and soname != DRIVER


def version_owners(path: Path) -> dict[str, str]:
    """The library that defines each symbol version."""
    owners, current = {}, ""
    for line in readelf(path, "-V"):
        if found := re.search(r"File: (\S+)", line):
            current = found.group(1)
        if (found := re.search(r"Name: (\S+)", line)) and current:
            owners[found.group(1)] = current
    return owners


def imports(lib: Path) -> Libraries:
    """The symbols that torch's libraries import from CUDA libraries."""
    needed: Libraries = {}
    unversioned: Symbols = {}
    for path in sorted(lib.glob("lib*.so*")):
        if path.is_symlink():
            continue
        for line in readelf(path, "-d"):
            found = re.search(r"NEEDED.*\[(.+?)\]", line)
            if found and is_cuda(found.group(1)):
                needed.setdefault(found.group(1), defaultdict(dict))
        owners = version_owners(path)
        for line in readelf(path, "--dyn-syms"):
            columns = line.split()
            if len(columns) < 8 or columns[6] != "UND":
                continue
            kind, binding, symbol = columns[3], columns[4], columns[7]
            name, _, version = symbol.partition("@")
            version = version.lstrip("@")
            if version:
                owner = owners.get(version)
                if owner and is_cuda(owner):
                    needed.setdefault(owner, defaultdict(dict))[version][name] = kind
            elif CUDA_SYMBOL.match(name) and binding == "GLOBAL":
                unversioned[name] = kind
    for name, kind in unversioned.items():
        if owner := library_of(name, needed):
            needed[owner][UNVERSIONED][name] = kind
    return needed


def library_of(symbol: str, libraries: Libraries) -> str | None:
    """The library whose prefix in `PREFIX_OF_LIBRARY` is the longest match for an unversioned symbol."""
    fits = [
        (len(prefix), soname)
        for soname in libraries
        for start, prefix in PREFIX_OF_LIBRARY.items()
        if soname.startswith(start) and symbol.startswith(prefix)
    ]
    return max(fits)[1] if fits else None


def c_source(soname: str, symbols: Symbols) -> str:
    lines = ['static const char text[] = "CUDA stub: no CUDA";']
    for name, kind in sorted(symbols.items()):
        if kind == "OBJECT":
            lines.append(f"char {name}[4096];")
        elif TEXT_FUNCTION.search(name) and soname.startswith(TEXT_LIBRARIES):
            lines.append(f"const char *{name}(void) {{ return text; }}")
        elif name == "cudaGetDeviceCount":
            lines.append(f"long {name}(int *n) {{ if (n) *n = 0; return 100; }}")  # cudaErrorNoDevice
        elif name in ("cudaDriverGetVersion", "cudaRuntimeGetVersion"):
            lines.append(f"long {name}(int *v) {{ if (v) *v = 0; return 0; }}")
        elif name in ("cudaGetLastError", "cudaPeekAtLastError"):
            lines.append(f"long {name}(void) {{ return 0; }}")
        else:
            lines.append(f"long {name}(void) {{ return 100; }}")
    return "\n".join(lines) + "\n"


def version_script(versions: dict[str, Symbols]) -> str:
    named = {version: symbols for version, symbols in versions.items() if version != UNVERSIONED}
    nodes = (f"{v} {{ global: {' '.join(s + ';' for s in sorted(symbols))} }};" for v, symbols in named.items())
    return "\n".join(nodes)


def build(out: Path, versions: dict[str, Symbols]) -> int:
    """Compile one stub; returns its number of symbols."""
    symbols = {name: kind for group in versions.values() for name, kind in group.items()}
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder) / "stub.c", Path(folder) / "stub.map"
        source.write_text(c_source(out.name, symbols))
        command = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-fno-builtin", f"-Wl,-soname,{out.name}"]
        if text := version_script(versions):
            script.write_text(text + "\n")
            command.append(f"-Wl,--version-script,{script}")
        subprocess.run([*command, "-o", str(out), str(source)], check=True)
    return len(symbols)


def main() -> None:
    default = Path(sysconfig.get_paths()["purelib"]) / "torch" / "lib"
    lib = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    if not lib.is_dir():
        raise SystemExit(f"{lib} is not a folder: install torch first")
    for soname, versions in sorted(imports(lib).items()):
        out = lib / soname
        if out.exists() and out.stat().st_size > REAL_LIBRARY_BYTES:
            print(f"{soname:28} kept")
            continue
        n_symbols = build(out, versions)
        print(f"{soname:28} {n_symbols:4} symbols, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
