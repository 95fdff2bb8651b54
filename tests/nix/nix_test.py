"""flake.nix and deploy/nix, layer by layer, in Nix's real sandbox: offline, from an empty store.

What only nixpkgs itself can show is not shown here: that its packages have these names, and that ftd compiles with their
versions. README.md says so.
"""
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest
from nix_box import REPO, SYSTEM, NixBox

BUILD = pathlib.Path(os.environ.get("FTD_BUILD_DIR", REPO / "build"))
PACKAGE = f"packages.{SYSTEM}.ftd"
EXPOSURE = 20  # tenths


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    box = NixBox(tmp_path_factory.mktemp("nix"))
    yield box
    box.close()


@pytest.fixture(scope="module")
def package(box):
    """ftd without the engine, compiled in the sandbox."""
    return box.build(PACKAGE)


@pytest.fixture(scope="module")
def units(box, package):
    return box.build(f"checks.{SYSTEM}.units")


def nix_files():
    return sorted([REPO / "flake.nix", *(REPO / "deploy").rglob("*.nix"), *(REPO / "tests/nix").rglob("*.nix")])


def test_every_file_parses(box):
    assert len(nix_files()) > 8
    for file in nix_files():
        box.checked("nix-instantiate", "--parse", file)


def test_a_syntax_error_is_seen(box, tmp_path):
    (tmp_path / "bad.nix").write_text("{ a = 1 }")
    assert box.run("nix-instantiate", "--parse", tmp_path / "bad.nix").returncode != 0


def test_the_lock_fits_the_flake(box, tmp_path):
    flake = tmp_path / "flake"
    flake.mkdir()
    for name in ("flake.nix", "flake.lock"):
        shutil.copy(REPO / name, flake)
    metadata = ["nix", "flake", "metadata", "--no-update-lock-file", "--json", f"path:{flake}"]
    locked = json.loads(box.checked(*metadata))["locks"]["nodes"]["nixpkgs"]["locked"]
    assert re.fullmatch("[0-9a-f]{40}", locked["rev"]) and locked["narHash"].startswith("sha256-")
    text = (flake / "flake.nix").read_text()
    (flake / "flake.nix").write_text(text.replace("nixos-unstable", "nixos-25.11"))
    assert box.run(*metadata).returncode != 0  # it would have to ask the network for another lock


def test_the_module_s_options(box):
    """tests/nix/module_test.nix: some fifty cases, half of them refusals."""
    result = json.loads(box.checked("nix-instantiate", "--eval", "--strict", "--json", "-E",
                                    f"import {box.source}/tests/nix/module_test.nix {{ }}"))
    assert result["failed"] == [] and result["passed"] >= 50


def test_the_flake_s_outputs(box):
    shown = json.loads(box.checked(*box.flake("flake show", "", "--json")))
    for system in ("x86_64-linux", "aarch64-linux"):
        assert set(shown["packages"][system]) == {"default", "ftd", "ftd-cuda", "ftd-client"}
        assert set(shown["devShells"][system]) == {"default", "pytorch-fine-tune", "pytorch-fine-tune-cpu"}
        assert set(shown["apps"][system]) == {"default", "ftd", "ftctl", "ft-train"}
        assert set(shown["checks"][system]) == {"package", "tests", "units"}
    assert set(shown["nixosModules"]) == {"default", "ftd"} and set(shown["overlays"]) == {"default"}


@pytest.mark.parametrize("system,architectures", [("x86_64-linux", "80;89;90;100;120"), ("aarch64-linux", "90;121")])
def test_the_cuda_packages(box, system, architectures):
    """With the engine, as nixpkgs would build them; here only the derivation is made."""
    flags = box.evaluate(f"packages.{system}.ftd-cuda", "p: (p.override { withEngine = true; }).cmakeFlags")
    assert "-DFTD_CUDA:STRING=ON" in flags and "-DFTD_WORKER:BOOL=TRUE" in flags
    assert f"-DCMAKE_CUDA_ARCHITECTURES:STRING={architectures}" in flags
    flags = box.evaluate(f"packages.{system}.ftd", "p: (p.override { withEngine = true; }).cmakeFlags")
    assert "-DFTD_CUDA:STRING=OFF" in flags and "-DFTD_WORKER:BOOL=TRUE" in flags


