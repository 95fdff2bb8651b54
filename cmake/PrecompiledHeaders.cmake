# Headers of others that most sources include, compiled once for each kind of target: after a touch of a header of ours, its
# dependents compile their own text and little else. Sources still include all that they use: `./dev lint` compiles without.
set(ftd_pch_lib <algorithm> <chrono> <cmath> <cstdint> <filesystem> <functional> <iostream> <map> <memory> <optional> <set>
  <string> <string_view> <utility> <vector> <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/strings/str_format.h>
  <absl/strings/str_join.h> <absl/strings/str_split.h> <nlohmann/json.hpp>)
set(ftd_pch_rpc ${ftd_pch_lib} <grpcpp/grpcpp.h> <ftd/v1/fine_tuning.grpc.pb.h>)
set(ftd_pch_engine ${ftd_pch_lib} <ATen/Parallel.h> <ATen/TensorOperators.h> <ATen/core/Tensor.h> <ATen/ops/empty.h>)
set(ftd_pch_test ${ftd_pch_lib} <gtest/gtest.h> <gmock/gmock.h>)
set(ftd_pch_engine_test ${ftd_pch_test} <ATen/ATen.h>)
file(WRITE "${CMAKE_BINARY_DIR}/gen/pch_owner.cc" "int main() {}\n")

# ftd_precompile(KIND LIBS … [PROGRAM]): makes the precompiled header of a kind, whose headers need LIBS. GCC takes it only
# for a source with the same options and at least the same macros, so it belongs to a target that has nothing else; for
# programs, whose code is compiled as position-independent in another way, to a PROGRAM.
function(ftd_precompile kind)
  cmake_parse_arguments(PARSE_ARGV 1 arg "PROGRAM" "" "LIBS")
  if(arg_PROGRAM)
    add_executable(ftd_pch_${kind} "${CMAKE_BINARY_DIR}/gen/pch_owner.cc")
  else()
    add_library(ftd_pch_${kind} OBJECT "${CMAKE_BINARY_DIR}/gen/pch_owner.cc")
  endif()
  target_link_libraries(ftd_pch_${kind} PRIVATE ${arg_LIBS})
  target_precompile_headers(ftd_pch_${kind} PRIVATE ${ftd_pch_${kind}})
endfunction()

# ftd_use_precompiled(KIND TARGET …). A source with options of its own is to be marked SKIP_PRECOMPILE_HEADERS.
function(ftd_use_precompiled kind)
  foreach(target ${ARGN})
    target_precompile_headers(${target} REUSE_FROM ftd_pch_${kind})
  endforeach()
endfunction()
