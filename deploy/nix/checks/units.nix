# The unit files of whole NixOS systems with services.ftd, written out to be looked at and given to systemd-analyze.
{ lib, stdenv, runCommand, nixpkgs, self }:
let
  units = settings: (nixpkgs.lib.nixosSystem {
    inherit (stdenv.hostPlatform) system;
    modules = [
      self.nixosModules.ftd
      {
        services.ftd = { enable = true; } // settings;
        system.stateVersion = "25.11";
        boot.isContainer = true;
      }
    ];
  }).config.systemd.units;
  cases = {
    plain = { };
    cpu = { gpu = false; };
    full = {
      socketActivation = true;
      huggingFaceTokenFile = "/run/secrets/hf-token";
      environmentFile = "/run/secrets/ftd.env";
      conflictsWith = [ "vllm.service" ];
      hooks.beforeStart = "true";
      hooks.afterStop = "true";
      settings = { max_queued = 3; models.house = "/srv/models/house"; };
    };
  };
  files = lib.concatMap
    (name: map (unit: { inherit name unit; inherit ((units cases.${name}).${unit}) text; })
      ([ "ftd.service" ] ++ lib.optional (cases.${name}.socketActivation or false) "ftd.socket"))
    (lib.attrNames cases);
in
runCommand "ftd-units" { } (lib.concatMapStringsSep "\n"
  (file: ''
    mkdir -p $out/${file.name}
    cat > $out/${file.name}/${file.unit} <<'END-OF-UNIT'
    ${file.text}
    END-OF-UNIT
  '')
  files)