# --- every dependency that CMake looks for is an input of the derivation ---

INPUT_OF = {  # find_package and pkg-config names -> nixpkgs' package, as the derivation's input names it
    "absl": "abseil-cpp", "gRPC": "grpc", "Protobuf": "protobuf", "nlohmann_json": "nlohmann_json", "SQLite3": "sqlite",
    "civetweb": "civetweb", "prometheus-cpp": "prometheus-cpp", "CLI11": "cli11", "OpenSSL": "openssl", "CURL": "curl", "ZLIB": "zlib",
    "PkgConfig": "pkg-config", "GTest": "gtest", "libpcre2-8": "pcre2", "libutf8proc": "utf8proc", "libzstd": "zstd",
    "tomlplusplus": "tomlplusplus", "yaml-cpp": "yaml-cpp", "libsystemd": "systemd-libs",
}
BUILT_IN = {"Threads"}


def dependencies(tree):
    """What the CMake files below `tree` look for."""
    files = [path for path in tree.rglob("*") if path.name == "CMakeLists.txt" or path.suffix == ".cmake"]
    for path in files:
        text = re.sub(r"#.*", "", path.read_text())
        yield from (match[1] for match in re.finditer(r"find_package\(\s*([\w-]+)", text))
        for match in re.finditer(r"pkg_check_modules\(\s*\w+\s+([^)]*)\)", text):
            yield from (re.split("[<>=]", word)[0] for word in match[1].split() if not word.isupper())


def missing(tree, inputs):
    return {name for name in set(dependencies(tree)) - BUILT_IN if INPUT_OF.get(name, f"unknown: {name}") not in inputs}


def inputs_of(box):
    names = box.evaluate(PACKAGE, "p: map (i: i.name) (let q = p.override { withEngine = true; withTests = true; }; in "
                                  "q.buildInputs ++ q.nativeBuildInputs)")
    return set(names)


def test_every_dependency_is_an_input(box):
    assert len(set(dependencies(box.source))) > 15
    assert missing(box.source, inputs_of(box)) == set()


def test_a_planted_omission_is_found(box, tmp_path):
    package = box.source / "deploy/nix/package.nix"
    text = package.read_text()
    try:
        package.write_text(text.replace("    utf8proc\n", "", 1))
        assert missing(box.source, inputs_of(box)) == {"libutf8proc"}
    finally:
        package.write_text(text)
    (tmp_path / "CMakeLists.txt").write_text("find_package(Boost REQUIRED)\npkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv>=1)")
    assert missing(tmp_path, inputs_of(box)) == {"Boost", "libuv"}


# --- what is built ---

def test_the_package(package):
    programs = {path.name for path in (package / "bin").iterdir()}
    assert programs == {"ftd", "ftctl", "ftctl-hub"}
    printed = subprocess.run([package / "bin/ftctl", "--version"], check=True, capture_output=True, text=True).stdout
    assert printed == f"ftctl {(REPO / 'VERSION').read_text()}"
    unit = (package / "lib/systemd/system/ftd.service").read_text()
    assert re.search(r"^ExecStart=/nix/store/\w+-ftd-[\d.]+/bin/ftd$", unit, re.MULTILINE)
    assert os.access(package / "libexec/ftd/reap-workers", os.X_OK)
    for file in ("man/man8/ftd.8", "man/man1/ftctl.1", "bash-completion/completions/ftctl", "zsh/site-functions/_ftctl",
                 "fish/vendor_completions.d/ftctl.fish"):
        assert (package / "share" / file).stat().st_size > 1000, file


def test_the_package_depends_on_its_sources_alone(box):
    before = box.evaluate(f"{PACKAGE}.drvPath")
    document = box.source / "README.md"
    text = document.read_text()
    try:
        document.write_text(text + "\n")
        assert box.evaluate(f"{PACKAGE}.drvPath") == before
    finally:
        document.write_text(text)
    source = box.source / "server/host/log.cc"
    text = source.read_text()
    try:
        source.write_text(text + "\n")
        assert box.evaluate(f"{PACKAGE}.drvPath") != before
    finally:
        source.write_text(text)


