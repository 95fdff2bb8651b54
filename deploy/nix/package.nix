# ftd with its worker and clients.
#   ftd.override { cudaSupport = true; }    LibTorch with CUDA and the engine's own kernels
#   ftd.override { withEngine = false; }    without ft-worker and LibTorch: a client, or a host that only queues
#   ftd.override { withTests = true; }      builds and runs the C++ tests as well
{
  lib,
  config,
  stdenv,
  cudaPackages,
  python3Packages,
  autoAddDriverRunpath,
  cmake,
  ninja,
  pkg-config,
  abseil-cpp,
  arrow-cpp,
  civetweb,
  cli11,
  curl,
  grpc,
  gtest,
  nlohmann_json,
  openssl,
  pcre2,
  prometheus-cpp,
  protobuf,
  sqlite,
  systemdLibs,
  tomlplusplus,
  utf8proc,
  yaml-cpp,
  zlib,
  zstd,
  cudaSupport ? config.cudaSupport or false,
  withEngine ? true,
  withTests ? false,
  revision ? "unknown",
}:
let
  inherit (python3Packages) python googleapis-common-protos;
  torch = python3Packages.torch.override { inherit cudaSupport; };
  withCuda = withEngine && cudaSupport;
  root = ../..;
  # What the build reads, and nothing else: a change of the documents builds nothing anew.
  sources = [
    ../../CMakeLists.txt
    ../../LICENSE
    ../../VERSION
    ../../lib
    ../../client
    ../../cmake
    (lib.fileset.difference ../../deploy ../../deploy/nix)
    ../../examples/fen.jsonl
    ../../proto
    ../../server
    ../../worker
  ] ++ lib.optional withTests ../../tests;
in
(if withCuda then cudaPackages.backendStdenv else stdenv).mkDerivation {
  pname = "ftd";
  version = lib.fileContents ../../VERSION;
  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions sources;
  };
  strictDeps = true;

  nativeBuildInputs = [
    cmake
    ninja
    pkg-config
    grpc # grpc_cpp_plugin
    protobuf # protoc
    python
  ] ++ lib.optionals withCuda [
    autoAddDriverRunpath
    cudaPackages.cuda_nvcc
  ];

  buildInputs = [
    abseil-cpp
    civetweb
    cli11
    curl
    grpc
    nlohmann_json
    openssl
    pcre2
    prometheus-cpp
    protobuf
    sqlite
    systemdLibs
    tomlplusplus
    utf8proc
    yaml-cpp
    zlib
    zstd
  ] ++ lib.optionals withEngine [
    arrow-cpp
    torch
  ] ++ lib.optionals withCuda [
    cudaPackages.cuda_cccl # <nv/target>
    cudaPackages.cuda_cudart
  ] ++ lib.optionals withTests [
    gtest
  ];

  cmakeBuildType = "RelWithDebInfo"; # as it is tested and measured
  cmakeFlags = [
    # protobuf's own file knows that it needs Abseil; CMake's module does not.
    (lib.cmakeBool "CMAKE_FIND_PACKAGE_PREFER_CONFIG" true)
    (lib.cmakeFeature "FTD_PYTHON" "${python}/bin/python3")
    (lib.cmakeFeature "FTD_GOOGLEAPIS" "${googleapis-common-protos}/${python.sitePackages}")
    (lib.cmakeFeature "FTD_REVISION" revision)
    (lib.cmakeBool "FTD_TESTS" withTests)
    (lib.cmakeBool "FTD_WORKER" withEngine)
    (lib.cmakeBool "FTD_ARROW" withEngine)
    (lib.cmakeFeature "FTD_CUDA" (if withCuda then "ON" else "OFF"))
  ] ++ lib.optionals withEngine [
    (lib.cmakeFeature "FTD_TORCH_DIR" "${torch}/${python.sitePackages}/torch")
    (lib.cmakeFeature "FTD_ARROW_DIR" "${arrow-cpp}")
  ] ++ lib.optionals withCuda [
    (lib.cmakeFeature "CMAKE_CUDA_ARCHITECTURES" cudaPackages.flags.cmakeCudaArchitecturesString)
  ];

  doCheck = withTests;
  checkPhase = ''
    runHook preCheck
    ctest -L cpp --output-on-failure -j "$NIX_BUILD_CORES"
    runHook postCheck
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck
    $out/bin/ftd --version | grep -F "${revision}"
    $out/bin/ftctl help > /dev/null
  '' + lib.optionalString withEngine ''
    $out/bin/ft-worker --version
    $out/bin/ft-train llama3-8b-lora --help > /dev/null
  '' + ''
    HOME=$TMPDIR $out/bin/ftd --check-config
    runHook postInstallCheck
  '';

  passthru = { inherit cudaSupport withEngine; };

  meta = {
    description = "Fine-tuning service for one GPU machine";
    license = lib.licenses.asl20;
    mainProgram = "ftctl";
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
