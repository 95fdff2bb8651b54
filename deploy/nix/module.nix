# services.ftd: the NixOS twin of deploy/systemd/ftd.service, whose comments say why a directive is there.
{ config, lib, pkgs, ... }:
let
  inherit (lib) types mkOption mkIf;
  cfg = config.services.ftd;
  format = pkgs.formats.toml { };
  stateDir = "/var/lib/ftd";
  cacheDir = "/var/cache/ftd";
  ownAccount = cfg.user == "ftd";
  inStore = path: path != null && lib.hasPrefix builtins.storeDir (toString path);

  # Bad settings fail the build of the system, not the start of the service.
  configFile =
    let written = format.generate "ftd.toml" cfg.settings; in
    if !cfg.checkConfig then written
    else pkgs.runCommand "ftd.toml" { } ''
      HOME=$TMPDIR ${lib.getExe' cfg.package "ftd"} --check-config --config ${written}
      cp ${written} $out
    '';

  # Every settings path that looks like a secret, by name.
  secrets = lib.filterAttrs (name: value: builtins.match ".*(key|token|secret|password).*" name != null && lib.isString value)
    cfg.settings;

  isLocal = address: lib.hasPrefix "unix:" address || lib.hasPrefix "127." address || lib.hasPrefix "localhost:" address
    || lib.hasPrefix "[::1]:" address || address == "off";
  port = address: lib.toInt (lib.last (lib.splitString ":" address));
  publicPorts = map port (lib.filter (address: !isLocal address) (cfg.settings.listen ++ [ cfg.settings.metrics_listen ]));

  hook = name: text: lib.optional (text != "") "+${pkgs.writeShellScript "ftd-${name}" text}";
in
{
  options.services.ftd = {
    enable = lib.mkEnableOption "ftd, the fine-tuning service";
    package = lib.mkPackageOption pkgs "ftd" { };

    user = mkOption {
      type = types.str;
      default = "ftd";
      description = "Account that the service runs as. Another than ftd must be declared elsewhere.";
    };
    group = mkOption {
      type = types.str;
      default = "ftd";
      description = "Group of the service. Its members may use it: they can open its socket.";
    };

    settings = mkOption {
      description = "Contents of ftd.toml: every key that `ftd --help` lists, with underscores, and `models`.";
      default = { };
      example = lib.literalExpression ''{ max_queued = 50; models.house = "/srv/models/house"; }'';
      type = types.submodule {
        freeformType = format.type;
        options = {
          state_dir = mkOption {
            type = types.path;
            default = stateDir;
            description = "Where jobs, uploads and results live. Another one must exist and belong to the service's account.";
          };
          listen = mkOption {
            type = types.listOf types.str;
            default = [ ];
            example = [ "unix:/run/ftd/ftd.sock" "127.0.0.1:7443" ];
            description = "Addresses that ftd serves on. None: /run/ftd/ftd.sock.";
          };
          metrics_listen = mkOption {
            type = types.str;
            default = "127.0.0.1:7444";
            description = "Where Prometheus finds /metrics, or off.";
          };
          stop_grace_seconds = mkOption {
            type = types.ints.between 0 86400;
            default = 60;
            description = "Time that a job has for its last checkpoint when the service stops.";
          };
        };
      };
    };
    checkConfig = mkOption {
      type = types.bool;
      default = true;
      description = "Whether the settings are judged by `ftd --check-config` when the system is built.";
    };

    huggingFaceTokenFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/hf-token";
      description = "File with the Hugging Face token, outside the Nix store. systemd hands it over as a credential.";
    };
    environmentFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/ftd.env";
      description = "Further variables of the service, as systemd.exec(5) has it. Outside the Nix store.";
    };

    gpu = mkOption {
      type = types.bool;
      default = true;
      description = "Whether the service may use the NVIDIA devices.";
    };
    socketActivation = mkOption {
      type = types.bool;
      default = false;
      description = "Whether systemd holds the socket, so that clients wait while ftd restarts, and starts ftd when one calls.";
    };
    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Whether the ports of settings.listen and settings.metrics_listen are opened, but for loopback's.";
    };

    conflictsWith = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "vllm.service" ];
      description = ''
        Units that need the same GPU. They stop when ftd starts; starting one of them stops ftd, after a checkpoint, and
        its job goes on when ftd is back.
      '';
    };
    hooks = {
      beforeStart = mkOption {
        type = types.lines;
        default = "";
        example = "systemctl start gpu-exclusive.target";
        description = "Shell commands that root runs before ftd starts, outside its sandbox.";
      };
      afterStop = mkOption {
        type = types.lines;
        default = "";
        description = "Shell commands that root runs after ftd has ended, for whatever reason: a restart too.";
      };
    };

    prometheus.enable = lib.mkEnableOption "scraping ftd by this machine's services.prometheus, with ftd's rules";

    grafana.enable = lib.mkEnableOption "ftd's dashboard in this machine's services.grafana";
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = !inStore cfg.huggingFaceTokenFile;
        message = "services.ftd.huggingFaceTokenFile lies in the Nix store, which every user can read.";
      }
      {
        assertion = !inStore cfg.environmentFile;
        message = "services.ftd.environmentFile lies in the Nix store, which every user can read.";
      }
      {
        assertion = !lib.any inStore (lib.attrValues secrets);
        message = "services.ftd.settings: a key or token lies in the Nix store, which every user can read.";
      }
      {
        assertion = !cfg.prometheus.enable || cfg.settings.metrics_listen != "off";
        message = "services.ftd.prometheus.enable needs settings.metrics_listen.";
      }
      {
        assertion = !cfg.socketActivation || !lib.elem "unix:/run/ftd/ftd.sock" cfg.settings.listen;
        message = "services.ftd.socketActivation holds /run/ftd/ftd.sock already: settings.listen is for further addresses.";
      }
    ];

    environment.systemPackages = [ cfg.package ];
    # By this name, so that other settings are a reload, which no job notices, and not a restart.
    environment.etc."ftd/ftd.toml".source = configFile;

    users = mkIf ownAccount {
      users.ftd = {
        isSystemUser = true;
        group = cfg.group;
        home = stateDir;
        description = "ftd, the fine-tuning service";
      };
      groups.${cfg.group} = { };
    };

    networking.firewall = mkIf cfg.openFirewall { allowedTCPPorts = publicPorts; };

    systemd.sockets.ftd = mkIf cfg.socketActivation {
      description = "Socket of ftd, the fine-tuning service";
      wantedBy = [ "sockets.target" ];
      listenStreams = [ "/run/ftd/ftd.sock" ];
      socketConfig = {
        SocketUser = cfg.user;
        SocketGroup = cfg.group;
        SocketMode = "0660";
        DirectoryMode = "0755";
      };
    };

    systemd.services.ftd = {
      description = "ftd, the fine-tuning service";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "nvidia-persistenced.service" ] ++ cfg.conflictsWith;
      conflicts = cfg.conflictsWith;
      reloadTriggers = [ configFile ];
      environment = {
        HOME = stateDir;
        XDG_CACHE_HOME = cacheDir;
        HF_HOME = "${cacheDir}/huggingface";
      } // lib.optionalAttrs cfg.gpu {
        CUDA_CACHE_PATH = "${cacheDir}/cuda";
        LD_LIBRARY_PATH = "/run/opengl-driver/lib"; # libcuda.so.1 of the running driver
      };
      unitConfig.StartLimitIntervalSec = 0;
      serviceConfig = {
        Type = "notify";
        NotifyAccess = "main";
        WatchdogSec = "30s";
        ExecStartPre = hook "before-start" cfg.hooks.beforeStart;
        ExecStart = "${lib.getExe' cfg.package "ftd"} --config /etc/ftd/ftd.toml";
        ExecReload = "${lib.getExe' pkgs.coreutils "kill"} -HUP $MAINPID";
        ExecStopPost = [ "${cfg.package}/libexec/ftd/reap-workers" ] ++ hook "after-stop" cfg.hooks.afterStop;
        Restart = "on-failure";
        RestartSec = "100ms";
        RestartPreventExitStatus = "2 78";
        KillMode = "process";
        TimeoutStartSec = "60s";
        TimeoutStopSec = "${toString (cfg.settings.stop_grace_seconds + 30)}s";
        TimeoutAbortSec = "10s";
        OOMPolicy = "continue";

        User = cfg.user;
        Group = cfg.group;
        UMask = "0027";
        StateDirectory = "ftd";
        StateDirectoryMode = "0750";
        CacheDirectory = "ftd";
        CacheDirectoryMode = "0750";
        RuntimeDirectory = "ftd";
        RuntimeDirectoryMode = "0750";
        RuntimeDirectoryPreserve = true;
        WorkingDirectory = stateDir;
        ReadWritePaths = mkIf (cfg.settings.state_dir != stateDir) [ cfg.settings.state_dir ];
        EnvironmentFile = mkIf (cfg.environmentFile != null) [ (toString cfg.environmentFile) ];
        LoadCredential = mkIf (cfg.huggingFaceTokenFile != null) [ "hf-token:${toString cfg.huggingFaceTokenFile}" ];
        LimitNOFILE = 65536;
        LimitCORE = 0;

        PrivateDevices = !cfg.gpu;
        DevicePolicy = "closed";
        DeviceAllow = lib.optionals cfg.gpu [
          "char-nvidia rw"
          "char-nvidiactl rw"
          "char-nvidia-caps rw"
          "char-nvidia-frontend rw"
          "char-nvidia-modeset rw"
          "char-nvidia-uvm rw"
        ];

        AmbientCapabilities = "";
        CapabilityBoundingSet = "";
        LockPersonality = true;
        NoNewPrivileges = true;
        PrivateTmp = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProtectSystem = "strict";
        RestrictAddressFamilies = [ "AF_UNIX" "AF_INET" "AF_INET6" "AF_NETLINK" ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallErrorNumber = "EPERM";
        SystemCallFilter = [ "@system-service" "~@privileged" ];
      };
    };

    services = {
      prometheus = mkIf cfg.prometheus.enable {
        scrapeConfigs = [{
          job_name = "ftd";
          static_configs = [{ targets = [ cfg.settings.metrics_listen ]; }];
        }];
        ruleFiles = [ ../prometheus/rules.yml ];
      };
      grafana.provision = mkIf cfg.grafana.enable {
        enable = true;
        dashboards.settings.providers = [{ name = "ftd"; options.path = ../grafana; }];
      };
    };
  };
}
