# A small stand-in for nixpkgs' lib, written for this project's tests: the part of the module system and the helpers
# that flake.nix and deploy/nix use, with the same observable behaviour (priorities, type errors, unknown options,
# freeform submodules). What they do not use is left out on purpose, so that a new use fails loudly here.
let
  inherit (builtins)
    all any attrNames attrValues concatLists concatMap concatStringsSep elem elemAt filter
    foldl' functionArgs genList getAttr hasAttr head intersectAttrs isAttrs isBool isFloat
    isFunction isInt isList isPath isString length listToAttrs map match removeAttrs
    replaceStrings tail toJSON typeOf;

  # --- plain helpers -------------------------------------------------------
  id = x: x;
  optional = c: x: if c then [ x ] else [ ];
  optionals = c: xs: if c then xs else [ ];
  optionalString = c: s: if c then s else "";
  optionalAttrs = c: a: if c then a else { };
  nameValuePair = name: value: { inherit name value; };
  mapAttrs' = f: a: listToAttrs (map (n: f n a.${n}) (attrNames a));
  mapAttrsToList = f: a: map (n: f n a.${n}) (attrNames a);
  filterAttrs = p: a: removeAttrs a (filter (n: !(p n a.${n})) (attrNames a));
  genAttrs = names: f: listToAttrs (map (n: nameValuePair n (f n)) names);
  concatMapStringsSep = sep: f: xs: concatStringsSep sep (map f xs);
  hasPrefix = p: s: builtins.substring 0 (builtins.stringLength p) s == p;
  hasInfix = i: s: length (builtins.split (escapeRegex i) s) > 1;
  escapeRegex = replaceStrings
    [ "\\" "^" "$" "." "|" "?" "*" "+" "(" ")" "[" "]" "{" "}" ]
    [ "\\\\" "\\^" "\\$" "\\." "\\|" "\\?" "\\*" "\\+" "\\(" "\\)" "\\[" "\\]" "\\{" "\\}" ];
  escapeShellArg = x:
    let s = toString x; in
    if match "[[:alnum:],._+:@%/-]+" s != null then s
    else "'${replaceStrings [ "'" ] [ "'\\''" ] s}'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  unique = foldl' (acc: x: if elem x acc then acc else acc ++ [ x ]) [ ];
  isDerivation = x: isAttrs x && (x.type or null) == "derivation";
  recursiveUpdate = a: b:
    a // builtins.mapAttrs
      (n: v: if a ? ${n} && isAttrs a.${n} && isAttrs v && !isDerivation v then recursiveUpdate a.${n} v else v) b;
  getExe' = p: n: "${p}/bin/${n}";
  getExe = p: getExe' p (p.meta.mainProgram or (throw "getExe: ${p.name or "?"} has no meta.mainProgram"));
  makeBinPath = concatMapStringsSep ":" (p: "${p.bin or p.out or p}/bin");
  makeLibraryPath = concatMapStringsSep ":" (p: "${p.lib or p.out or p}/lib");
  assertMsg = c: m: if c then true else throw m;
  literalExpression = text: { _type = "literalExpression"; inherit text; };
  isStringLike = x: isString x || isPath x || (isAttrs x && (x ? outPath || x ? __toString));

  # --- file sets: `has` is asked for a file or folder, `leads` for a folder on the way to one ---
  asFileset = x:
    if isAttrs x && x ? has then x
    else if !(builtins.pathExists x) then throw "lib.fileset: ${toString x} does not exist"
    else {
      has = q: q == toString x || hasPrefix "${toString x}/" q;
      leads = q: hasPrefix "${q}/" (toString x);
    };
  fileset = {
    unions = xs: let sets = map asFileset xs; in { has = q: any (s: s.has q) sets; leads = q: any (s: s.leads q) sets; };
    difference = a: b:
      let from = asFileset a; without = asFileset b; in
      { has = q: from.has q && !(without.has q); inherit (from) leads; };
    toSource = { root, fileset }: builtins.path {
      path = root;
      name = "source";
      filter = path: type: let s = asFileset fileset; in s.has path || (type == "directory" && s.leads path);
    };
  };

  # --- properties ----------------------------------------------------------
  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOverride = priority: content: { _type = "override"; inherit priority content; };
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
  defaultPrio = 100;
  ty = x: if isAttrs x then x._type or null else null;

  # properties of one definition -> flat list of {prio, value}
  discharge = prio: v:
    if ty v == "if" then (if v.condition then discharge prio v.content else [ ])
    else if ty v == "merge" then concatMap (discharge prio) v.contents
    else if ty v == "override" then discharge v.priority v.content
    else [{ inherit prio; value = v; }];
  # push an outer mkIf/mkMerge/mkOverride down over an attribute set
  push = v:
    if ty v == "if" then map (builtins.mapAttrs (_: mkIf v.condition)) (push v.content)
    else if ty v == "merge" then concatMap push v.contents
    else if ty v == "override" then map (builtins.mapAttrs (_: mkOverride v.priority)) (push v.content)
    else [ v ];

  # --- types ---------------------------------------------------------------
  showLoc = concatStringsSep ".";
  show = v: if isFunction v then "<function>" else if isDerivation v then "<derivation>" else
    let t = builtins.tryEval (toJSON v); in if t.success then t.value else "<${typeOf v}>";
  one = loc: defs:
    if length defs == 1 || all (d: d == head defs) defs then head defs
    else throw "The option `${showLoc loc}' has conflicting definition values: ${concatMapStringsSep ", " show defs}";
  simple = name: check: { inherit name check; merge = one; };
  anythingMerge = loc: defs:
    if length defs == 1 then head defs
    else if all (d: isAttrs d && !isDerivation d) defs then
      genAttrs (unique (concatMap attrNames defs))
        (n: anythingMerge (loc ++ [ n ]) (concatMap (d: optional (d ? ${n}) d.${n}) defs))
    else if all isList defs then concatLists defs
    else one loc defs;
  types = rec {
    bool = simple "boolean" isBool;
    str = simple "string" isString;
    nonEmptyStr = simple "non-empty string" (x: isString x && match "[[:space:]]*" x == null);
    singleLineStr = simple "single-line string" (x: isString x && match "[^\n]*\n?" x != null);
    int = simple "signed integer" isInt;
    float = simple "floating point number" isFloat;
    number = simple "number" (x: isInt x || isFloat x);
    path = simple "absolute path" (x: isStringLike x && hasPrefix "/" (toString x));
    package = simple "package" (x: isDerivation x || (isStringLike x && hasPrefix "/nix/store/" (toString x)));
    raw = simple "raw value" (_: true);
    unspecified = raw;
    port = ints.between 0 65535;
    ints = {
      between = lo: hi: simple "integer between ${toString lo} and ${toString hi} (both inclusive)" (x: isInt x && x >= lo && x <= hi);
      positive = simple "positive integer, meaning >0" (x: isInt x && x > 0);
      unsigned = simple "unsigned integer, meaning >=0" (x: isInt x && x >= 0);
    };
    strMatching = re: simple "string matching the pattern ${re}" (x: isString x && match re x != null);
    enum = vs: simple "one of ${concatMapStringsSep ", " show vs}" (x: elem x vs);
    lines = { name = "strings concatenated with \"\\n\""; check = isString; merge = _: concatStringsSep "\n"; };
    anything = { name = "anything"; check = _: true; merge = anythingMerge; };
    attrs = { name = "attribute set"; check = isAttrs; merge = _: foldl' (a: b: a // b) { }; };
    nullOr = t: {
      name = "null or ${t.name}";
      check = x: x == null || t.check x;
      merge = loc: defs:
        if all (d: d == null) defs then null
        else if any (d: d == null) defs then throw "The option `${showLoc loc}' is defined both null and not null"
        else mergeDefs loc t (map (value: { prio = defaultPrio; inherit value; }) defs);
    };
    either = a: b: {
      name = "${a.name} or ${b.name}";
      check = x: a.check x || b.check x;
      merge = loc: defs:
        if all a.check defs then a.merge loc defs
        else if all b.check defs then b.merge loc defs else one loc defs;
    };
    oneOf = ts: foldl' either (head ts) (tail ts);
    coercedTo = from: f: to: {
      inherit (to) name;
      check = x: from.check x || to.check x;
      merge = loc: defs: to.merge loc (map (d: if from.check d then f d else d) defs);
    };
    listOf = t: {
      name = "list of ${t.name}";
      check = isList;
      merge = loc: defs:
        let xs = concatLists defs; in
        concatLists (genList
          (i:
            let ds = discharge defaultPrio (elemAt xs i); in
            optional (ds != [ ]) (mergeDefs (loc ++ [ "[${toString i}]" ]) t ds))
          (length xs));
    };
    attrsOf = t: {
      name = "attribute set of ${t.name}";
      check = isAttrs;
      merge = loc: defs: mergeAttrs loc t (concatMap push defs);
    };
    lazyAttrsOf = attrsOf;
    submodule = m: submoduleWith { modules = if isList m then m else [ m ]; };
    submoduleWith = { modules, specialArgs ? { }, ... }: {
      name = "submodule";
      check = x: isAttrs x || isFunction x || isPath x;
      merge = loc: defs:
        (evalModules {
          modules = modules ++ map (d: if isAttrs d then { config = d; } else d) defs;
          specialArgs = specialArgs // { name = builtins.elemAt loc (length loc - 1); };
          prefix = loc;
        }).config;
    };
  };
  mergeAttrs = loc: t: defs:
    let
      names = unique (concatMap attrNames defs);
      of = n: concatMap (d: optionals (d ? ${n}) (discharge defaultPrio d.${n})) defs;
    in
    listToAttrs (concatMap
      (n: let ds = of n; in optional (ds != [ ]) (nameValuePair n (mergeDefs (loc ++ [ n ]) t ds)))
      names);

  # keep the definitions of the strongest priority, check and merge them
  mergeDefs = loc: t: ds:
    let
      best = foldl' (p: d: if d.prio < p then d.prio else p) 9999 ds;
      vs = map (d: d.value) (filter (d: d.prio == best) ds);
      bad = filter (v: !(t.check v)) vs;
    in
    if bad != [ ] then
      throw "A definition for option `${showLoc loc}' is not of type `${t.name}'. Definition values: ${show (head bad)}"
    else t.merge loc vs;

  # --- options -------------------------------------------------------------
  mkOption = o: { _type = "option"; } // o;
  mkEnableOption = name: mkOption { type = types.bool; default = false; example = true; description = "Whether to enable ${name}."; };
  mkPackageOption = pkgs: name: { default ? name, nullable ? false, ... }: mkOption {
    type = if nullable then types.nullOr types.package else types.package;
    default = if default == null then null else foldl' (a: n: a.${n}) pkgs (if isList default then default else [ default ]);
    description = "The ${name} package to use.";
  };
  isOption = x: ty x == "option";

  # --- evalModules ---------------------------------------------------------
  evalModules = { modules, specialArgs ? { }, prefix ? [ ], ... }:
    let
      args = specialArgs // moduleArgs // { inherit lib options config; };
      load = m:
        let
          v = if isPath m || isString m then import m else m;
          applied = if isFunction v then v (intersectAttrs' (functionArgs v) args) else v;
          structured = applied ? options || applied ? config;
          reserved = [ "imports" "freeformType" "_file" "key" "_class" "disabledModules" ];
          n = if structured then applied else
            { imports = applied.imports or [ ]; config = removeAttrs applied reserved; }
            // optionalAttrs (applied ? freeformType) { inherit (applied) freeformType; };
          extra = if structured then
            attrNames (removeAttrs applied (reserved ++ [ "options" "config" "meta" ])) else [ ];
        in
        if extra != [ ] then
          throw "Module has an unsupported attribute `${head extra}'; move it into the explicit `config' attribute"
        else [ n ] ++ concatMap load (n.imports or [ ]);
      # a function with named arguments gets just those, but lazily
      intersectAttrs' = wanted: have:
        if wanted == { } then have
        else builtins.mapAttrs (n: _: have.${n} or (throw "module argument `${n}' is not provided")) (filterAttrs (n: opt: !opt || have ? ${n}) wanted);
      loaded = concatMap load modules;
      moduleArgs = foldl' (a: c: a // (c._module.args or { })) { }
        (concatMap (m: filter (c: ty c == null) [ (m.config or { }) ]) (filter (m: !isFunction m) (filter isAttrs modules)));
      freeform = foldl' (a: m: if m ? freeformType then m.freeformType else a) null loaded;
      optTree = foldl' (mergeOptTree prefix) { } (map (m: m.options or { }) loaded);
      defs = map (d: removeAttrs d [ "_module" ]) (concatMap (m: push (m.config or { })) loaded);
      result = evalTree prefix optTree freeform defs;
      config = result;
      options = optTree;
    in
    { inherit config options; };

  mergeOptTree = loc: a: b: a // builtins.mapAttrs
    (n: v:
      if !(a ? ${n}) then v
      else if isOption a.${n} || isOption v then
        throw "The option `${showLoc (loc ++ [ n ])}' is already declared"
      else mergeOptTree (loc ++ [ n ]) a.${n} v)
    b;

  evalTree = loc: tree: freeform: defs:
    let
      declared = builtins.mapAttrs
        (n: o:
          let ds = concatMap (d: optional (d ? ${n}) d.${n}) defs; in
          if isOption o then evalOption (loc ++ [ n ]) o ds
          else evalTree (loc ++ [ n ]) o null (concatMap push ds))
        tree;
      undeclared = filter (d: d != { }) (map (d: removeAttrs d (attrNames tree)) defs);
      strayNames = unique (concatMap (d: filter (n: discharge defaultPrio d.${n} != [ ]) (attrNames d)) undeclared);
    in
    if undeclared == [ ] then declared
    else if freeform != null then freeform.merge loc (concatMap push undeclared) // declared
    else if strayNames != [ ] then
      throw "The option `${showLoc (loc ++ [ (head strayNames) ])}' does not exist."
    else declared;

  evalOption = loc: o: ds:
    let
      all' = concatMap (discharge defaultPrio) ds
        ++ optional (o ? default) { prio = 1500; value = o.default; };
      t = o.type or types.raw;
      value = if all' == [ ] then
        (if o ? type && o.type ? emptyValue then o.type.emptyValue
        else throw "The option `${showLoc loc}' was accessed but has no value defined. Try setting the option.")
      else mergeDefs loc t all';
    in
    if (o.readOnly or false) && length (concatMap (discharge defaultPrio) ds) > 1
    then throw "The option `${showLoc loc}' is read-only, but it's set multiple times."
    else (o.apply or id) value;

  lib = {
    inherit
      id optional optionals optionalString optionalAttrs nameValuePair mapAttrs' mapAttrsToList
      filterAttrs genAttrs concatMapStringsSep hasPrefix hasInfix escapeShellArg escapeShellArgs unique
      isDerivation recursiveUpdate getExe getExe' makeBinPath makeLibraryPath assertMsg
      literalExpression mkIf mkMerge mkOverride mkDefault mkForce types mkOption mkEnableOption
      mkPackageOption evalModules isOption;
    inherit (builtins) all any attrNames attrValues concatLists concatMap concatStringsSep elem filter
      foldl' head isAttrs isBool isList isString length listToAttrs map mapAttrs tail toJSON;
    last = xs: elemAt xs (length xs - 1);
    splitString = sep: s: filter isString (builtins.split (escapeRegex sep) s);
    toInt = s: let v = builtins.fromJSON s; in if isInt v then v else throw "toInt: ${s} is not an integer";
    fileContents = f: elemAt (match "(.*[^\n]|)\n*" (builtins.readFile f)) 0;
    concatLines = concatMapStringsSep "" (s: s + "\n");
    cmakeBool = n: b: "-D${n}:BOOL=${if b then "TRUE" else "FALSE"}";
    cmakeFeature = n: v: "-D${n}:STRING=${v}";
    licenses = genAttrs [ "mit" "asl20" "bsd3" ] (spdx: { inherit spdx; });
    platforms.linux = [ "x86_64-linux" "aarch64-linux" ];
    inherit fileset;
  };
in
lib