def test_the_units_satisfy_systemd(units, tmp_path):
    found = sorted(units.glob("*/ftd.service"))
    assert {path.parent.name for path in found} == {"plain", "cpu", "full"}
    for path in found:
        # The store is not at its place outside the box: programs are put beside.
        text = re.sub(r"/nix/store/[\w.-]+/(bin|libexec/ftd)/[\w-]+", "/bin/true", path.read_text())
        text = re.sub(r"\+/nix/store/\S+", "+/bin/true", text)
        unit = tmp_path / path.parent.name / "ftd.service"
        unit.parent.mkdir()
        unit.write_text(text)
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
        assert (verified.returncode, verified.stdout + verified.stderr) == (0, ""), path
        judged = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}",
                                 unit], capture_output=True, text=True)
        assert judged.returncode == 0, judged.stdout[-300:]


def directives(text):
    """Section, key and value of a unit's lines; lists in one line or in several are the same."""
    section, found = "", set()
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            value = {"true": "yes", "false": "no"}.get(value, value)
            words = value.split() if key in ("RestrictAddressFamilies", "After", "Wants") else [value]
            found |= {(section, key, word) for word in words or [""]}
    return found


def test_the_module_s_unit_is_the_other_distributions_unit(units):
    """They are written twice, because each must be read where it is; they may differ in what is listed here."""
    differing = {"ExecStart", "ExecReload", "ExecStopPost", "Environment", "EnvironmentFile", "LoadCredential",
                 "WorkingDirectory", "X-Reload-Triggers", "Description"}
    plain = directives((REPO / "deploy/systemd/ftd.service").read_text())
    module = directives((units / "plain/ftd.service").read_text())
    assert {entry for entry in plain ^ module if entry[1] not in differing} == set()


@pytest.mark.parametrize("settings,word", [
    ("max_queue = 3", "max_queued"), ("max_queued = 0", "max_queued must be 1"),
    ('listen = [ "0.0.0.0:notaport" ]', "notaport"), ('models.a = "not/a/repo/name"', "models.a"),
])
def test_bad_settings_fail_the_build(box, package, settings, word):
    system = (f'(import {box.stand_in}/nixos.nix {{ system = "{SYSTEM}"; modules = [ {box.source}/deploy/nix/module.nix '
              f'{{ nixpkgs.overlays = [ (import {box.source}/tests/nix/overlay.nix) ]; services.ftd.enable = true; '
              f'services.ftd.settings = {{ {settings}; }}; }} ]; }})')
    built = box.run("nix", "build", "--impure", "--no-link", "--expr", f'{system}.config.environment.etc."ftd/ftd.toml".source')
    assert built.returncode != 0 and word in built.stderr, built.stderr[-2000:]


@pytest.mark.parametrize("shell", ["pytorch-fine-tune", "pytorch-fine-tune-cpu"])
def test_the_development_shell(box, package, shell):
    said = box.checked(*box.flake("develop", shell, "--command", "bash", "-ec",
                                  'ftctl --version; echo "HF_HOME $HF_HOME"; for s in "$LLAMA3_8B_LORA_SCRIPT" '
                                  '"$LLAMA3_3B_FULL_SCRIPT" "$LLAMA3_70B_QLORA_SCRIPT"; do test -x "$s"; echo "script $s"; done'))
    assert said.startswith("ftctl ") and f"HF_HOME {box.environment['HOME']}/.cache/huggingface" in said
    presets = [check_script(box, script) for script in re.findall("script (.*)", said)]
    assert presets == ["llama3-8b-lora", "llama3-3b-full", "llama3-70b-qlora"]


def check_script(box, script):
    """A script of the shell, run with the ft-train of this build in the place of the store's."""
    path = box.outside(script)
    assert path.stat().st_mode & stat.S_IXUSR
    text, count = re.subn(r"/nix/store/\w+-ftd-[\d.]+/bin/ft-train", str(BUILD / "bin/ft-train"), path.read_text())
    assert count == 1
    helped = subprocess.run(["sh", "-c", text, "sh", "--help"], check=True, capture_output=True, text=True)
    assert "--dataset_size" in helped.stdout
    return re.search(r"ft-train (\S+)", text)[1]


def test_nix_run(box, package):
    assert "submit" in box.checked(*box.flake("run", "default", "--", "help"))
    assert box.checked(*box.flake("run", "ftd", "--", "--version")).startswith("ftd ")
