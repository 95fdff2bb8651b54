{
  description = "Stand-in for nixpkgs, made of this machine's own packages: just what ftd's flake uses of it";
  outputs = { self }: {
    lib = import ./lib.nix // { nixosSystem = import ./nixos.nix; };
    legacyPackages.x86_64-linux = import ./. { system = "x86_64-linux"; };
    legacyPackages.aarch64-linux = import ./. { system = "aarch64-linux"; };
  };
}
