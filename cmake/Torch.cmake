# LibTorch out of the PyPI wheel, as one small imported target.
#
# Not find_package(Torch): on the wheel that is fatal without a CUDA toolkit, probes for GPUs, and makes
# FindProtobuf pick torch's own old protobuf headers. Here nothing needs CUDA: ft-worker links the CPU
# libraries only and loads libtorch_cuda at run time where there is a GPU (worker/engine/device/device.h).
execute_process(
  COMMAND "${FTD_PYTHON}" -c "import sysconfig; print(sysconfig.get_paths()['purelib'])"
  OUTPUT_VARIABLE FTD_SITE_PACKAGES OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(FTD_TORCH_DIR "${FTD_SITE_PACKAGES}/torch" CACHE PATH "LibTorch: a folder with include/ and lib/")
if(NOT EXISTS "${FTD_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "No LibTorch in ${FTD_TORCH_DIR}. Run ./dev build, which installs it, or pass "
                      "-DFTD_PYTHON= an interpreter that has the torch wheel, or -DFTD_TORCH_DIR=, or -DFTD_WORKER=OFF.")
endif()
add_library(ftd_torch INTERFACE)
target_include_directories(ftd_torch SYSTEM INTERFACE
  "${FTD_TORCH_DIR}/include" "${FTD_TORCH_DIR}/include/torch/csrc/api/include")
target_link_libraries(ftd_torch INTERFACE
  "${FTD_TORCH_DIR}/lib/libtorch_cpu.so" "${FTD_TORCH_DIR}/lib/libc10.so")
# libtorch_cpu itself needs libcudart and libcupti, which come as wheels of their own.
file(GLOB FTD_NVIDIA_LIBS LIST_DIRECTORIES true "${FTD_SITE_PACKAGES}/nvidia/*/lib")
set(FTD_TORCH_RPATH "${FTD_TORCH_DIR}/lib" ${FTD_NVIDIA_LIBS})
foreach(dir ${FTD_NVIDIA_LIBS})
  target_link_options(ftd_torch INTERFACE "-Wl,-rpath-link,${dir}")
endforeach()
