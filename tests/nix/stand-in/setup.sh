# The phases of nixpkgs' stdenv that this project uses, in its order and with its hooks.
set -eu -o pipefail
export PATH= HOME=/homeless-shelter SOURCE_DATE_EPOCH=1
for p in $base ${nativeBuildInputs-}; do PATH+=${PATH:+:}$p/bin; done
# The machine's compiler cache where it was given into the sandbox: cold, this build takes minutes.
if [ -d /host/ccache ]; then
  export CCACHE_DIR=/host/ccache CCACHE_BASEDIR=$NIX_BUILD_TOP/source CCACHE_NOHASHDIR=1
  . /host/environment # CCACHE_SLOPPINESS and the locale count for it
else
  export CCACHE_DISABLE=1
fi
runHook() { eval "${!1-}"; }
phase() { # phase NAME FUNCTION: the derivation's own phase, or else the function
  echo "Running phase: $1"
  if [ -n "${!1-}" ]; then eval "${!1}"; else "$2"; fi
}
unpack() {
  cp -r "$src" source
  chmod -R u+w source
  cd source
}
configure() {
  runHook preConfigure
  cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE="${cmakeBuildType:-Release}" -DCMAKE_INSTALL_PREFIX="$out" \
    -DCMAKE_INSTALL_BINDIR="$out/bin" -DCMAKE_INSTALL_LIBDIR="$out/lib" -DFETCHCONTENT_FULLY_DISCONNECTED=ON ${cmakeFlags-}
  cd build
  runHook postConfigure
}
build() { cmake --build . -j "$NIX_BUILD_CORES"; }
check() { ctest --output-on-failure -j "$NIX_BUILD_CORES"; }
install_() { cmake --install .; }
phase unpackPhase unpack
phase configurePhase configure
phase buildPhase build
[ -z "${doCheck-}" ] || phase checkPhase check
phase installPhase install_
if grep -rIl "$NIX_BUILD_TOP" "$out"; then echo "the output refers to the build folder" >&2; exit 1; fi
[ -z "${doInstallCheck-}" ] || phase installCheckPhase true
exit 0
