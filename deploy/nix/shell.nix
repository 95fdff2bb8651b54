# The playbook's shell. Its variables name programs of ours that take the flags of NVIDIA's scripts.
{ lib, ftd, mkShell, writeShellScriptBin }:
let
  script = preset: writeShellScriptBin preset ''exec ${ftd}/bin/ft-train ${preset} "$@"'';
in
mkShell {
  inputsFrom = [ ftd ];
  packages = [ ftd ];
  LLAMA3_8B_LORA_SCRIPT = lib.getExe' (script "llama3-8b-lora") "llama3-8b-lora";
  LLAMA3_3B_FULL_SCRIPT = lib.getExe' (script "llama3-3b-full") "llama3-3b-full";
  LLAMA3_70B_QLORA_SCRIPT = lib.getExe' (script "llama3-70b-qlora") "llama3-70b-qlora";
  LLAMA3_70B_LORA_SCRIPT = lib.getExe' (script "llama3-70b-lora") "llama3-70b-lora";
  HF_HUB_DISABLE_TELEMETRY = "1";
  shellHook = ''
    export HF_HOME="''${HF_HOME:-$HOME/.cache/huggingface}"
  '';
}
