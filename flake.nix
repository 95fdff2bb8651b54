{
  description = "ftd: fine-tunes language models on one GPU machine";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      # The GPUs that the CUDA packages are built for: 12.1 is the DGX Spark's.
      cudaCapabilities = {
        x86_64-linux = [ "8.0" "8.9" "9.0" "10.0" "12.0" ];
        aarch64-linux = [ "9.0" "12.1" ];
      };
      pkgsFor = system: config: import nixpkgs {
        inherit system config;
        overlays = [ self.overlays.default ];
      };
      cpu = system: pkgsFor system { };
      cuda = system: pkgsFor system {
        allowUnfree = true;
        cudaSupport = true;
        cudaCapabilities = cudaCapabilities.${system};
      };
      eachSystem = f: lib.genAttrs (lib.attrNames cudaCapabilities) f;
    in
    {
      overlays.default = final: prev: {
        ftd = final.callPackage ./deploy/nix/package.nix {
          revision = self.shortRev or "unknown";
        };
      };

      packages = eachSystem (system: {
        default = self.packages.${system}.ftd;
        inherit (cpu system) ftd;
        ftd-cuda = (cuda system).ftd;
        ftd-client = (cpu system).ftd.override { withEngine = false; };
      });

      apps = eachSystem (system:
        let
          program = package: name: { type = "app"; program = lib.getExe' package name; };
          command = (cpu system).callPackage ./deploy/nix/command.nix { };
        in
        {
          default = program command "ftd-command";
          ftd = program (cpu system).ftd "ftd";
          ftctl = program (cpu system).ftd "ftctl";
          ft-train = program (cpu system).ftd "ft-train";
        });

      # `nix develop .#pytorch-fine-tune`, the name in NVIDIA's playbook; -cpu where there is no GPU.
      devShells = eachSystem (system: {
        default = self.devShells.${system}.pytorch-fine-tune;
        pytorch-fine-tune = (cuda system).callPackage ./deploy/nix/shell.nix { };
        pytorch-fine-tune-cpu = (cpu system).callPackage ./deploy/nix/shell.nix { };
      });

      nixosModules.default = self.nixosModules.ftd;
      nixosModules.ftd = {
        imports = [ ./deploy/nix/module.nix ];
        nixpkgs.overlays = [ self.overlays.default ];
      };

      checks = eachSystem (system: let pkgs = cpu system; in {
        package = pkgs.ftd;
        tests = pkgs.ftd.override { withTests = true; };
        units = pkgs.callPackage ./deploy/nix/checks/units.nix { inherit nixpkgs self; };
      });
    };
}
