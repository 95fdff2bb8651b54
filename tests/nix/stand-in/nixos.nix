# Stand-in for nixosSystem: declares the NixOS options that deploy/nix/module.nix sets, each with NixOS' type, and
# writes unit files as NixOS does.
{ system, modules, specialArgs ? { } }:
let
  lib = import ./lib.nix;
  inherit (lib) types mkOption concatLists concatStringsSep mapAttrsToList;
  opt = type: default: mkOption { inherit type default; };
  list = t: opt (types.listOf t) [ ];
  value = with types; nullOr (oneOf [ bool int float str path package ]);
  section = opt (types.attrsOf (types.either value (types.listOf value) // { name = "systemd option"; })) { };

  unitOptions = {
    enable = opt types.bool true;
    description = opt types.singleLineStr "";
    documentation = list types.str;
    wantedBy = list types.str;
    requiredBy = list types.str;
    wants = list types.str;
    requires = list types.str;
    after = list types.str;
    before = list types.str;
    partOf = list types.str;
    bindsTo = list types.str;
    conflicts = list types.str;
    unitConfig = section;
  };
  service = types.submodule {
    options = unitOptions // {
      environment = opt (with types; attrsOf (nullOr (oneOf [ str path package ]))) { };
      path = list types.package;
      serviceConfig = section;
      restartTriggers = list types.unspecified;
      reloadTriggers = list types.unspecified;
      restartIfChanged = opt types.bool true;
    };
  };

  showValue = v: if v == true then "true" else if v == false then "false" else toString v;
  lines = attrs: concatLists (mapAttrsToList
    (k: v: if v == null then [ ] else map (x: "${k}=${showValue x}") (if lib.isList v then v else [ v ]))
    attrs);
  words = k: v: lib.optional (v != [ ]) "${k}=${concatStringsSep " " v}";
  unitSection = s: [ "[Unit]" ] ++ lines s.unitConfig
    ++ words "Description" (lib.optional (s.description != "") s.description)
    ++ words "Documentation" s.documentation
    ++ words "After" s.after ++ words "Before" s.before ++ words "Wants" s.wants ++ words "Requires" s.requires
    ++ map (t: "X-Reload-Triggers=${t}") (s.reloadTriggers or [ ])
    ++ words "PartOf" s.partOf ++ words "BindsTo" s.bindsTo ++ words "Conflicts" s.conflicts;
  socketText = s: lib.concatLines (unitSection s ++ [ "" "[Socket]" ] ++ map (a: "ListenStream=${a}") s.listenStreams
    ++ lines s.socketConfig
    ++ lib.optionals (s.wantedBy != [ ]) [ "" "[Install]" "WantedBy=${concatStringsSep " " s.wantedBy}" ]);
  serviceText = s: lib.concatLines (unitSection s ++ [ "" "[Service]" ]
    ++ mapAttrsToList (k: v: "Environment=${builtins.toJSON "${k}=${toString v}"}")
    (lib.filterAttrs (_: v: v != null) ({ PATH = lib.makeBinPath (s.path ++ defaultPath); } // s.environment))
    ++ lines s.serviceConfig
    ++ lib.optionals (s.wantedBy != [ ]) [ "" "[Install]" "WantedBy=${concatStringsSep " " s.wantedBy}" ]);

  nixos = { config, ... }: {
    options = {
      assertions = list (types.submodule { options = { assertion = mkOption { type = types.bool; }; message = mkOption { type = types.str; }; }; });
      warnings = list types.str;
      system.stateVersion = opt types.str "";
      boot.isContainer = opt types.bool false;
      nixpkgs.overlays = list types.raw;
      environment.systemPackages = list types.package;
      environment.etc = opt (types.attrsOf (types.submodule { options.source = mkOption { type = types.path; }; })) { };
      networking.firewall.allowedTCPPorts = list types.port;
      users.users = opt
        (types.attrsOf (types.submodule {
          options = {
            isSystemUser = opt types.bool false;
            group = opt types.str "";
            home = opt types.path "/var/empty";
            extraGroups = list types.str;
            description = opt types.str "";
          };
        }))
        { };
      users.groups = opt (types.attrsOf (types.submodule { options.members = list types.str; })) { };
      systemd.services = opt (types.attrsOf service) { };
      systemd.sockets = opt (types.attrsOf (types.submodule { options = unitOptions // { socketConfig = section; listenStreams = list types.str; }; })) { };
      systemd.tmpfiles.rules = list types.str;
      systemd.units = opt types.anything { };
      services.prometheus = {
        enable = opt types.bool false;
        scrapeConfigs = list types.attrs;
        ruleFiles = list types.path;
      };
      services.grafana.enable = opt types.bool false;
      services.grafana.provision = {
        enable = opt types.bool false;
        dashboards.settings.providers = list types.attrs;
      };
    };
    config.systemd.units =
      lib.mapAttrs' (n: s: lib.nameValuePair "${n}.service" { text = serviceText s; }) config.systemd.services
      // lib.mapAttrs' (n: s: lib.nameValuePair "${n}.socket" { text = socketText s; }) config.systemd.sockets;
    config.assertions = mapAttrsToList
      (n: u: { assertion = u.group != "" -> config.users.groups ? ${u.group}; message = "users.users.${n}.group is not declared"; })
      config.users.users;
  };

  defaultPath = with pkgs; [ coreutils findutils gnugrep gnused systemd ];
  pkgs = import ./. { inherit system; overlays = result.config.nixpkgs.overlays; };
  result = lib.evalModules { modules = [ nixos ] ++ modules; specialArgs = specialArgs // { inherit pkgs; modulesPath = ./.; }; };
  failed = lib.filter (a: !a.assertion) result.config.assertions;
in
result // {
  config =
    if failed != [ ] then throw "Failed assertions:\n${lib.concatLines (map (a: "- ${a.message}") failed)}"
    else result.config;
}
