# The flake's overlay, for expressions that do not go through the flake.
final: prev: { ftd = final.callPackage ../../deploy/nix/package.nix { }; }
