# What services.ftd makes of its options: nix-instantiate --eval --strict module_test.nix -> { passed; failed = [ names ]; }
# With --arg nixpkgs, a tree whose lib.nix is nixpkgs' own lib, it shows that the stand-in's behaves the same.
{ nixpkgs ? ./stand-in }:
let
  lib = import (nixpkgs + "/lib.nix");
  machine = modules: (import (nixpkgs + "/nixos.nix")) {
    system = "x86_64-linux";
    modules = [
      ../../deploy/nix/module.nix
      { nixpkgs.overlays = [ (final: prev: { ftd = final.runCommand "ftd" { } "mkdir -p $out/bin; touch $out/bin/ftd"; }) ]; }
    ] ++ modules;
  };
  ftd = settings: (machine [{ services.ftd = { enable = true; } // settings; }]).config;
  text = settings: builtins.unsafeDiscardStringContext (ftd settings).systemd.units."ftd.service".text;
  socket = settings: builtins.unsafeDiscardStringContext (ftd settings).systemd.units."ftd.socket".text;
  lines = lib.splitString "\n";
  has = line: settings: builtins.elem line (lines (text settings));
  evaluates = v: (builtins.tryEval (builtins.deepSeq v true)).success;
  refused = settings: !evaluates (text settings);
  inStore = "${builtins.storeDir}/xyz-token";
  ports = settings: (ftd ({ openFirewall = true; } // settings)).networking.firewall.allowedTCPPorts;
  two = a: b: (machine [{ services.ftd = { enable = true; settings = a; }; } { services.ftd.settings = b; }]).config.services.ftd.settings;

  tests = {
    "off by default" = let c = (machine [ ]).config; in c.systemd.services == { } && c.users.users == { } && c.environment.etc == { };
    "a static user and group by default" =
      let c = ftd { }; in c.users.users.ftd.group == "ftd" && c.users.groups ? ftd && has "User=ftd" { } && has "Group=ftd" { };
    "another user is the operator's to declare" = (ftd { user = "ml"; }).users.users == { } && has "User=ml" { user = "ml"; };
    "another group" = (ftd { group = "ml"; }).users.groups ? ml && has "Group=ml" { group = "ml"; };
    "no dynamic user" = !(lib.hasInfix "DynamicUser" (text { }));

    "a token from the store is refused" = refused { huggingFaceTokenFile = inStore; };
    "a token's path literal is refused when it is in the store" = refused { huggingFaceTokenFile = /. + inStore; };
    "a path literal is not copied into the store" =
      has "LoadCredential=hf-token:/etc/hostname" { huggingFaceTokenFile = /etc/hostname; };
    "the token becomes a credential" = has "LoadCredential=hf-token:/run/secrets/t" { huggingFaceTokenFile = "/run/secrets/t"; };
    "a relative token path is refused" = refused { huggingFaceTokenFile = "token"; };
    "no credential without a token" = !(lib.hasInfix "LoadCredential" (text { }));
    "an environment file from the store is refused" = refused { environmentFile = inStore; };
    "an environment file" = has "EnvironmentFile=/run/secrets/e" { environmentFile = "/run/secrets/e"; };
    "a setting that names a key in the store is refused" = refused { settings.tls_key = inStore; };
    "a setting that names a key elsewhere is not" = evaluates (text { settings.tls_key = "/run/secrets/key.pem"; });

    "an unknown option is refused" = refused { nosuch = 1; };
    "a wrong type is refused" = refused { settings.listen = 7; };
    "a value out of range is refused" = refused { settings.stop_grace_seconds = 86401; };
    "a setting that TOML has no word for is refused" = refused { settings.max_queued = null; };
    "settings are free-form" = (ftd { settings.max_queued = 3; }).services.ftd.settings.max_queued == 3;
    "two different values of one setting conflict" = !evaluates (two { a = 1; } { a = 2; });
    "mkForce wins" = (two { metrics_listen = "off"; } { metrics_listen = lib.mkForce "127.0.0.1:1"; }).metrics_listen == "127.0.0.1:1";
    "mkDefault loses" = (two { x = lib.mkDefault 1; } { x = 2; }).x == 2;
    "lists of two modules are joined" = builtins.length (two { listen = [ "unix:/a" ]; } { listen = [ "unix:/b" ]; }).listen == 2;

    "the settings are checked when the system is built" =
      let source = (ftd { }).environment.etc."ftd/ftd.toml".source; in lib.hasInfix "--check-config" source.script;
    "unless this is switched off" = !((ftd { checkConfig = false; }).environment.etc."ftd/ftd.toml".source ? script);
    "other settings are a reload, not a restart" =
      let
        but = s: lib.filter (l: !(lib.hasPrefix "X-Reload-Triggers=" l)) (lines (text s));
        trigger = s: lib.filter (lib.hasPrefix "X-Reload-Triggers=") (lines (text s));
      in
      but { } == but { settings.max_queued = 3; } && trigger { } != trigger { settings.max_queued = 3; };
    "a longer grace is more time to stop" = has "TimeoutStopSec=630s" { settings.stop_grace_seconds = 600; };
    "another state directory is writable" = has "ReadWritePaths=/srv/ftd" { settings.state_dir = "/srv/ftd"; }
      && !(lib.hasInfix "ReadWritePaths" (text { }));

    "no NVIDIA devices without gpu" =
      !(lib.hasInfix "char-nvidia" (text { gpu = false; })) && has "PrivateDevices=true" { gpu = false; };
    "the GPU by default" = has "DeviceAllow=char-nvidia-uvm rw" { } && has "PrivateDevices=false" { } && has "DevicePolicy=closed" { };
    "nothing that breaks LibTorch" = !(lib.hasInfix "MemoryDenyWriteExecute" (text { }));

    "no socket by default" = (ftd { }).systemd.sockets == { };
    "socket activation" = lib.hasInfix "ListenStream=/run/ftd/ftd.sock\n" (socket { socketActivation = true; })
      && lib.hasInfix "SocketGroup=ml\n" (socket { socketActivation = true; group = "ml"; });
    "one address is not held twice" = refused { socketActivation = true; settings.listen = [ "unix:/run/ftd/ftd.sock" ]; };

    "the firewall stays shut" = (ftd { settings.listen = [ "0.0.0.0:7443" ]; }).networking.firewall.allowedTCPPorts == [ ];
    "openFirewall opens what is public" =
      ports { settings = { listen = [ "unix:/a" "0.0.0.0:7443" "[::]:7000" "127.0.0.1:1" ]; metrics_listen = "0.0.0.0:7444"; }; }
      == [ 7443 7000 7444 ];
    "openFirewall opens nothing on loopback" = ports { } == [ ] && ports { settings.metrics_listen = "off"; } == [ ];
    "a port out of range is refused" = !evaluates (ports { settings.listen = [ "0.0.0.0:70000" ]; });

    "who needs the same GPU" =
      let s = { conflictsWith = [ "vllm.service" ]; }; in
      has "Conflicts=vllm.service" s && lib.hasInfix "After=network-online.target nvidia-persistenced.service vllm.service" (text s);
    "no conflicts by default" = !(lib.hasInfix "Conflicts=" (text { }));
    "hooks are root's, outside the sandbox" =
      let s = { hooks.beforeStart = "true"; hooks.afterStop = "true"; }; in
      lib.hasInfix "ExecStartPre=+${builtins.storeDir}" (text s) && lib.hasInfix "ExecStopPost=+${builtins.storeDir}" (text s);
    "no hooks by default" = !(lib.hasInfix "ExecStartPre" (text { }));
    "the reaper runs before the hook" =
      builtins.match ".*ExecStopPost=[^\n]*reap-workers\nExecStopPost=[+].*" (text { hooks.afterStop = "true"; }) != null;

    "another module can add to the unit" =
      lib.hasInfix "Nice=5" (machine [{ services.ftd.enable = true; systemd.services.ftd.serviceConfig.Nice = 5; }]).config.systemd.units."ftd.service".text;
    "another module can replace a setting of the unit" =
      lib.hasInfix "Restart=always" (machine [{ services.ftd.enable = true; systemd.services.ftd.serviceConfig.Restart = lib.mkForce "always"; }]).config.systemd.units."ftd.service".text;
    # NixOS has no /bin but /bin/sh, and no /usr/bin but env
    "each program of the unit is in the store" =
      let
        execs = lib.filter (l: builtins.match "Exec[A-Za-z]*=.*" l != null)
          (lines (text { hooks.beforeStart = "true"; hooks.afterStop = "true"; }));
      in
      builtins.length execs == 5
      && lib.filter (l: builtins.match "Exec[A-Za-z]*=[-+!@:]*${builtins.storeDir}/.*" l == null) execs == [ ];

    "prometheus is left alone" = (ftd { }).services.prometheus.scrapeConfigs == [ ];
    "prometheus scrapes the metrics address" =
      (builtins.head (ftd { prometheus.enable = true; settings.metrics_listen = "127.0.0.1:99"; }).services.prometheus.scrapeConfigs).static_configs == [{ targets = [ "127.0.0.1:99" ]; }];
    "prometheus without metrics is refused" = refused { prometheus.enable = true; settings.metrics_listen = "off"; };
    "prometheus gets the rules" = (ftd { prometheus.enable = true; }).services.prometheus.ruleFiles == [ ../../deploy/prometheus/rules.yml ];
    "prometheus calls the job as the rules do" = (builtins.head (ftd { prometheus.enable = true; }).services.prometheus.scrapeConfigs).job_name == "ftd";
    "grafana is left alone" = !(ftd { }).services.grafana.provision.enable;
    "grafana gets the dashboard" =
      let
        provision = (ftd { grafana.enable = true; }).services.grafana.provision;
        folder = (builtins.head provision.dashboards.settings.providers).options.path;
      in
      provision.enable && lib.attrNames (builtins.readDir folder) == [ "ftd.json" ];
    "every option has a description" =
      let options = (machine [ ]).options.services.ftd; in
      lib.filter (n: lib.isOption options.${n} && !(options.${n} ? description)) (lib.attrNames options) == [ ];
  };
  failed = lib.filter (n: tests.${n} != true) (lib.attrNames tests);
in
{ passed = builtins.length (lib.attrNames tests) - builtins.length failed; inherit failed; }
