# Stand-in for `import nixpkgs { ... }`. Compilers and libraries are Debian's, seen through Nix's sandbox-paths; a
# program is on PATH only if the derivation lists the package that has it, as with the real stdenv.
# /host and /nix/host (sandbox paths as well) hold what else a build gets from this machine; see tests/nix/nix_box.py.
{ system ? builtins.currentSystem, overlays ? [ ], config ? { } }:
let
  lib = import ./lib.nix;
  inherit (builtins) functionArgs intersectAttrs isFunction;

  fix = f: let x = f x; in x;
  extends = overlay: base: final: let prev = base final; in prev // overlay final prev;

  raw = args: derivation ({ inherit system; builder = "/bin/bash"; PATH = "/usr/bin:/bin"; } // args);
  # A package whose programs are links to Debian's. `links`: further ones, "PATH=TARGET".
  host = name: programs: hostWith name programs [ ];
  hostWith = name: programs: links: raw
    {
      inherit name programs links;
      pname = name;
      args = [
        "-ec"
        ''
          mkdir -p $out/bin
          for p in $programs; do
            [ -x /usr/bin/$p ] || { echo "Debian's $p is missing" >&2; exit 1; }
            ln -s /usr/bin/$p $out/bin/$p
          done
          for l in $links; do mkdir -p $(dirname $out/''${l%%=*}); ln -s ''${l#*=} $out/''${l%%=*}; done
        ''
      ];
    } // { override = _: hostWith name programs links; };

  base = final: {
    inherit lib config system;
    # Offered as an argument to the package, whose engine would need LibTorch: the stand-in has it only where a test
    # has put a file of this name beside.
    withEngine = builtins.pathExists ./engine;

    callPackage = f: extra:
      let
        fn = if isFunction f then f else import f;
        wanted = functionArgs fn;
        auto = intersectAttrs wanted final;
        given = auto // extra;
        missing = builtins.filter (n: !wanted.${n} && !(given ? ${n})) (builtins.attrNames wanted);
        unknown = builtins.attrNames (removeAttrs extra (builtins.attrNames wanted));
      in
      if missing != [ ] then throw "callPackage: the stand-in nixpkgs has no `${builtins.head missing}'"
      else if unknown != [ ] then throw "callPackage: unexpected argument `${builtins.head unknown}'"
      else fn given // { override = changed: final.callPackage f (extra // changed); };

    stdenv = {
      hostPlatform = { inherit system; isLinux = true; isAarch64 = system == "aarch64-linux"; isx86_64 = system == "x86_64-linux"; };
      mkDerivation = a:
        let
          attrs = if isFunction a then a (attrs // { finalPackage = drv // attrs; }) else a;
          drv = raw (removeAttrs attrs [ "meta" "passthru" ] // {
            name = attrs.name or "${attrs.pname}-${attrs.version}";
            args = [ ./setup.sh ];
            src = if attrs ? src then "${attrs.src}" else "";
            # the programs of the real stdenv, and mold, which makes the tests shorter
            base = host "base" (lib.splitString " " "bash sh cat cp chmod mkdir mv rm ln ls install touch head tail tr sort uniq wc cut date dirname basename env expr id nproc pwd readlink realpath mktemp sleep stat tee test true false uname find xargs diff cmp sed grep egrep awk tar gzip make patch file gcc g++ cc c++ cpp ld ld.mold ar as nm ranlib strip objcopy objdump readelf");
          });
        in
        drv // (attrs.passthru or { }) // { inherit (attrs) version pname; meta = attrs.meta or { }; };
    };

    # (exit 0 keeps the shell: Nix kills a builder whose last process closes its output before it ends)
    writeText = name: text: raw { inherit name text; passAsFile = [ "text" ]; args = [ "-ec" "cp $textPath $out; exit 0" ]; };
    runCommand = name: env: script: raw (env // { inherit name script; passAsFile = (env.passAsFile or [ ]) ++ [ "script" ]; args = [ "-e" "-c" ". $scriptPath; exit 0" ]; });
    writeShellScript = name: text: final.runCommand name { inherit text; passAsFile = [ "text" ]; }
      "{ echo '#!/bin/sh'; cat $textPath; } > $out; chmod +x $out";
    writeShellScriptBin = name: text: final.runCommand name { inherit text; passAsFile = [ "text" ]; }
      "mkdir -p $out/bin; { echo '#!/bin/sh'; cat $textPath; } > $out/bin/${name}; chmod +x $out/bin/${name}";
    formats.toml = { }: {
      type = with lib.types; let v = oneOf [ bool int float str path (listOf v) (attrsOf v) ] // { name = "TOML value"; }; in v;
      generate = name: value:
        let
          inherit (builtins) isAttrs isList toJSON attrNames;
          show = v: if isList v then "[${lib.concatMapStringsSep ", " show v}]" else toJSON v;
          pairs = a: lib.concatLines (map (n: "${toJSON n} = ${show a.${n}}") (lib.filter (n: !isAttrs a.${n}) (attrNames a)));
          tables = lib.filter (n: isAttrs value.${n}) (attrNames value);
        in
        final.writeText name (pairs value + lib.concatMapStringsSep "" (n: "[${toJSON n}]\n${pairs value.${n}}") tables);
    };
    mkShell = a: raw (removeAttrs a [ "packages" "inputsFrom" "meta" ] // {
      name = "shell";
      outputs = [ "out" ]; # as mkDerivation sets; `nix develop` reads it
      nativeBuildInputs = (a.packages or [ ]) ++ lib.concatMap (p: p.nativeBuildInputs or [ ]) (a.inputsFrom or [ ]);
      buildInputs = lib.concatMap (p: p.buildInputs or [ ]) (a.inputsFrom or [ ]);
      args = [ "-ec" "export > $out" ];
      stdenv = ./shell; # `nix develop` sources $stdenv/setup
      shellHook = a.shellHook or "";
    });

    bashInteractive = host "bash-interactive" [ "bash" ]; # what `nix develop` starts
    cmake = host "cmake" [ "cmake" "ctest" ];
    coreutils = host "coreutils" (lib.splitString " " "cat cp env kill ls mkdir mv rm sleep test touch true");
    findutils = host "findutils" [ "find" "xargs" ];
    gnugrep = host "gnugrep" [ "grep" ];
    gnused = host "gnused" [ "sed" ];
    ninja = host "ninja" [ "ninja" ];
    pkg-config = host "pkg-config" [ "pkg-config" ];
    systemd = host "systemd" [ "systemctl" "systemd-notify" ];

    grpc = host "grpc" [ "grpc_cpp_plugin" ];
    protobuf = host "protobuf" [ "protoc" ];
    openssl = host "openssl" [ "openssl" ];
    sqlite = host "sqlite" [ ];
    systemdLibs = host "systemd-libs" [ ];
    abseil-cpp = host "abseil-cpp" [ ];
    civetweb = host "civetweb" [ ];
    cli11 = host "cli11" [ ];
    curl = host "curl" [ ];
    gtest = host "gtest" [ ];
    nlohmann_json = host "nlohmann_json" [ ];
    pcre2 = host "pcre2" [ ];
    prometheus-cpp = host "prometheus-cpp" [ ];
    tomlplusplus = host "tomlplusplus" [ ];
    utf8proc = host "utf8proc" [ ];
    yaml-cpp = host "yaml-cpp" [ ];
    zlib = host "zlib" [ ];
    zstd = host "zstd" [ ];

    arrow-cpp = hostWith "arrow-cpp" [ ] [ "include=/nix/host/site-packages/pyarrow/include" "lib=/nix/host/site-packages/pyarrow" ];
    autoAddDriverRunpath = host "auto-add-driver-runpath" [ ];
    cudaPackages = {
      backendStdenv = final.stdenv;
      cuda_nvcc = host "cuda_nvcc" [ ];
      cuda_cccl = host "cuda_cccl" [ ];
      cuda_cudart = host "cuda_cudart" [ ];
      flags.cmakeCudaArchitecturesString =
        lib.concatMapStringsSep ";" (builtins.replaceStrings [ "." ] [ "" ]) (config.cudaCapabilities or [ "8.0" ]);
    };
    python3Packages = {
      python = host "python3" [ "python3" ] // { sitePackages = "lib/python3/site-packages"; };
      googleapis-common-protos = hostWith "googleapis-common-protos" [ ] [ "lib/python3/site-packages=/nix/host/site-packages" ];
      torch = hostWith "torch" [ ] [ "lib/python3/site-packages=/nix/host/site-packages" ];
    };
  };
in
fix (lib.foldl' (f: o: extends o f) base overlays)
